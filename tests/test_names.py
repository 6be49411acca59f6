"""Names are data: classes that look like markup or steer a terminal are shown as they are spelt, by every command."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from PIL import Image

from forked import run

ROOT = Path(__file__).parents[1]
PACKAGES = ("configs", "data_pipes", "models", "train", "launch")
MARKUP, ESCAPES = "[red]apple", "\x1b[31mplum\x1b[2J"
VISIBLE = r"\x1b[31mplum\x1b[2J"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder of images, with the run of a network on them."""
    home = tmp_path_factory.mktemp("names")
    for number, name in enumerate((MARKUP, ESCAPES)):
        for image in range(8):
            path = home / "data" / "train" / name / f"{image}[b].png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8), (200 * number, 30 * image, 90)).save(path)
    return home


@pytest.fixture(scope="module")
def taught(folder):
    data = ["--data.source", "folder", "--data.root", f"{folder}/data", "--data.image_size", "[8, 8]"]
    data += ["--data.mean", "[0.5, 0.5, 0.5]", "--data.std", "[0.2, 0.2, 0.2]"]
    net = [
        "--model.name",
        "resnet_small",
        "--model.widths",
        "[4, 4, 4]",
        "--optim.warmup_epochs",
        "0",
        "--epochs",
        "1",
        "--batch_size",
        "4",
        "--run_dir",
        f"{folder}/run [i]",
    ]
    return run("train.teacher", *data, *net)


def require_plain(ended) -> str:
    assert ended.code == 0, ended.stderr
    assert "\x1b" not in ended.stdout + ended.stderr
    return ended.stdout + ended.stderr


def test_a_run_names_its_classes(taught):
    said = require_plain(taught)
    assert f"2 classes ({MARKUP}, " in said or f", {MARKUP})" in said


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (("train.evaluate", "--run_dir", "run [i]", "--split", "validation"), [MARKUP, VISIBLE]),
        (("train.predict", "--run_dir", "run [i]", "--images", f"data/train/{ESCAPES}/0[b].png"), [MARKUP, VISIBLE]),
        (("train.predict", "--run_dir", "run [i]", "--images", f"data/train/{ESCAPES}"), ["run [i]/predictions.csv"]),
        (("train.table", "run [i]"), ["run [i]"]),
        (("launch.status", "."), ["run [i]"]),
        (("train.evaluate", "--run_dir", "run [i]", "--data.root", f"data/{ESCAPES}"), None),
    ],
    ids=["evaluate", "predict one", "predict many", "table", "status", "error"],
)
def test_every_command_shows_them_as_they_are_spelt(folder, taught, words, shown):
    ended = run(*words, cwd=folder)
    if shown is None:
        assert ended.code == 64 and VISIBLE in ended.stderr and "\x1b" not in ended.stderr
        return
    said = require_plain(ended)
    assert all(name in said for name in shown), said


def test_without_the_protection_the_terminal_is_steered(folder, taught):
    broken = "import re, configs.shown; configs.shown.STEERING = re.compile('(?!)')"
    ended = run("train.evaluate", "--run_dir", "run [i]", "--split", "validation", prelude=broken, cwd=folder)
    assert "\x1b[31mplum" in ended.stdout


def test_no_other_console_is_used():
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            calls = [node.func for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call)]
            named = {call.id for call in calls if isinstance(call, ast.Name)}
            assert "Console" not in named, f"{path}: PlainConsole of configs.tables shows names as they are"
