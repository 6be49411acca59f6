"""What does not fit is refused before any image is indexed."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

import forked
import tiny_digits
from configs.errors import InputError
from data_pipes.sources import index
from data_pipes.spec import DataSpec
from models.spec import ModelSpec
from train.adopt.config import TEACHER
from train.adopt.preflight import require_fit

DIGITS = DataSpec(source="digits", image_size=(8, 8), mean=(0.5,), std=(0.5,))


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("home")
    tiny_digits.save(folder / "ours.safetensors")
    tiny_digits.save(folder / "seven.safetensors", classes=tiny_digits.CLASSES[:7])
    net, _ = tiny_digits.network(0, classes=7)
    torch.save(net.state_dict(), folder / "seven.pth")
    torch.save(net, folder / "whole.pth")
    for name in ("cat", "dog"):
        (folder / "photographs" / name).mkdir(parents=True)
        Image.new("RGB", (9, 9)).save(folder / "photographs" / name / "1.png")
    return folder


def refused(home, kind, message, data=DIGITS, **who):
    own = {"teacher": None, "network": None} | who
    with pytest.raises(kind, match=message):
        require_fit(data, str(home / "run"), **own)


def test_a_teacher_is_refused(home):
    refused(home, InputError, "seven.safetensors knows 7 classes and the data", teacher=str(home / "seven.safetensors"))
    refused(home, InputError, r"seven.pth is for 7 classes \(its fc.weight", teacher=str(home / "seven.pth"))
    refused(home, InputError, "holds a pickled object rather than a state dict", teacher=str(home / "whole.pth"))
    refused(home, InputError, "absent.pth does not exist", teacher=str(home / "absent.pth"))
    refused(home, InputError, "1,000 classes or more, and the data set has 10", teacher="torchvision/resnet18")


def test_starting_weights_are_refused(home):
    seven = ModelSpec(name=str(home / "seven.safetensors"))
    refused(home, InputError, "the student .* knows 7 classes", network=seven)
    refused(home, InputError, "absent.ckpt does not exist", network=ModelSpec(name="absent.ckpt"))
    colour = replace(DIGITS, mean=(0.5,) * 3, std=(0.5,) * 3)
    ours = ModelSpec(name=str(home / "ours.safetensors"))
    refused(home, InputError, "takes 1 channels and data.mean has 3", data=colour, network=ours)
    require_fit(DIGITS, str(home / "run"), teacher=str(home / "ours.safetensors"), network=ours)
    require_fit(DIGITS, str(home / "run"), teacher=None, network=ModelSpec(name=str(home / "seven.pth")))


def test_no_image_is_read(home, monkeypatch):
    monkeypatch.setattr(index.Pass, "run", lambda *_: pytest.fail("images were indexed"))
    photographs = replace(DIGITS, source="folder", root=str(home / "photographs"))
    refused(
        home, InputError, "for 7 classes .* and there are 2: cat, dog", photographs, teacher=str(home / "seven.pth")
    )


def test_a_finished_run_and_one_that_has_adopted_need_nothing(home, tmp_path):
    (tmp_path / TEACHER).touch()
    require_fit(DIGITS, str(tmp_path), teacher="absent.pth", network=None)
    (tmp_path / TEACHER).unlink()
    refused(tmp_path, InputError, "absent.pth does not exist", teacher="absent.pth")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "done").touch()
    require_fit(DIGITS, str(tmp_path / "run"), teacher="absent.pth", network=None)


@pytest.mark.launcher
def test_a_refusal_loads_neither_timm_nor_torchvision(home):
    """They take longer to import than a refusal may take."""
    config = str(tiny_digits.DIGITS / "distill.yaml")
    script = (
        "import sys\nfrom train.distill import main\n"
        f"sys.argv[1:] = ['--config', {config!r}, '--teacher', {str(home / 'seven.pth')!r}]\n"
        "try: main()\nexcept ValueError as error: print(error)\n"
        "print('loaded', [name for name in ('torch', 'timm', 'torchvision') if name in sys.modules])"
    )
    root = Path(__file__).parents[3]
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=root)
    assert "is for 7 classes" in found.stdout and "loaded ['torch']" in found.stdout


def test_a_refusal_stands_in_the_status_of_the_run(home, tmp_path):
    words = tiny_digits.words(tmp_path, "run", "--teacher", str(home / "seven.safetensors"))
    ended = forked.run("train.distill", *words)
    found = json.loads((tmp_path / "run" / "status.json").read_text())
    assert ended.code == 66 and (found["state"], found["exit_code"]) == ("failed", 66)
    assert "seven.safetensors knows 7 classes" in found["reason"] and found["reason"] in ended.stderr


def test_a_refusal_does_not_touch_a_run_of_another_config(home, tmp_path):
    """The control: what is there belongs to somebody else's work."""
    tiny_digits.save(tmp_path / "teacher.safetensors")
    tiny_digits.train(tmp_path, "run", "--epochs", "1")
    (tmp_path / "run" / "done").unlink()
    before = (tmp_path / "run" / "status.json").read_bytes()
    other = ["--teacher", str(home / "seven.safetensors"), "--optim.lr", "0.5"]
    assert forked.run("train.distill", *tiny_digits.words(tmp_path, "run", *other)).code == 66
    assert (tmp_path / "run" / "status.json").read_bytes() == before
