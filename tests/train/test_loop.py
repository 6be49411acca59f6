"""The loop: when it ends, what it refuses to save, what it measures."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace

import pytest
from accelerate import Accelerator

from configs.errors import NonFiniteError
from configs.stopping import StoppedError
from digit_runs import teach
from train import loop
from train.loop import Loop
from train.run_folder import cadence
from train.state import Progress


def test_patience_ends_a_run_that_no_longer_learns(tmp_path: Path) -> None:
    result = teach(tmp_path, "--epochs", "50", "--patience", "2", "--optim.lr", "1e-9", "--optim.warmup_epochs", "0")
    assert result["epochs"] == result["best_epoch"] + 2 < 50


def test_a_loss_that_is_not_finite_stops_the_run_and_is_never_saved(tmp_path: Path) -> None:
    diverging = ["--optim.name", "sgd", "--optim.lr", "1e30", "--optim.warmup_epochs", "0", "--track.every", "5"]
    with pytest.raises(NonFiniteError, match="between steps 0 and 5"):
        teach(tmp_path, "--epochs", "3", *diverging)
    assert not list((tmp_path / "checkpoints").glob("step-*"))
    assert not (tmp_path / "model.safetensors").exists()


def test_weights_that_overflow_after_a_finite_loss_are_not_saved(tmp_path: Path) -> None:
    """One step per epoch, so that no later loss could tell before the checkpoint."""
    exploding = [
        "--optim.name",
        "sgd",
        "--optim.lr",
        "1e38",
        "--optim.weight_decay",
        "1e3",
        "--optim.warmup_epochs",
        "0",
    ]
    with pytest.raises(NonFiniteError, match="weights became NaN or infinite before step 1"):
        teach(tmp_path, "--epochs", "3", "--batch_size", "1293", *exploding)
    assert not list((tmp_path / "checkpoints").glob("step-*"))


def test_evaluation_is_under_way_before_the_last_step_ends(tmp_path, monkeypatch):
    told: list[str] = []
    prepare, step, evaluate = loop.PlanLoader.prepare, loop.Step.__call__, loop.evaluate
    monkeypatch.setattr(loop.PlanLoader, "prepare", lambda *a: told.append("prepared") or prepare(*a))
    monkeypatch.setattr(loop.Step, "__call__", lambda *a: told.append("step") or step(*a))
    monkeypatch.setattr(loop, "evaluate", lambda *a, **k: told.append("evaluated") or evaluate(*a, **k))
    teach(tmp_path, *FEW[:-1], "1")
    assert told[-4:] == ["prepared", "step", "evaluated", "evaluated"]  # the last one: the weights that are kept
    assert told.count("prepared") == 1


FEW = ("--data.validation_fraction", "0.8", "--test", "false", "--epochs", "3")  # 5 steps an epoch


def saved(folder: Path) -> list[int]:
    return sorted(int(path.name.removeprefix("step-")) for path in (folder / "checkpoints").glob("step-*"))


def test_epochs_go_without_a_checkpoint_that_is_too_dear_and_the_last_one_has_it(tmp_path, monkeypatch):
    monkeypatch.setattr(cadence, "FREE_SECONDS", -math.inf)
    teach(tmp_path / "dear", *FEW)
    monkeypatch.undo()
    teach(tmp_path / "cheap", *FEW)
    assert saved(tmp_path / "dear") == [15]
    assert saved(tmp_path / "cheap") == [10, 15]  # the control: the newest two


def test_a_run_that_is_stopped_between_epochs_goes_on_from_there_though_that_was_too_dear(tmp_path, monkeypatch):
    teach(tmp_path / "whole", *FEW)
    monkeypatch.setattr(cadence, "FREE_SECONDS", -math.inf)
    real, asked = loop.asked_to_stop, []

    def stop(accelerator: Accelerator) -> str | None:
        asked.append(1)
        return "a test wants it" if len(asked) == stops_at else real(accelerator)

    monkeypatch.setattr(loop, "asked_to_stop", stop)
    stops_at = 2 * 5 + 1  # it is asked before each epoch, and after each step but the last of an epoch
    with pytest.raises(StoppedError, match="stopped: a test wants it"):
        teach(tmp_path / "run", *FEW)
    assert saved(tmp_path / "run") == [10]
    monkeypatch.undo()
    teach(tmp_path / "run", *FEW)
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "run")]
    assert weights[0] == weights[1]


def test_a_long_epoch_has_checkpoints_within_it(tmp_path, monkeypatch):
    monkeypatch.setattr(cadence, "FREE_SECONDS", math.inf)
    teach(tmp_path, *FEW, "--epochs", "1", "--track.every", "2", "--checkpoint_minutes", "1e-9")
    assert saved(tmp_path) == [4, 5]


def test_the_time_of_an_epoch_before_it_was_stopped_is_counted(tmp_path, monkeypatch):
    """Each step takes a second of a clock that the test moves; the run is stopped after the third of five."""
    clock = [0.0]
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    real, stops_at = Loop._count_step, 3

    def count(self: Loop) -> None:
        real(self)
        clock[0] += 1

    monkeypatch.setattr(Loop, "_count_step", count)
    stop = lambda _: "a test wants it" if clock[0] == stops_at else None  # noqa: E731
    monkeypatch.setattr(loop, "asked_to_stop", stop)
    with pytest.raises(StoppedError, match="stopped at step 3 of epoch 1"):
        teach(tmp_path, *FEW, "--epochs", "1")
    clock[0] = 100.0
    assert teach(tmp_path, *FEW, "--epochs", "1")["seconds"] == 5


@pytest.mark.parametrize(
    ("epoch", "best", "patience", "begun", "ends"),
    [
        (0, -1, 0, None, False),
        (9, 8, 0, None, False),
        (10, 8, 0, None, True),
        (4, 2, 2, None, False),
        (5, 2, 2, None, True),
        (6, 2, 2, 5, False),
        (7, 2, 2, 5, True),
    ],
)
def test_it_ends_with_the_schedule_or_with_patience_which_counts_from_an_extension(epoch, best, patience, begun, ends):
    config = SimpleNamespace(epochs=10, patience=patience)
    state = SimpleNamespace(progress=Progress(epoch=epoch, best_epoch=best))
    extensions = () if begun is None else (SimpleNamespace(from_epoch=begun),)
    assert Loop.finished.fget(SimpleNamespace(config=config, state=state, extensions=extensions)) is ends
