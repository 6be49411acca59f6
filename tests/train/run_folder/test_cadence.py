"""Checkpoints that nobody asked for take their share of the time and no more, by a clock that the test sets."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from train.run_folder import cadence
from train.run_folder.cadence import FREE_SECONDS, SHARE, Cadence


class Clock:
    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(cadence, "time", SimpleNamespace(monotonic=made.monotonic))
    return made


def begun(clock: Clock, *, minutes: float = 0) -> Cadence:
    return Cadence(minutes=minutes, begun=clock.now, last=clock.now)


def run(clock: Clock, found: Cadence, *, epoch: float, cost: float, epochs: int) -> tuple[int, float]:
    """Ends of epochs that have a checkpoint, and the share of the time that they take."""
    begun, saved = clock.now, 0
    for _ in range(epochs):
        clock.now += epoch
        if found.affordable:
            saved += 1
            with found.writing():
                clock.now += cost
    return saved, saved * cost / (clock.now - begun)


def test_checkpoints_stay_within_their_share(clock: Clock) -> None:
    saved, share = run(clock, begun(clock), epoch=1, cost=0.1, epochs=2000)
    assert 0.9 * SHARE < share < SHARE + FREE_SECONDS / 2000
    assert saved < 450


@pytest.mark.parametrize(("epoch", "cost", "epochs"), [(0.5, 0.05, 60), (100, 1.9, 50)])
def test_every_end_of_an_epoch_has_one_in_short_runs_and_in_long_epochs(
    clock: Clock, epoch: float, cost: float, epochs: int
) -> None:
    assert run(clock, begun(clock), epoch=epoch, cost=cost, epochs=epochs)[0] == epochs


def test_one_is_due_within_an_epoch_when_the_last_is_old_and_not_before(clock: Clock) -> None:
    found = begun(clock, minutes=2)
    clock.now += 119
    assert not found.due
    clock.now += 1
    assert found.due
    with found.writing():
        clock.now += 1
    assert not found.due
    clock.now += 120
    assert found.due
    found.minutes = 0
    assert not found.due


def test_none_is_due_that_would_cost_too_much(clock: Clock) -> None:
    found = begun(clock, minutes=1)
    with found.writing():
        clock.now += 60
    clock.now += 60
    assert not found.due
    clock.now += 6000
    assert found.due


def test_one_that_fails_costs_nothing(clock: Clock) -> None:
    found = begun(clock)
    with pytest.raises(OSError, match="full"), found.writing():
        raise OSError("full")
    assert found.spent == 0
