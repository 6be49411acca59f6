"""Pictures of a run: what it trained on, as its config shows it, and what it mistakes."""

from __future__ import annotations

import io
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from data_pipes.sources import source
from data_pipes.spec import AugmentSpec, DataSpec
from models.spec import ModelSpec
from train.config import TeacherConfig
from train.evaluate.metrics import Scores
from train.run_folder.run_dir import RunDir
from train.stage import pictures

DATA = DataSpec(source="digits", image_size=(8, 8), mean=(0.3,), std=(0.4,))
CONFIG = TeacherConfig(run_dir="r", data=DATA, epochs=2, model=ModelSpec(name="resnet_small"))
FLIPPED = replace(CONFIG, data=replace(DATA, augment=AugmentSpec(vertical_flip=1.0)))


def pixels(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)


def scores(confusion: tuple[tuple[int, ...], ...]) -> Scores:
    return Scores(confusion=confusion, top5=0, agreed=0)


def test_the_sheet_has_the_views_that_are_shown_and_no_more() -> None:
    samples = source.load(DATA, "train")
    widths = [pixels(pictures.sheet(replace(CONFIG, epochs=epochs), samples)).shape[1] for epochs in (2, 3, 100)]
    column = widths[1] - widths[0]
    assert column > 0 and widths[2] == widths[1] + (pictures.VIEWS - 3) * column


def test_the_sheet_follows_the_augmentation_and_the_seed_of_the_views() -> None:
    samples = source.load(DATA, "train")
    plain, flipped = pictures.sheet(CONFIG, samples), pictures.sheet(FLIPPED, samples)
    assert plain != flipped and plain == pictures.sheet(CONFIG, samples)
    turned = replace(CONFIG, data=replace(DATA, augment=AugmentSpec(rotation=90)))
    assert pictures.sheet(turned, samples) == pictures.sheet(replace(turned, seed=5, view_seed=0), samples)
    assert pictures.sheet(turned, samples) != pictures.sheet(replace(turned, seed=5), samples)


@pytest.mark.parametrize("classes", [1, 15, 41, 300])
def test_any_number_of_classes_gives_a_picture_of_a_bounded_size(classes: int) -> None:
    confusion = tuple(tuple(int(row == column) for column in range(classes)) for row in range(classes))
    names = tuple(f"class {i}" for i in range(classes))
    shape = pixels(pictures.confusion(scores(confusion), names, "r, test")).shape
    assert 700 < shape[0] <= 13.5 * 200 and shape[2] == 3


def test_no_state_of_pyplot_is_touched() -> None:
    before = "matplotlib.pyplot" in sys.modules
    pictures.confusion(scores(((1,),)), ("a",), "r")
    assert ("matplotlib.pyplot" in sys.modules) == before


@pytest.mark.parametrize("name", ["$\\frac$", "$5_", "a^{b", "\\"])
def test_the_name_of_a_class_is_no_formula(name: str) -> None:
    assert pixels(pictures.confusion(scores(((1, 0), (0, 1))), (name, "plain"), name)).shape[2] == 3


def test_no_run_is_lost_for_a_picture(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Its images are gone at the end, say; the other picture is drawn all the same."""
    root = tmp_path / "data"
    for name in ("a", "b"):
        (root / "train" / name).mkdir(parents=True)
        for i in range(4):
            Image.new("L", (8, 8), 40 * i).save(root / "train" / name / f"{i}.png")
    data = replace(DATA, source="folder", root=str(root))
    samples = source.load(data, "train")
    shutil.rmtree(root)
    progress = SimpleNamespace(best_epoch=0)
    loop = SimpleNamespace(
        config=replace(CONFIG, data=data),
        train_loader=SimpleNamespace(dataset=samples),
        folder=RunDir(tmp_path),
        state=SimpleNamespace(progress=progress),
    )
    drawn = {"confusion": tmp_path / "confusion.png"}
    assert pictures.write(loop, scores(((1, 0), (0, 1))), "test") == drawn
    assert "images.png is not drawn" in caplog.text and not (tmp_path / "images.png").exists()
    assert "metrics.jsonl has no curves" in caplog.text and not (tmp_path / "curves.png").exists()
    line = {"train/step": 3, "epoch": 1, "validation/accuracy": 0.5}
    (tmp_path / "metrics.jsonl").write_text(json.dumps(line) + "\n")
    assert pictures.write(loop, scores(((1, 0), (0, 1))), "test") == drawn  # wandb has its own curves
    assert pixels((tmp_path / "curves.png").read_bytes()).shape[2] == 3
