"""The step and an evaluation on a GPU that is not there: no mismatch, and nothing that makes the host wait for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from torch import Tensor, nn

import reference
import small_cache
from data_pipes import plan
from data_pipes.executors import resident
from data_pipes.executors.choice import Choice
from data_pipes.executors.dali_feed import CanvasFeed
from data_pipes.loader import PlanLoader
from data_pipes.logits.codec import Codec
from data_pipes.spec import AugmentSpec, DataSpec
from fake_gpu import CUDA, Gpu, fake_gpu
from models import zoo
from models.artefact import Card
from models.counting import Cost
from models.pruning.masks import Masks
from models.spec import ModelSpec
from train.cache import teacher as cached_teacher
from train.config import DistillConfig, OptimSpec
from train.evaluate.evaluation import evaluate, predictions
from train.live_teacher import LiveTeacher, Teacher
from train.loaders import evaluation_loader, training_layout, training_loader
from train.loss.config import DistillSpec
from train.optim import optimizer
from train.optim.schedule import build_schedule
from train.processes import dtype_of, make_accelerator
from train.stage import assembly
from train.state import SavedState, TrainState
from train.step import Step
from train.track.window import Window

IMAGES, CLASSES, BATCH = 12, 3, 8  # the last of two steps is half padding
PAIRS = (("layer1", "layer1"), ("layer2", "layer3"))
ALL = AugmentSpec(crop_scale=(0.7, 1.0), horizontal_flip=0.5, rotation=10, erase=0.5, mixup=0.5, cutmix=1.0)
SPEC = DataSpec(source="digits", image_size=(8, 8), mean=(0.4,), std=(0.3,), prefetch=1, augment=ALL)
RESIDENT = Choice(name="resident", feed="canvas", reason="a test asks for it")
STUDENT = ModelSpec(name="resnet_small", widths=(2, 4, 4), depth=8)
TEACHER = ModelSpec(name="resnet_small", widths=(3, 4, 6), depth=8)
SHAPE = {"num_classes": CLASSES, "input_CHW": (1, 8, 8)}
SAMPLES = reference.in_memory(np.stack([reference.noise(8, 8, 1, seed) for seed in range(IMAGES)]), CLASSES)
OWN = {"mean": (0.5,), "std": (0.5,), "eval_crop": 1.0, "cost": Cost(parameters=1, nonzero=1, macs=1, bytes=1)}
CARD = Card(model=TEACHER, classes=SAMPLES.classes, input_CHW=(1, 8, 8), **OWN)
BASE = DistillConfig(
    run_dir="run", data=SPEC, epochs=2, batch_size=BATCH, student=STUDENT, teacher="teacher.safetensors",
    optim=OptimSpec(clip_norm=1.0),
)  # fmt: skip
FEATURES = DistillSpec(soft="dkd", hint=1.0, attention=1.0, layers=PAIRS)

CASES = {
    "adamw": BASE,
    "sgd, accumulated, averaged, masked": replace(
        BASE, optim=OptimSpec(name="sgd", clip_norm=1.0), micro_batch_size=4, ema=0.9, keep_zeros=True,
        student=ModelSpec(name="student.safetensors"),
    ),
    "fp16, accumulated, masked": replace(
        BASE, precision="fp16", micro_batch_size=4, keep_zeros=True, student=ModelSpec(name="student.safetensors")
    ),
    "fp16, features, averaged": replace(BASE, precision="fp16", distill=FEATURES, ema=0.9),
    "bf16, features": replace(BASE, precision="bf16", distill=FEATURES),
    "bf16, hint alone, not clipped": replace(
        BASE, precision="bf16", distill=DistillSpec(alpha=0.0, hint=1.0, layers=PAIRS), optim=OptimSpec()
    ),
    "fp16, not clipped": replace(BASE, precision="fp16", optim=OptimSpec()),
    "labels alone, plain views": replace(
        BASE, distill=DistillSpec(alpha=0.0), data=replace(SPEC, augment=AugmentSpec()), label_smoothing=0.1
    ),
}  # fmt: skip


def accelerator_of(config: DistillConfig) -> Accelerator:
    made = make_accelerator(config.precision)
    made.gradient_accumulation_steps = config.batch_size // (config.micro_batch_size or config.batch_size)
    return made


class Rig:
    """A run as assembly builds it, from images in memory and networks that no file holds."""

    def __init__(self, config: DistillConfig) -> None:
        config = replace(config, student=STUDENT, keep_zeros=False) if config.keep_zeros else config
        self.config, self.accelerator = config, accelerator_of(config)
        layout = training_layout(self.accelerator, config.batch_size, config.micro_batch_size)
        live = LiveTeacher(zoo.build(TEACHER, **SHAPE), CARD, SPEC, layers=config.loss.teacher_layers)
        self.state = assembly._state(config, SAMPLES.classes, live, self.accelerator)
        self.loader = training_loader(config, self.accelerator, SAMPLES, layout, RESIDENT)
        self.schedule = build_schedule(config.optim, self.state.optimizer, epochs=2, steps_per_epoch=self.loader.steps)
        self.live = live.to(self.accelerator.device, dtype_of(config.precision))

    def step(self, teacher: Teacher | None, masks: Masks | None = None) -> Step:
        return replace(assembly._step(self.config, self.state, masks, self.accelerator), teacher=teacher)

    def train(self, step: Step, epoch: int) -> None:
        """An epoch as the loop has it, without what is due at log lines only."""
        window = Window(finite=torch.ones((), dtype=torch.bool, device=CUDA), first_step=0)
        step.model.train()
        if step.teacher is not None:
            step.teacher.begin(epoch)
        accumulation, done = self.accelerator.gradient_accumulation_steps, epoch * self.loader.steps
        for number, batch in enumerate(step.clock.batches(self.loader.epoch(epoch))):
            self.schedule.step_update(done)
            with step.clock.working("step"):
                measured = step(batch, done, number % accumulation)[0]
            assert {"accuracy"} <= measured.keys() and ("agreement" in measured) == (step.teacher is not None)
            window.add(measured, batch.real)
            if (number + 1) % accumulation == 0:
                done += 1
                if self.state.ema is not None:
                    self.state.ema.update(self.state.student.net, step=done)


@pytest.fixture
def gpu() -> Iterator[Gpu]:
    with fake_gpu(resident, cached_teacher) as found:
        yield found


@pytest.mark.parametrize("name", CASES)
def test_no_micro_batch_makes_the_host_wait(gpu, name):
    """Uploads of the epoch's plan do not block either."""
    config = CASES[name]
    rig = Rig(config)
    masks = Masks.of(rig.state.student.net) if config.keep_zeros else None
    step = rig.step(rig.live if config.loss.needs_teacher else None, masks)
    gpu.reset()
    rig.train(step, 0)
    assert not gpu.syncs and not gpu.blocking_copies
    # Once an epoch: rows for the loader, rows and two maps for the executor, boxes to erase; what mixing needs.
    assert gpu.copies == (5 + 4 if config.data.augment.mixes else 4)


