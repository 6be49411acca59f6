"""The blocks of code in a card run as they stand, and give what Heartcut gives."""

import re
import shutil

import pytest
import torch
from PIL import Image

import heartcut
import reference
from models import artefact
from models.card import readme
from models.export import pytorch_file


@pytest.fixture(scope="module")
def folder(handed, tmp_path_factory):
    home = shutil.copytree(handed, tmp_path_factory.mktemp("card") / "run")
    net, card = artefact.load(home / "model.safetensors")
    with pytest.MonkeyPatch.context() as patched:  # what it compares in a process of its own is tested elsewhere
        patched.setattr(pytorch_file, "_require_same", lambda *_: None)
        sha256 = artefact.sha256(home / "model.safetensors")
        pytorch_file.export(net, card, home / "plain-net.py", artefact_sha256=sha256)
    readme.write(home / "model.safetensors", home)
    Image.fromarray(reference.picture(40, 60, 3, seed=2)).save(home / "photo.jpg", quality=95)
    return home


def blocks(folder):
    return re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), flags=re.DOTALL)


def test_there_is_a_block_for_each_way(folder):
    assert [block.split("\n")[0] for block in blocks(folder)] == [
        "import heartcut",
        *["import json"] * 2,
        "import importlib",
    ]


def test_onnx_runtime_says_what_heartcut_says(folder, monkeypatch):
    monkeypatch.chdir(folder)
    ours = heartcut.load("model.safetensors")
    wanted = ours.logits("photo.jpg")[0]
    for block in blocks(folder)[1:3]:
        scope = {}
        exec(block, scope)
        found = torch.from_numpy(scope["logits"][0])
        assert tuple(scope["classes"]) == ours.classes
        torch.testing.assert_close(found, wanted, atol=0.05 * float(wanted.std()), rtol=0)  # Pillow's resizing


def test_heartcut_and_plain_pytorch_run(folder, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    scope = {}
    exec(blocks(folder)[0], scope)
    images = scope["net"].preprocess("photo.jpg")
    plain = {"images": images}
    exec(blocks(folder)[3], plain)
    assert torch.equal(plain["logits"], scope["net"].net(images))
