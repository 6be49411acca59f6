"""Host syncs by place, and events of a profile."""

import warnings
from collections import Counter

import pytest
import torch

from launch.bench.gpu.parts import counting, material
from launch.bench.gpu.parts.counting import Event
from launch.bench.rounds import Stopwatch


def test_time_during_which_several_events_run_counts_once():
    events = [
        Event("a", True, 0, 1000),
        Event("b", True, 500, 2000),
        Event("c", True, 600, 700),
        Event("d", True, 3000, 4000),
    ]
    assert counting.busy(reversed(events)) == 3000 and counting.busy([]) == 0


def test_a_warning_of_a_sync_is_put_down_to_the_line_of_ours_that_causes_it(tmp_path):
    def work(*_):
        warnings.warn("called a synchronizing CUDA operation", stacklevel=1)
        warnings.warn("something else", stacklevel=1)

    places: Counter[str] = Counter()
    with counting._heard(places):
        work()
        with pytest.raises(FileNotFoundError):
            material._whole(tmp_path / "root", work)
        Stopwatch(work)  # the lap's own waiting for the device
    assert places["elsewhere"] == 1 and places.total() == 2
    assert next(place for place in places if place != "elsewhere").startswith("launch/bench/gpu/parts/material.py:")


def test_profiled_events_are_those_of_the_work():
    events = counting.events(lambda: torch.ones(3) @ torch.ones(3), cuda=False)
    assert any(event.name == "aten::dot" for event in events) and not any(event.on_device for event in events)