@pytest.mark.parametrize("codec", [Codec("float16"), Codec("top_k", 2)])
def test_a_teacher_that_answers_from_disk_does_not_either(gpu, tmp_path, codec):
    cache = small_cache.create(tmp_path, codec, samples=IMAGES, classes=CLASSES)
    small_cache.fill(cache)
    rig = Rig(replace(BASE, precision="bf16"))
    teacher = cached_teacher.CachedTeacher(cache, rig.loader, CUDA, range(2), None)
    step = rig.step(teacher)
    gpu.reset()
    rig.train(step, 0)
    assert not gpu.syncs and not gpu.blocking_copies
    teacher.close()
    assert not teacher._kept and teacher._current is None


@pytest.mark.parametrize("size", [12, 4])
def test_an_evaluation_waits_at_its_first_batch_and_at_its_end_only(gpu, size):
    rig = Rig(BASE)
    loader = evaluation_loader(rig.accelerator, SAMPLES, SPEC, RESIDENT, batch_size=size)
    gpu.reset()
    evaluate(rig.accelerator, rig.state.evaluated, loader.epoch(0), CLASSES, teacher=rig.live)
    taught_N = predictions(rig.accelerator, rig.live, loader.epoch(0), IMAGES)
    evaluate(rig.accelerator, rig.state.evaluated, loader.epoch(0), CLASSES, taught_N=taught_N)
    guard, end = gpu.syncs
    assert guard.startswith("item at train/guards.py") and end.startswith("copy to the host at train/evaluate/metrics")
    assert list(gpu.syncs.values()) == [2, 2] and not gpu.blocking_copies  # twice each, and none by predictions
    assert len(loader) == IMAGES // size


