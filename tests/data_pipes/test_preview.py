"""The command itself, on the handwritten digits that ship with scikit-learn."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from configs import reader
from configs.errors import UsageError
from data_pipes import contact_sheet, preview
from data_pipes.preview import PreviewConfig
from data_pipes.sources import source
from data_pipes.spec import DataSpec
from train.compress.config import CompressConfig
from train.config import DistillConfig, TeacherConfig
from train.prune.config import PruneConfig

DIGITS = ["--data.source", "digits", "--data.image_size", "[8, 8]", "--data.mean", "[0.3]", "--data.std", "[0.3]"]


def run(monkeypatch, *words: str) -> None:
    monkeypatch.setattr(sys, "argv", ["preview", *DIGITS, *words])
    preview.main()


def tile(path: Path, x: int, y: int, side: int = 8, zoom: int = 14) -> np.ndarray:
    """One magnified tile of the sheet, its grey levels at the image's own size."""
    sheet = np.asarray(Image.open(path))
    gap, above = contact_sheet.GAP, contact_sheet.HEAD + contact_sheet.LINE
    top, left = above + y * (side * zoom + gap), gap + contact_sheet.NAMES + x * (side * zoom + gap)
    return sheet[top : top + side * zoom : zoom, left : left + side * zoom : zoom, 0]


def height(rows: int) -> int:
    return contact_sheet.HEAD + contact_sheet.LINE + rows * (112 + contact_sheet.GAP) + contact_sheet.GAP


def test_it_writes_a_sheet_and_says_where(monkeypatch, tmp_path, capsys):
    output = tmp_path / "new" / "sheet.png"
    run(monkeypatch, "--images", "3", "--columns", "2", "--output", str(output))
    with Image.open(output) as sheet:
        assert sheet.format == "PNG"
        assert sheet.size == (8 + contact_sheet.NAMES + 3 * (112 + 8), height(3))
        assert capsys.readouterr().out == f"{output}: {sheet.width} x {sheet.height} pixels\n"


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_the_first_column_is_the_evaluation_view(monkeypatch, tmp_path, split):
    output = tmp_path / "sheet.png"
    run(monkeypatch, "--images", "3", "--columns", "1", "--split", split, "--output", str(output),
        "--data.augment.horizontal_flip", "1.0")  # fmt: skip
    config = DataSpec(source="digits", image_size=(8, 8), mean=(0.3,), std=(0.3,))
    samples = source.load(config, split)
    for y, row in enumerate(contact_sheet.by_class(samples, 3)):
        image = samples.read(int(row), channels=1)[..., 0]
        assert np.array_equal(tile(output, 0, y), image)
        assert np.array_equal(tile(output, 1, y), image[:, ::-1])


def test_images_without_labels_have_a_sheet_too(monkeypatch, tmp_path):
    for name in ("train/cat/1.png", "test/1.png", "test/2.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8), 50, np.uint8)).save(tmp_path / name)
    output, places = tmp_path / "sheet.png", ["--data.source", "folder", "--data.root", str(tmp_path)]
    run(monkeypatch, *places, "--split", "evaluation", "--columns", "0", "--output", str(output))
    assert Image.open(output).height == height(2) and tile(output, 0, 1).min() == 50


def test_the_seed_decides_the_views(monkeypatch, tmp_path):
    def sheet(seed: str) -> bytes:
        output = tmp_path / "sheet.png"
        run(monkeypatch, "--images", "4", "--columns", "2", "--seed", seed, "--output", str(output),
            "--data.augment.rotation", "30", "--data.augment.mixup", "1.0")  # fmt: skip
        return output.read_bytes()

    assert sheet("1") == sheet("1") != sheet("2")


def test_a_training_configs_other_sections_are_passed_over(monkeypatch, tmp_path):
    recipe = Path(__file__).parents[2] / "configs" / "digits" / "teacher.yaml"
    output = tmp_path / "sheet.png"
    monkeypatch.setattr(sys, "argv", ["preview", "--config", str(recipe), "--images", "2", "--output", str(output)])
    preview.main()
    assert output.stat().st_size > 1000


@pytest.mark.parametrize("stage", ["teacher", "distill", "prune", "compress"])
@pytest.mark.parametrize(("views", "columns"), [("null", 7), ("3", 3), ("16", 7)])
def test_it_takes_the_config_of_a_run_with_its_views_and_their_seed(tmp_path, stage, views, columns):
    kinds = {"teacher": TeacherConfig, "distill": DistillConfig, "prune": PruneConfig, "compress": CompressConfig}
    shipped = Path(__file__).parents[2] / "configs" / "digits" / f"{stage}.yaml"
    own = ["--view_seed", "9", *([] if stage == "compress" else ["--views", views])]
    config = reader.read(kinds[stage], ["--config", str(shipped), *own], prog="", description="")
    (tmp_path / "config.yaml").write_text(reader.dump(config))
    words = ["--config", str(tmp_path / "config.yaml")]
    found = reader.read(PreviewConfig, words, prog="", description="", other_sections=True)
    assert (found.plan_seed, found.shown_views) == (9, 7 if stage == "compress" else columns)
    output = tmp_path / "sheet.png"
    preview.main([*words, "--images", "1", "--columns", "1", "--output", str(output)])
    assert output.stat().st_size > 500


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--images", "0"), "images is 0; it must be at least 1"),
        (("--columns", "-1"), "columns is -1; it must be at least 0"),
        (("--views", "0"), "views is 0; it must be at least 1, or null"),
        (("--output", "sheet.jpg"), "output is 'sheet.jpg'; it must be the name of a .png file"),
    ],
)
def test_wrong_options_are_named(monkeypatch, words, message):
    with pytest.raises(UsageError, match=message.replace(".", r"\.")):
        run(monkeypatch, *words)


@pytest.mark.parametrize("seed", ["-1", str(2**64)])
def test_a_seed_that_philox_cannot_take_is_named(monkeypatch, tmp_path, seed):
    with pytest.raises(UsageError, match="seed"):
        run(monkeypatch, "--seed", seed, "--output", str(tmp_path / "a.png"), "--data.augment.rotation", "30")
