"""What a step asks of the device: counted on a CPU as far as it goes, on recorded events for a GPU."""

from collections import Counter

import pytest
from accelerate.state import AcceleratorState, GradientState

from configs import reader
from gpu_parts import small
from launch.bench.config import DistillStepConfig
from launch.bench.gpu.parts import probe, recipes
from launch.bench.gpu.parts.counting import Event
from launch.bench.gpu.parts.probe import Probe
from launch.bench.rounds import Spread

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
    assert probe.longest(of(Counter()))[0] == [KERNEL, 1, 1.25]


def test_syncs_are_faults_and_named_by_place():
    found = probe.Tables()
    found.add("net", {"new": of(Counter()), "resumed": of(Counter({"train/step.py:58": 284}))})
    assert found.faults == ["net, resumed: 142 host syncs per step; 0 is right"]
    assert found.syncs == [["net", "resumed", "train/step.py:58", 142]]
    assert [row[2] for row in found.counts] == [0, 142]
