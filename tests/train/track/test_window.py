"""Sums of measurements: what counts how often, what is left out, and how an epoch goes on after a checkpoint."""

import math
from types import SimpleNamespace

import pytest
import torch
from accelerate import Accelerator

from train.track.window import Totals, Window, means


@pytest.fixture
def accelerator():
    return Accelerator(cpu=True)


def window(*losses: float) -> Window:
    made = Window(finite=torch.ones((), dtype=torch.bool), first_step=0)
    for loss in losses:
        made.add({"loss": torch.tensor(loss), "accuracy": torch.tensor(3)}, images=4)
    return made


def test_a_window_averages_what_each_micro_batch_measured_and_remembers_a_loss_that_was_not_finite(accelerator):
    made = window()
    for loss, norm in ((1.0, None), (3.0, 5.0), (math.nan, None), (4.0, 7.0)):
        measured = {"loss": torch.tensor(loss)} | ({"gradient_norm": torch.tensor(norm)} if norm else {})
        made.add(measured, images=4)
        assert bool(made.finite) is (loss < 3.5 and not math.isnan(loss))
    found = means(made.totals.reduced(accelerator))
    assert found["gradient_norm"] == 6 and math.isnan(found["loss"])


def test_counts_of_images_are_shares_of_the_images_of_all_micro_batches(accelerator):
    made = window()
    for right, images in ((4, 4), (0, 1)):  # the mean of the two shares would be a half
        made.add({"loss": torch.tensor(1.0), "accuracy": torch.tensor(right)}, images=images)
    assert means(made.totals.reduced(accelerator))["accuracy"] == 4 / 5


def test_a_gradient_norm_that_overflows_is_left_out(accelerator):
    totals = Totals()
    for norm in (math.inf, 2.0, math.nan, 4.0):
        totals.add("gradient_norm", torch.tensor(norm), 1)
    assert means(totals.reduced(accelerator)) == {"gradient_norm": 3}
    none = Totals()
    none.add("gradient_norm", torch.tensor(math.inf), 1)
    assert math.isnan(means(none.reduced(accelerator))["gradient_norm"])


def test_an_epoch_that_goes_on_after_a_checkpoint_is_the_whole_epoch_on_any_number_of_processes(accelerator):
    first, second = window(1.0, 2.0).totals, window(6.0).totals
    whole = first.plus(second).reduced(accelerator)
    saved = first.reduced(accelerator)
    assert Totals.resumed(saved, accelerator).plus(second).reduced(accelerator) == whole
    assert means(whole) == {"loss": 3, "accuracy": 9 / 12}
    other = SimpleNamespace(is_main_process=False, device=torch.device("cpu"))
    assert Totals.resumed(saved, other).reduced(accelerator) == {"loss": (0, 0), "accuracy": (0, 0)}
    assert Totals.resumed({}, accelerator).reduced(accelerator) == {}
    assert first.reduced(accelerator) == saved, "adding makes new totals"
