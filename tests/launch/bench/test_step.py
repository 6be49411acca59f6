"""The step with its loader and without: the same step, nothing left behind."""

import os
from dataclasses import replace
from itertools import repeat

import pytest
import torch
from accelerate.state import AcceleratorState, GradientState

from configs.errors import UsageError
from data_pipes.spec import AugmentSpec, DataSpec
from launch.bench import step
from launch.bench.config import DistillStepConfig, TeacherStepConfig
from models.spec import ModelSpec
from train.config import OptimSpec, TrackSpec
from train.loss.config import DistillSpec
from train.processes import make_accelerator
from train.run_folder.run_dir import RunDir
from train.stage.assembly import assemble

DATA = DataSpec(
    source="digits", image_size=(8, 8), mean=(0.3,), std=(0.37,), threads=1, augment=AugmentSpec(rotation=10, mixup=1)
)
TINY = ModelSpec(name="resnet_small", widths=(2, 4, 8), depth=8)


@pytest.fixture(autouse=True)
def as_in_a_new_process(tmp_path, monkeypatch):
    monkeypatch.setenv("HEARTCUT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    forget_accelerate()
    yield
    forget_accelerate()


def forget_accelerate() -> None:
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


def config(folder, **changes) -> TeacherStepConfig:
    own = {"epochs": 1, "batch_size": 64, "model": TINY, "optim": OptimSpec(lr=1e-2, warmup_epochs=1), "ema": 0.9}
    return TeacherStepConfig(run_dir=str(folder), data=DATA, rounds=2, seconds=0.0, **{**own, **changes})


def built(made: TeacherStepConfig, folder):
    return assemble(made, make_accelerator("float32"), RunDir.at(folder), "bench")


def test_every_loader_that_runs_here_is_measured(tmp_path):
    report = step.run(config(tmp_path / "run"), lambda text: None)
    assert list(report.laps) == ["constant", "loader", "host"]
    assert all(
        lap.rate > 0 and lap.cpu_seconds > 0 and lap.images == 128 for own in report.laps.values() for lap in own
    )
    assert [(r.goal.name, r.against, r.goal.least) for r in report.ratios] == [
        ("loader/constant", "constant", 0.97), ("host/constant", "constant", 0.97),
    ]  # fmt: skip
    assert report.notes["loader"] == "the config's own loader: executor resident"
    assert "one array" in report.left_out["dali-files"] and "dali-canvas" in report.left_out
    assert report.environment["batch_size"] == 64


def test_nothing_is_written_anywhere_that_stays(tmp_path):
    track = TrackSpec(wandb="online", every=1)
    step.run(config(tmp_path / "run", track=track, checkpoint_steps=1), lambda text: None)
    assert not (tmp_path / "run").exists()
    assert [path for path in tmp_path.rglob("*") if "bench" in path.name] == []


def test_the_run_is_quiet_but_otherwise_its_own(tmp_path):
    made = DistillStepConfig(
        run_dir="kept", data=DATA, epochs=3, student=TINY, distill=DistillSpec(alpha=0.0, teacher_check=7),
        track=TrackSpec(wandb="online"), checkpoint_steps=5,
    )  # fmt: skip
    quiet = step.quiet(made, str(tmp_path))
    assert quiet == replace(
        made,
        run_dir=str(tmp_path),
        track=TrackSpec(),
        checkpoint_steps=0,
        checkpoint_minutes=0,
        distill=DistillSpec(alpha=0.0, teacher_check=0),
    )


@pytest.mark.parametrize("accumulation", [1, 2])
def test_one_step_of_a_lap_is_not_timed_and_the_loader_ends_empty(tmp_path, accumulation):
    made = config(tmp_path, micro_batch_size=64 // accumulation)
    loop = built(made, tmp_path)
    assert loop.layout.accumulation == accumulation
    loader, given = loop.train_loader, []

    def batches(steps: int):
        for batch in step.last_steps(loader, steps):
            given.append(batch)
            yield batch

    variant = step.Stepping(loop, batches)
    lap = variant.lap(5 * 64)
    assert lap.images == 5 * 64 and lap.seconds > 0
    assert len(given) == (5 + 1) * accumulation
    given.clear()
    epoch = loader.steps - 1
    assert variant.lap((epoch + 3) * 64).images == (epoch + 3) * 64
    assert len(given) == (epoch + 1 + 3 + 1) * accumulation, "a lap longer than an epoch goes on in another"
    loop.close()


def test_the_step_is_the_real_one(tmp_path):
    """It updates the weights; in eval mode or on the same batch without a step it would not."""
    loop = built(config(tmp_path, optim=OptimSpec(lr=1e-2)), tmp_path)
    batch = next(iter(loop.train_loader.epoch(0)))
    before = torch.cat([p.detach().flatten().clone() for p in loop.state.student.parameters()])
    step.Stepping(loop, lambda steps: repeat(batch, steps)).lap(2 * 64)
    after = torch.cat([p.detach().flatten() for p in loop.state.student.parameters()])
    assert not torch.equal(before, after)
    loop.close()


def test_another_executors_loader_has_few_images_and_leaves_no_canvas(tmp_path, monkeypatch):
    loop = built(config(tmp_path, batch_size=16), tmp_path)
    cache = os.environ["HEARTCUT_CACHE"]
    monkeypatch.setattr(step, "MOST_STEPS", 4)
    loader = step.other_loader(loop, replace(DATA, executor="resident"), loop.chosen)
    assert len(loader.dataset) == 64 and loader.steps == 4
    assert os.environ["HEARTCUT_CACHE"] == cache and not list(tmp_path.rglob("canvas-*"))
    loader.close()
    loop.close()


def test_an_executor_that_cannot_be_had_is_left_out_with_the_reason(tmp_path, monkeypatch):
    loop = built(config(tmp_path), tmp_path)

    def refuse(*_):
        raise UsageError("no memory")

    monkeypatch.setattr(step, "other_loader", refuse)
    variants, _, left_out = step.prepare(loop, lambda text: None)
    assert list(variants) == ["constant", "loader"] and left_out["host"] == "no memory"
    loop.close()


def test_an_epoch_of_one_step_is_refused(tmp_path):
    with pytest.raises(UsageError, match="batch_size 2048 is too large to measure: the 1293 training images"):
        step.run(config(tmp_path, batch_size=2048), lambda text: None)
