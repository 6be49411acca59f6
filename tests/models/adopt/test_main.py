"""The command models.adopt without a data set; with one: tests/train/adopt/test_measured.py."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

import course_files
from configs.errors import InputError, UsageError
from models import artefact
from models.adopt import __main__ as command
from models.spec import ModelSpec


def test_the_shortest_command_makes_a_file_of_ours(tmp_path, capsys):
    path, plain = course_files.save(tmp_path, "cifar")
    output = tmp_path / "t.safetensors"
    command.main([str(path), "--architecture", "resnet_cifar", "--input", "3", "32", "32", "--output", str(output)])
    net, card = artefact.load(output)
    assert card.model == ModelSpec(name="resnet_cifar", depth=20) and not card.scores
    with torch.no_grad():
        image_BCHW = torch.randn(2, 3, 32, 32)
        assert torch.equal(net(image_BCHW), plain(image_BCHW))
    assert "resnet_cifar, 269,722 parameters" in capsys.readouterr().out


def test_errors_are_user_errors(tmp_path):
    with pytest.raises(InputError, match=r"absent\.pth does not exist"):
        command.main(["absent.pth", "--input", "3", "32", "32", "--output", str(tmp_path / "t.safetensors")])
    with pytest.raises(UsageError, match="--input C H W is needed"):
        command.main(["x.pth", "--output", str(tmp_path / "t.safetensors")])


@pytest.mark.launcher
def test_help_does_not_load_torch():
    script = "import sys\nfrom models.adopt.__main__ import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    check = script + "print('torch' in sys.modules)"
    root = Path(__file__).parents[3]
    found = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True, cwd=root)
    assert "FILE|NAME" in found.stdout and found.stdout.endswith("False\n")
