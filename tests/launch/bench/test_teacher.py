"""The step without a teacher, with its logits from disk, and with the teacher itself."""

from dataclasses import replace

import pytest
from accelerate.state import AcceleratorState, GradientState

import tiny_digits
from configs.errors import UsageError
from data_pipes.spec import AugmentSpec, DataSpec
from launch.bench import teacher
from launch.bench.config import DistillStepConfig
from models.spec import ModelSpec
from train.cache.teacher import CachedTeacher
from train.config import OptimSpec
from train.live_teacher import LiveTeacher
from train.loss.config import DistillSpec
from train.processes import make_accelerator
from train.run_folder.run_dir import RunDir
from train.stage.assembly import assemble

AUGMENT = AugmentSpec(rotation=10, mixup=1)
DATA = DataSpec(source="digits", image_size=(8, 8), mean=(0.3,), std=(0.37,), threads=1, augment=AUGMENT)
TINY = ModelSpec(name="resnet_small", widths=(2, 4, 8), depth=8)


@pytest.fixture
def config(tmp_path, monkeypatch):
    """A teacher with random weights, and a student of it."""
    monkeypatch.setenv("HEARTCUT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    forget_accelerate()
    yield DistillStepConfig(
        run_dir=str(tmp_path / "run"),
        data=DATA,
        epochs=2,
        batch_size=64,
        student=TINY,
        teacher=str(tiny_digits.save(tmp_path / "teacher.safetensors")),
        distill=DistillSpec(alpha=0.5, store="float32"),
        optim=OptimSpec(lr=1e-2),
        rounds=2,
        seconds=0.0,
    )
    forget_accelerate()


def forget_accelerate() -> None:
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


def test_each_way_is_measured_and_nothing_stays(config, tmp_path):
    report = teacher.run(config, lambda text: None)
    assert list(report.laps) == ["without", "cached", "online"]
    assert all(lap.rate > 0 and lap.images == 128 for laps in report.laps.values() for lap in laps)
    assert [(r.goal.name, r.goal.least) for r in report.ratios] == [("cached/without", 0.952), ("cached/online", 1.0)]
    assert "taught by" in report.work and set(report.notes) == set(report.laps)
    assert not (tmp_path / "run").exists() and not [path for path in tmp_path.rglob("*") if "bench" in path.name]


def test_the_cache_answers_what_the_teacher_answers_and_labels_alone_ask_neither(config, tmp_path):
    made = teacher.with_cache(config, str(tmp_path))
    loop = assemble(made, make_accelerator("float32"), RunDir.at(tmp_path), "bench")
    steps = {name: variant._step for name, variant in teacher.variants(loop, config).items()}
    batch = next(iter(loop.train_loader.epoch(0)))
    assert isinstance(steps["cached"].teacher, CachedTeacher) and isinstance(steps["online"].teacher, LiveTeacher)
    losses = {}
    for name in ("without", "cached", "online"):
        loop.state.optimizer.zero_grad()
        for group in loop.state.optimizer.param_groups:
            group["lr"] = 0.0
        losses[name] = {key: float(value) for key, value in steps[name](batch, 0, 0)[0].items()}
    assert losses["cached"]["kd"] == losses["online"]["kd"] > 0
    assert "kd" not in losses["without"]
    loop.close()
    loop.tracker.close()


def test_who_asks_no_teacher_for_logits_is_told(config):
    with pytest.raises(UsageError, match=r"distill\.alpha is 0; it must be more"):
        teacher.run(replace(config, distill=DistillSpec(alpha=0.0)), lambda text: None)
