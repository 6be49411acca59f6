"""Parts of an epoch's time, on the host and by events of a device."""

import time
from types import SimpleNamespace

import pytest
import torch

from train.track import clock as clock_module
from train.track.clock import PARTS, Clock


@pytest.fixture
def at(monkeypatch):
    """The host's time, which passes when a test says so."""
    now = SimpleNamespace(seconds=100.0)
    monkeypatch.setattr(clock_module, "time", SimpleNamespace(monotonic=lambda: now.seconds))
    return now


def epoch(clock: Clock, at: SimpleNamespace) -> None:
    def batches():
        for number in range(2):
            at.seconds += 3.0
            yield number
        at.seconds += 1.0

    for _ in clock.batches(batches()):
        with clock.working("step"):
            at.seconds += 0.5
            with clock.working("teacher"):
                at.seconds += 2.0
    clock.read()


def test_data_is_the_wait_for_batches_and_the_teacher_does_not_count_as_step(at):
    clock = Clock()
    epoch(clock, at)
    assert clock.seconds == {"data": 7.0, "teacher": 4.0, "step": 1.0, "evaluation": 0.0, "training": 0.0}
    with clock.waiting("evaluation"):
        at.seconds += 5
    assert clock.seconds["evaluation"] == 5
    clock.read()
    assert clock.seconds["teacher"] == 4, "what was read is not counted again"


def test_an_epoch_begins_with_what_a_checkpoint_has_of_it(at):
    clock = Clock()
    epoch(clock, at)
    clock.begin({"data": 2.0})
    assert clock.seconds == dict.fromkeys(PARTS, 0.0) | {"data": 2.0}


def test_a_device_is_timed_by_its_events_and_the_host_waits_for_none(at, monkeypatch):
    """The host launches in no time; each event is a second later on the device than the one before."""
    made = []

    class Event:
        def __init__(self, *, enable_timing):
            made.append(self)

        def record(self):
            self.place = len(made)

        def elapsed_time(self, other):
            return 1000.0 * (other.place - self.place)

    monkeypatch.setattr(torch.cuda, "Event", Event)
    clock = Clock(torch.device("cuda"))
    with clock.working("step"), clock.working("teacher"):
        pass
    assert clock.seconds["step"] == clock.seconds["teacher"] == 0, "nothing is read before the device has come there"
    clock.read()
    assert (clock.seconds["teacher"], clock.seconds["step"]) == (1.0, 2.0)


def test_real_time_passes():
    clock = Clock()
    with clock.working("step"):
        started = time.monotonic()
        while time.monotonic() == started:
            pass
    clock.read()
    assert clock.seconds["step"] > 0
