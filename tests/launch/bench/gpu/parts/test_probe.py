"""What a step asks of the device: counted on a CPU as far as it goes, on recorded events for a GPU."""

import warnings
from collections import Counter

import pytest
import torch
from accelerate.state import AcceleratorState, GradientState

from configs import reader
from gpu_parts import small
from launch.bench.config import DistillStepConfig
from launch.bench.gpu.parts import material, probe, recipes
from launch.bench.gpu.parts.probe import Event, Probe
from launch.bench.rounds import Spread, Stopwatch

KERNEL, PINNED, PAGEABLE = "gemm", "Memcpy HtoD (Pinned -> Device)", "Memcpy HtoD (Pageable -> Device)"
EVENTS = [
    Event(KERNEL, True, 0, 1000), Event(KERNEL, True, 500, 2000), Event(PINNED, True, 3000, 4000),
    Event(PAGEABLE, True, 4000, 4500), Event("Memset (Device)", True, 9000, 9100), Event("aten::mm", False, 0, 9000),
    Event(probe.READ, False, 0, 10), Event("cudaLaunchKernel", False, 0, 10),
]  # fmt: skip


@pytest.fixture(autouse=True)
def as_in_a_new_process():
    yield
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


def of(syncs, events=EVENTS) -> Probe:
    return Probe(
        rate=Spread(1000.0, 900.0, 1100.0), batch_size=8, syncs=syncs, events=events, steps=2, lies_on="cuda:0"
    )


def test_a_new_run_and_a_resumed_one_on_a_cpu(tmp_path):
    words = [*recipes.arrays(small(tmp_path)).distilling, *recipes.WITHOUT_TEACHER, "--run_dir", str(tmp_path / "run")]
    config = reader.read(DistillStepConfig, words, prog="p", description="d")
    found = probe.both(config, steps=2, rounds=1)
    assert list(found) == ["new", "resumed"]
    for own in found.values():
        assert own.syncs is None and own.rate.median > 0 and own.steps == 3 and own.lies_on == "cpu"
        *_, wall_ms, share, operators, reads = probe.counts(own)
        assert wall_ms > 0 and share is None and operators > 100 and reads >= 0
    assert probe.counts(found["new"])[-2] == pytest.approx(probe.counts(found["resumed"])[-2], rel=0.05)


def test_kernels_copies_and_busy_time_are_per_step():
    kernels, copies, blocking, busy_ms, wall_ms, share, operators, reads = probe.counts(of(Counter()))
    assert (kernels, copies, blocking, operators, reads) == (1, 1.5, 0.5, 1, 0.5)
    assert busy_ms == pytest.approx(1.8) and wall_ms == 8 and share == pytest.approx(0.225)
    assert probe.union([]) == 0
    assert probe.longest(of(Counter()))[0] == [KERNEL, 1, 1.25]


def test_syncs_are_faults_and_named_by_place():
    found = probe.Tables()
    found.add("net", {"new": of(Counter()), "resumed": of(Counter({"train/step.py:58": 284}))})
    assert found.faults == ["net, resumed: 142 host syncs per step; 0 is right"]
    assert found.syncs == [["net", "resumed", "train/step.py:58", 142]]
    assert [row[2] for row in found.counts] == [0, 142]


def test_a_warning_of_a_sync_is_put_down_to_the_line_of_ours_that_causes_it(tmp_path):
    def work(*_):
        warnings.warn("called a synchronizing CUDA operation", stacklevel=1)
        warnings.warn("something else", stacklevel=1)

    places: Counter[str] = Counter()
    with probe._heard(places):
        work()
        with pytest.raises(FileNotFoundError):
            material._whole(tmp_path / "root", work)
        Stopwatch(work)  # the lap's own waiting for the device
    assert places["elsewhere"] == 1 and places.total() == 2
    assert next(place for place in places if place != "elsewhere").startswith("launch/bench/gpu/parts/material.py:")


def test_profiled_events_are_those_of_the_work():
    events = probe.profiled(lambda: torch.ones(3) @ torch.ones(3), cuda=False)
    assert any(event.name == "aten::dot" for event in events) and not any(event.on_device for event in events)
