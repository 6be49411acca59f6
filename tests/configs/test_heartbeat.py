"""When a line is due, and what it says."""

import logging

import pytest

from configs import heartbeat
from configs.heartbeat import Heartbeat

logger = logging.getLogger("data_pipes.test")


@pytest.fixture
def clock(monkeypatch, caplog):
    """Seconds that the test sets."""
    caplog.set_level(logging.INFO, logger="data_pipes.test")
    now = [1000.0]
    monkeypatch.setattr(heartbeat.time, "monotonic", lambda: now[0])
    return now


def test_a_line_comes_soon_and_then_every_minute(clock, caplog):
    beat = Heartbeat(logger, "canvas: decoded", 100_000)
    due = []
    for second in range(200):
        clock[0] = 1000.0 + second
        before = len(caplog.records)
        beat.beat(50 * second)
        due += [second] * (len(caplog.records) - before)
    assert due == [5, 65, 125, 185]
    assert caplog.messages[1] == "canvas: decoded 3,250 of 100,000 images, 50 images/s, 32 min left"


def test_what_was_done_at_the_start_is_not_part_of_the_rate(clock, caplog):
    beat = Heartbeat(logger, "checked", 1_000)
    beat.beat(900)
    clock[0] += 10
    beat.beat(920)
    assert caplog.messages == ["checked 920 of 1,000 images, 2.0 images/s, 40 s left"]


def test_work_that_stands_still_says_so(clock, caplog):
    beat = Heartbeat(logger, "checked", 1_000)
    beat.beat(0)
    clock[0] += 10
    beat.beat(0)
    assert caplog.messages == ["checked 0 of 1,000 images, 0.0 images/s, no progress yet"]
