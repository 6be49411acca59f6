"""Work in processes of its own: what it took, that it is killed, and that its failure is seen."""

import sys
import time
from multiprocessing import util

import numpy as np
import pytest

from launch.bench.scale.processes import Failed, alone, killed, together


def take(megabytes: int, seconds: float):
    held = np.ones(megabytes * 2**20, np.uint8)
    time.sleep(seconds)
    return {"sum": float(held.sum())}


def test_time_memory_and_figures_are_the_works_own():
    small, large = alone(take, 1, 0.0), alone(take, 60, 0.1)
    assert large.seconds >= 0.1 and large.cpu_seconds > 0 and large.figures == {"sum": 60 * 2**20}
    assert large.peak_bytes - small.peak_bytes > 40 * 2**20


class Held:
    """Memory of this process that its children release before they work."""

    def __init__(self, megabytes: int) -> None:
        self.memory = np.ones(megabytes * 2**20, np.uint8)
        util.register_after_fork(self, Held.release)

    def release(self) -> None:
        del self.memory


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is forgotten on Linux alone")
def test_memory_that_only_the_parent_used_is_not_the_works():
    held = Held(80)
    small, large = alone(take, 1, 0.0), alone(take, 60, 0.0)
    assert large.peak_bytes - small.peak_bytes > 40 * 2**20
    assert len(held.memory) == 80 * 2**20


def test_several_at_once_have_a_result_each():
    assert [cost.figures["sum"] / 2**20 for cost in together(take, [(1, 0.0), (2, 0.0)])] == [1, 2]


def touch_and_wait(path):
    path.touch()
    time.sleep(600)


def test_work_is_killed_when_it_is_time(tmp_path):
    assert killed(touch_and_wait, tmp_path / "begun", when=(tmp_path / "begun").exists) < 60


def fail():
    raise ValueError("it went wrong")


def test_a_failure_is_not_a_result(capfd):
    with pytest.raises(Failed, match="ended with code 1"):
        alone(fail)
    assert "it went wrong" in capfd.readouterr().err
