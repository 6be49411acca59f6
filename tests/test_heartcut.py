"""Three lines of Python, and what they give."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from PIL import Image

import heartcut
import reference
import tiny_digits
from configs.errors import InputError
from data_pipes.sources import source
from data_pipes.spec import DataSpec
from models import artefact, zoo
from models.own import registry
from models.spec import ModelSpec
from train.loaders import FEW_IMAGES, evaluation_loader
from train.predict import prediction

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("home")
    tiny_digits.save(folder / "model.safetensors")
    (folder / "photos").mkdir()
    for i in range(5):
        Image.fromarray(reference.picture(30 + 20 * i, 40, 3, seed=i)).save(folder / "photos" / f"{i}.png")
    return folder


def test_answers_are_those_of_train_predict(home):
    net = heartcut.load(home / "model.safetensors")
    paths = sorted((home / "photos").iterdir())
    accelerator = Accelerator(cpu=True)
    spec = DataSpec(source="folder", image_size=(8, 8), mean=(0.5,), std=(0.5,))
    loader = evaluation_loader(accelerator, source.unlabelled("error", home / "photos"), spec, FEW_IMAGES)
    expected = prediction.probabilities(accelerator, net.net, loader)
    assert torch.equal(next(iter(loader.epoch(0))).image_BCHW, net.preprocess(paths))
    loader.close()
    assert torch.equal(net.probabilities(paths), expected)
    best = expected.max(dim=1)
    assert net.predict(paths) == [
        (str(k), value) for k, value in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    ]


def test_one_several_and_a_batch(home):
    net = heartcut.load(str(home / "model.safetensors"))
    assert net.classes == tiny_digits.CLASSES and net.input_size == (1, 8, 8) and net.card.model.depth == 8
    pixels = reference.picture(12, 9, 3)
    forms = [pixels, Image.fromarray(pixels), torch.from_numpy(pixels).permute(2, 0, 1)]
    assert all(torch.equal(net.logits(form), net.logits(pixels)) for form in forms)
    assert net.logits(forms).shape == net.logits(np.stack([pixels] * 3)).shape == (3, 10)
    assert net.logits([]).shape == (0, 10) and net.predict([]) == []
    torch.testing.assert_close(net.probabilities(forms).sum(1), torch.ones(3))
    ((five,), (ten,)) = net.top(pixels), net.top(pixels, 99)
    assert [name for name, _ in five] == [name for name, _ in ten[:5]] and five[0] == net.predict(pixels)[0]
    assert len(ten) == 10 and ten == sorted(ten, key=lambda pair: -pair[1])


def test_more_images_than_a_batch_keep_their_order(home, monkeypatch):
    net = heartcut.load(home / "model.safetensors")
    pixels = [reference.picture(8, 8, 1, seed=i) for i in range(7)]
    whole = net.logits(pixels)
    monkeypatch.setattr(heartcut, "BATCH", 3)
    torch.testing.assert_close(net.logits(pixels), whole)


def test_files_that_cannot_be_used_are_refused(home, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="there is no file"):
        heartcut.load(tmp_path / "gone.safetensors")
    net, card = artefact.load(home / "model.safetensors")
    net.fc.bias.data[0] = float("nan")
    monkeypatch.setattr(artefact, "load", lambda path: (net, card))
    with pytest.raises(InputError, match=r"fc.bias has NaN"):
        heartcut.load(home / "model.safetensors")


def test_own_code_is_read_again_once_it_was_edited(home, tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "_named", {})
    text = (
        "from torch import nn\nclass {}(nn.Module):\n"
        "    def __init__(self, num_classes):\n        super().__init__()\n"
        "        self.fc = nn.Linear(64, num_classes)\n"
        "    def forward(self, x):\n        return self.fc(x.flatten(1)) * {}\n"
    )
    names, card = {}, artefact.read_card(home / "model.safetensors")
    for name in ("Net", "Other"):
        (tmp_path / f"{name}.py").write_text(text.format(name, 1))
        names[name] = f"{tmp_path / name}.py:{name}"
        spec = ModelSpec(name=names[name])
        net = zoo.build(spec, num_classes=10, input_CHW=(1, 8, 8))
        artefact.save(tmp_path / f"{name}.safetensors", net, replace(card, model=spec))
    image = reference.picture(8, 8, 1)
    before = heartcut.load(tmp_path / "Net.safetensors", network=names["Net"])
    (tmp_path / "Net.py").write_text(text.format("Net", 2))
    after = heartcut.load(tmp_path / "Net.safetensors", network=names["Net"])
    torch.testing.assert_close(after.logits(image), 2 * before.logits(image))
    heartcut.load(tmp_path / "Other.safetensors")  # what was named before is known as before


def test_the_lines_of_the_readme_run_where_nothing_else_is_imported(home):
    """In a process of its own, from another folder, without DALI and accelerate."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (block,) = (b for b in re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL) if "import heartcut" in b)
    block = block.replace("rose.jpg", "photos/0.png").replace("tulip.jpg", "photos/1.png")
    code = block + (
        "\nimport sys; assert not {'accelerate', 'nvidia.dali', 'timm', 'torchvision', 'wandb'} & set(sys.modules)"
        "\nassert heartcut.__all__ == ['Predictor', 'load']"
    )
    subprocess.run([sys.executable, "-c", code], cwd=home, check=True)


def test_packages_of_ones_own_in_the_working_folder_are_not_in_the_way(home):
    (home / "models").mkdir()
    (home / "models" / "__init__.py").write_text("OWN = True\n")
    words = [sys.executable, "-c", "import heartcut, sys; heartcut.load('model.safetensors'); assert sys.path[0] == ''"]
    subprocess.run(words, cwd=home, check=True)
    words[-1] = "import models; assert models.OWN; import heartcut"  # the control: theirs would be found
    ended = subprocess.run(words, cwd=home, capture_output=True, text=True)
    assert f"ImportError: {home / 'models'} is imported already, and heartcut has a package models" in ended.stderr