def test_rows_of_a_canvas_go_to_dali_without_waiting(gpu):
    feed = CanvasFeed(SAMPLES, torch.empty((IMAGES, 8, 8, 1), dtype=torch.uint8, device=CUDA))
    view = plan.evaluation(SAMPLES.size_N2, 1.0, (8, 8))
    rows = np.arange(4)
    assert feed.inputs(rows, view.take(rows))["image_B"].is_cuda
    assert gpu.copies == 1 and not gpu.syncs and not gpu.blocking_copies


# ---- after a resumption


def checkpoint(folder: Path, optim: OptimSpec) -> SavedState:
    """What a run has saved after a step."""
    config = replace(BASE, optim=optim)
    state = assembly._state(config, SAMPLES.classes, None, Accelerator(cpu=True))
    for parameter in state.student.parameters():
        parameter.grad = torch.ones_like(parameter)
    state.optimizer.step()
    state.save(folder)
    found = SavedState.newest(folder)
    assert found is not None
    return found


def resumed(saved: SavedState, optim: OptimSpec, *, load_first: bool = False) -> tuple[TrainState, Step]:
    """A run that goes on, prepared and loaded in this or the other order. Fake tensors cannot be read from a file."""
    rig = Rig(replace(BASE, optim=optim))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SavedState, "newest", lambda _: saved)
        if load_first:
            rig.state.resume(Path())
        step = rig.step(None)
        if not load_first:
            rig.state.resume(Path())
    for parameter in rig.state.student.parameters():
        parameter.grad = torch.zeros_like(parameter)
    return rig.state, step


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_an_update_after_a_resumption_waits_for_nothing(tmp_path, name):
    optim = OptimSpec(name=name)
    saved = checkpoint(tmp_path, optim)
    with fake_gpu(resident) as gpu:
        state, step = resumed(saved, optim)
        counts = [values["step"] for values in state.optimizer.state.values() if "step" in values]
        assert len(counts) == (len(list(state.student.parameters())) if name == "adamw" else 0)
        assert all(count.device == CUDA for count in counts)  # where a fused optimizer reads them
        gpu.reset()
        step.optimizer.step()
        assert not gpu.syncs


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_moments_of_another_layout_fail(tmp_path, monkeypatch, name):
    """The control: as a file has them, contiguous."""
    optim = OptimSpec(name=name)
    saved = checkpoint(tmp_path, optim)
    monkeypatch.setattr(optimizer, "_laid_out_as", lambda _, value, __: value)
    with fake_gpu(resident):
        _, step = resumed(saved, optim)
        with pytest.raises(RuntimeError, match="same dtype, device, and layout"):
            step.optimizer.step()


