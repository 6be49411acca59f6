"""The command models.adopt without a data set; with one: tests/train/adopt/test_measured.py."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import course_files
import my_net
from configs.errors import InputError, UsageError
from models import artefact
from models.adopt import __main__ as command
from models.own import registry
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


def test_a_network_of_ones_own_code_is_adopted(tmp_path):
    """Courses hand out a teacher with its class; the data set is there too, or is not."""
    registry.forget()
    shutil.copy(Path(__file__).parents[2] / "my_net.py", tmp_path / "nets.py")
    path, name = tmp_path / "net.pth", f"{tmp_path / 'nets.py'}:StudentNet"
    plain = my_net.StudentNet(num_classes=10, in_channels=3).eval()
    torch.save({"model": course_files.prefixed("module.", plain.state_dict())}, path)
    output = tmp_path / "t.safetensors"
    words = [str(path), "--architecture", name, "--input", "3", "32", "32", "--output", str(output)]
    for data in ([], ["--data.source", "digits", "--data.threads", "1"]):
        command.main([*words, *data])
        net, card = artefact.load(output)
        assert card.model.name == "nets.py:StudentNet" and bool(card.scores) == bool(data)
        image_BCHW = torch.randn(2, 3, 32, 32)
        with torch.no_grad():
            assert torch.equal(net(image_BCHW), plain(image_BCHW))
    registry.forget()
    with pytest.raises(InputError, match=r"--network PATH/nets\.py:StudentNet"):
        artefact.load(output)
    words[2] = f"{tmp_path / 'gone.py'}:StudentNet"
    with pytest.raises(UsageError, match=r"there is no file .*gone\.py"):
        command.main(words)


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
