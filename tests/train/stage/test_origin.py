"""A run goes on from what it began with, wherever that lies now, and from nothing else."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

import tiny_digits
from configs.errors import InputError
from train.step import Step

FILE = ["--student.name", "start.safetensors", "--student.depth", "null", "--student.widths", "null"]
ONE = ["--epochs", "1"]


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a teacher, starting weights, and a run that was stopped after a checkpoint."""
    home = tmp_path_factory.mktemp("home")
    tiny_digits.save(home / "teacher.safetensors")
    tiny_digits.save(home / "start.safetensors", seed=3)
    steps = iter([False, False, False, True])

    def interrupted(*words: object) -> object:
        if next(steps):
            raise KeyboardInterrupt
        return real(*words)

    real = Step.__call__
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.chdir(home)
        patch.setattr(Step, "__call__", interrupted)
        tiny_digits.train(Path(), "run", *FILE, "--checkpoint_steps", "2")
    return home


@pytest.fixture
def home(stopped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, which is the working directory."""
    shutil.copytree(stopped, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_it_goes_on_by_its_absolute_path_and_from_another_place(home: Path, tmp_path_factory) -> None:
    there = Path(shutil.copytree(home, tmp_path_factory.mktemp("there") / "moved"))
    tiny_digits.train(Path(), "run", *FILE)
    absolute = ["--student.name", str(there / "start.safetensors"), *FILE[2:]]
    tiny_digits.train(there, there / "run", *absolute)
    assert tiny_digits.losses(there / "run") == tiny_digits.losses(home / "run")


def other_teacher(home: Path) -> list[str]:
    tiny_digits.save(home / "teacher.safetensors", seed=1)
    return []


def other_start(home: Path) -> list[str]:
    tiny_digits.save(home / "start.safetensors", seed=4)
    return []


def no_config(home: Path) -> list[str]:
    (home / "run" / "config.yaml").unlink()
    return ["--optim.lr", "0.5", "--data.augment.erase", "0.25"]


def of_another_seed(home: Path) -> list[str]:
    """Its checkpoints, in a folder of their own."""
    (home / "run" / "config.yaml").unlink()
    return ["--seed", "7", "--view_seed", "0"]


CHANGES: dict[str, tuple[Callable[[Path], list[str]], str]] = {
    "teacher": (other_teacher, r"teacher \(another file\)"),
    "starting weights": (other_start, r"starting weights \(another file\)"),
    "no config.yaml": (no_config, r"optim\.lr was 0\.01, is now 0\.5"),
    "checkpoints of another seed": (of_another_seed, r"seed was 0, is now 7"),
    "micro-batches": (lambda _: ["--micro_batch_size", "32"], r"micro-batches of 64 images are now of 32 \(--micro_ba"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_from_anything_else_it_does_not_go_on(home: Path, what: str) -> None:
    change, message = CHANGES[what]
    options = change(home)
    with pytest.raises(InputError, match=message):
        tiny_digits.train(Path(), "run", *FILE, *options)
    assert not (home / "run" / "done").exists()


def test_a_micro_batch_of_the_same_size_may_be_named(home: Path) -> None:
    """As on another number of processes."""
    tiny_digits.train(Path(), "run", *FILE, "--micro_batch_size", "64")


def test_a_finished_run_is_not_shown_for_another_teacher_or_other_images(home: Path) -> None:
    for name in ("a", "b"):
        for label in range(10):
            folder = home / name / str(label)
            folder.mkdir(parents=True)
            for number in range(2):
                Image.new("L", (8, 8), 9 * label + number + ord(name)).save(folder / f"{number}.png")
    folder = ["--data.source", "folder", "--data.validation_fraction", "0.5", "--data.root"]
    tiny_digits.train(Path(), "done", *ONE, *folder, "a")
    shutil.copytree(home / "a", home / "moved")
    tiny_digits.train(Path(), "done", *ONE, *folder, "moved")  # the control
    with pytest.raises(InputError, match=r"done is finished, with other images than those of b \(data\.root was a\)"):
        tiny_digits.train(Path(), "done", *ONE, *folder, "b")
    tiny_digits.save(home / "teacher.safetensors", seed=1)
    with pytest.raises(InputError, match=r"done is finished, with another teacher than teacher\.safetensors"):
        tiny_digits.train(Path(), "done", *ONE, *folder, "a")
    (home / "teacher.safetensors").unlink()
    tiny_digits.train(Path(), "done", *ONE, *folder, "a")  # what is gone is not needed any more


def test_an_extension_changes_epochs_and_nothing_else(home: Path) -> None:
    tiny_digits.train(Path(), "run", *FILE)
    tiny_digits.train(Path(), "run", *FILE, "--extend", "true", "--epochs", "5")
    assert len(tiny_digits.losses(home / "run")) == 5 * tiny_digits.STEPS