@pytest.mark.parametrize("load_first", [False, True])
def test_an_optimizer_that_is_not_fused_reads_its_counts_on_the_host(tmp_path, monkeypatch, load_first):
    """Preparing moves all of the state to the device: after loading, the host reads the count of every parameter."""
    saved = checkpoint(tmp_path, OptimSpec())
    real = torch.optim.AdamW
    monkeypatch.setattr(torch.optim, "AdamW", lambda *_, fused, **kwargs: real(*_, foreach=True, **kwargs))
    with fake_gpu(resident) as gpu:
        state, step = resumed(saved, OptimSpec(), load_first=load_first)
        gpu.reset()
        step.optimizer.step()
        # Once for each of the two moments.
        assert gpu.syncs.total() == (2 * len(list(state.student.parameters())) if load_first else 0)


def test_a_stage_begins_with_a_scale_of_its_own(gpu):
    """One GradScaler serves all stages of a process, and a chain that is resumed begins with a new one."""
    config = replace(BASE, precision="fp16")
    accelerator = Rig(config).accelerator
    scaler, fresh = accelerator.scaler, accelerator.scaler.state_dict()
    scaler.load_state_dict(fresh | {"scale": 8.0, "_growth_tracker": 5})
    assert scaler.state_dict() != fresh
    assert assembly._state(config, SAMPLES.classes, None, accelerator).scaler is scaler
    assert scaler.state_dict() == fresh


# ---- controls: what is counted, and what fails


SYNCS = {
    "item": lambda x: x.sum().item(),
    "bool": lambda x: bool((x > 0).all()),
    "cpu": lambda x: x.cpu(),
    "nonzero": lambda x: x.nonzero(),
    "boolean index": lambda x: x[x > 0],
    "boolean assignment": lambda x: x.__setitem__(x > 0, torch.ones((), device=CUDA)),
    "bincount": lambda x: x.long().bincount(minlength=3),
    "masked_select": lambda x: x.masked_select(x > 0),
    "equal": lambda x: torch.equal(x, x),
}


@pytest.mark.parametrize("kind", SYNCS)
def test_each_wait_is_counted(gpu, kind):
    x = torch.zeros(4, device=CUDA)
    gpu.reset()
    SYNCS[kind](x)
    assert gpu.syncs.total() >= 1 and all("test_fake_gpu.py" in site for site in gpu.syncs)


def test_an_item_in_a_loss_is_found_where_it_is(gpu, monkeypatch):
    rig = Rig(replace(BASE, distill=DistillSpec(alpha=0.0)))
    step, real = rig.step(None), PlanLoader._finish

    def finish(own: PlanLoader, ticket: object, view: int) -> object:
        batch = real(own, ticket, view)
        batch.weight_B.sum().item()
        return batch

    monkeypatch.setattr(PlanLoader, "_finish", finish)
    rig.train(step, 0)
    assert list(gpu.syncs.values()) == [rig.loader.steps]


def test_copies_block_unless_they_are_from_page_locked_memory_and_asked_not_to(gpu):
    host = torch.from_numpy(np.zeros(4, np.float32))
    for copy in (
        lambda: host.to(CUDA),
        lambda: host.to(CUDA, non_blocking=True),
        lambda: host.pin_memory().to(CUDA),
        lambda: torch.empty(4, device=CUDA).copy_(host),
    ):
        gpu.reset()
        copy()
        assert gpu.blocking_copies.total() == gpu.copies == 1
    gpu.reset()
    host.pin_memory().to(CUDA, non_blocking=True)
    assert gpu.copies == 1 and not gpu.blocking_copies


def test_a_mismatch_of_devices_or_types_fails(gpu):
    weight: Tensor = torch.zeros(4, 4, device=CUDA)
    with pytest.raises(RuntimeError, match=r"(at least two|two different) devices"):
        torch.mm(weight, torch.zeros(4, 4))
    for multiply in (torch.mm, nn.functional.linear):
        with pytest.raises(RuntimeError, match="multiplies types"):
            multiply(weight, weight.half())
    with pytest.raises(RuntimeError, match="convolution multiplies types"):
        nn.functional.conv2d(weight[None, None], weight[None, None].half())
