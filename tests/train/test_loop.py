"""The loop: when it ends, what it refuses to save, what it measures."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from accelerate import Accelerator

from configs.errors import NonFiniteError
from digit_runs import teach
from train.loop import Loop, Window
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


def test_a_window_averages_what_each_micro_batch_measured_and_remembers_a_loss_that_was_not_finite():
    window = Window(finite=torch.ones((), dtype=torch.bool), first_step=0)
    for loss, norm in ((1.0, None), (3.0, 5.0), (math.nan, None), (4.0, 7.0)):
        measured = {"loss": torch.tensor(loss)} | ({"gradient_norm": torch.tensor(norm)} if norm else {})
        window.add(measured)
        assert bool(window.finite) is (loss < 3.5 and not math.isnan(loss))
    means = window.means(Accelerator(cpu=True))
    assert means["train/gradient_norm"] == 6 and math.isnan(means["train/loss"])
