"""What is resumed is all there is: weights, average, optimizer and counters, bit for bit."""

# B batch, K classes

import copy

import pytest
import torch

from configs.errors import InputError
from models.networks.resnet import resnet_small
from train import state
from train.config import OptimSpec
from train.loss import losses
from train.loss.adapters import Adapters
from train.optim.moving_average import MovingAverage
from train.optim.optimizer import build_optimizer
from train.optim.schedule import build_schedule
from train.state import Progress, TrainState
from train.student import Student

BEFORE, AFTER = 4, 5
ADAMW = OptimSpec(name="adamw", lr=1e-2, weight_decay=0.1, warmup_epochs=1.0)
SGD = OptimSpec(name="sgd", lr=1e-2, weight_decay=0.1, momentum=0.9)
PLAIN = OptimSpec(name="sgd", lr=1e-2, momentum=0.0)


class Run:
    """A state and its schedule, as assembly makes them: channels last, everything from the seed."""

    def __init__(self, spec: OptimSpec, *, ema=0.0, adapters=False, seed=0, widths=(2, 4, 8)) -> None:
        torch.manual_seed(seed)
        net = resnet_small(num_classes=3, input_CHW=(1, 16, 16), widths=widths, depth=8)
        layers = ("layer2", "layer3") if adapters else ()
        channels = [(widths[1], 5), (widths[2], 6)]
        student = Student(net, layers, Adapters(channels) if adapters else None)
        student.to(memory_format=torch.channels_last)
        optimizer = build_optimizer(spec, student)
        self.schedule = build_schedule(spec, optimizer, epochs=3, steps_per_epoch=3)
        average = MovingAverage(net, ema) if ema else None
        self.state = TrainState(student=student, optimizer=optimizer, ema=average, scaler=None)

    def train(self, steps: int) -> None:
        state = self.state
        for _ in range(steps):
            step = state.progress.total_steps
            self.schedule.step_update(step)
            random = torch.Generator().manual_seed(step)
            image_BCHW = torch.randn(6, 1, 16, 16, generator=random).to(memory_format=torch.channels_last)
            target_BK = torch.eye(3)[torch.randint(0, 3, (6,), generator=random)]
            logits_BK, _, adapted_L = state.student.train()(image_BCHW)
            loss = losses.cross_entropy(logits_BK, target_BK).mean()
            for adapted in adapted_L:
                loss = loss + losses.hint(adapted, torch.randn(adapted.shape, generator=random)).mean()
            loss.backward()
            state.optimizer.step()
            state.optimizer.zero_grad()
            state.progress.total_steps += 1
            if state.ema is not None:
                state.ema.update(state.student.net, step=state.progress.total_steps)


def same(one: TrainState, other: TrainState) -> bool:
    """Bit-equal in everything that training depends on."""
    pairs = [(one.student.state_dict(), other.student.state_dict()), (one.best, other.best)]
    pairs += [(one.evaluated.state_dict(), other.evaluated.state_dict())]
    first, second = one.optimizer.state_dict()["state"], other.optimizer.state_dict()["state"]
    if first.keys() != second.keys() or one.progress != other.progress:
        return False
    pairs += [(first[i], second[i]) for i in first]
    if any(a.keys() != b.keys() for a, b in pairs):
        return False
    return all(a[key] is b[key] or torch.equal(a[key], b[key]) for a, b in pairs for key in a)


KINDS = {
    "adamw": {"spec": ADAMW},
    "sgd with momentum": {"spec": SGD},
    "sgd without": {"spec": PLAIN},
    "ema": {"spec": ADAMW, "ema": 0.9},
    "adapters": {"spec": ADAMW, "adapters": True},
    "all": {"spec": SGD, "ema": 0.99, "adapters": True},
}


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_resumed_training_is_the_uninterrupted_one_bit_for_bit(tmp_path, kind):
    whole, first = Run(**kind), Run(**kind)
    whole.train(BEFORE)
    whole.state.keep_best(17)
    whole.train(AFTER)
    first.train(BEFORE)
    first.state.keep_best(17)
    first.state.save(tmp_path)
    again = Run(**kind, seed=99)
    assert again.state.resume(tmp_path)
    assert same(again.state, first.state)
    again.train(AFTER)
    assert same(again.state, whole.state)
    assert again.state.optimizer.param_groups[0]["lr"] == whole.state.optimizer.param_groups[0]["lr"]


@pytest.mark.parametrize("kind", ["adamw", "sgd with momentum"])
def test_resumed_moments_lie_in_memory_as_their_parameters_do(tmp_path, kind):
    """Fused kernels refuse other layouts on a GPU, so that every resumed run would fail there."""
    first, again = Run(**KINDS[kind]), Run(**KINDS[kind], seed=99)
    first.train(1)
    first.state.save(tmp_path)
    assert again.state.resume(tmp_path)
    kept = again.state.optimizer.state.items()
    pairs = [(parameter, value) for parameter, values in kept for value in values.values() if value.ndim]
    assert len(pairs) == len(kept) * (2 if kind == "adamw" else 1)
    assert all(value.stride() == parameter.stride() for parameter, value in pairs)
    assert any(not parameter.is_contiguous() for parameter, _ in pairs)


def test_a_full_gpu_is_not_blamed_on_the_checkpoint(tmp_path, monkeypatch):
    first = Run(ADAMW)
    first.train(1)
    first.state.save(tmp_path)

    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(state, "load_named_state", full)
    with pytest.raises(torch.OutOfMemoryError):
        first.state.resume(tmp_path)


def forget_momentum(state: TrainState) -> None:
    for values in state.optimizer.state.values():
        values["momentum_buffer"].zero_()


def forget_average(state: TrainState) -> None:
    state.ema.module.load_state_dict(state.student.net.state_dict())


def forget_adapters(state: TrainState) -> None:
    state.student.adapters.load_state_dict(Adapters([(4, 5), (8, 6)]).state_dict())


def forget_best(state: TrainState) -> None:
    state.best = {}


def forget_the_step(state: TrainState) -> None:
    state.progress.total_steps = 0


@pytest.mark.parametrize("forget", [forget_momentum, forget_average, forget_adapters, forget_best, forget_the_step])
def test_forgetting_any_part_is_noticed(tmp_path, forget):
    """The control of the test above."""
    whole, first = Run(**KINDS["all"]), Run(**KINDS["all"])
    for run in (whole, first):
        run.train(BEFORE)
        run.state.keep_best(17)
    first.state.save(tmp_path)
    whole.train(AFTER)
    again = Run(**KINDS["all"], seed=99)
    assert again.state.resume(tmp_path)
    forget(again.state)
    again.train(AFTER)
    assert not same(again.state, whole.state)


def test_counters_come_back(tmp_path):
    run = Run(SGD)
    progress = Progress(
        epoch=3, step=2, total_steps=11, best_epoch=1, best_correct=140, train_seconds=1.5, seconds=2.25, images=99,
        pixels="resident",
    )  # fmt: skip
    run.state.progress = progress
    run.state.save(tmp_path)
    again = Run(SGD)
    assert again.state.resume(tmp_path) and again.state.progress == progress


def test_nothing_to_resume_changes_nothing(tmp_path):
    run = Run(ADAMW, ema=0.9)
    before = copy.deepcopy(run.state.student.state_dict())
    assert run.state.resume(tmp_path / "checkpoints") is False
    assert all(torch.equal(value, before[key]) for key, value in run.state.student.state_dict().items())
    assert run.state.progress == Progress()


@pytest.mark.parametrize(
    "other",
    [{"widths": (2, 4, 9)}, {"adapters": True}, {"ema": 0.9}],
    ids=["widths", "adapters", "ema"],
)
def test_a_checkpoint_of_another_network_is_an_input_error(tmp_path, other):
    run = Run(ADAMW)
    run.train(1)
    run.state.save(tmp_path)
    with pytest.raises(InputError, match=rf"the checkpoint in {tmp_path} does not fit the network"):
        Run(ADAMW, **other).state.resume(tmp_path)


def test_the_best_weights_are_copies(tmp_path):
    run = Run(SGD)
    run.train(1)
    assert run.state.keep_best(5)
    kept = {key: value.clone() for key, value in run.state.best.items()}
    live = run.state.evaluated.state_dict()
    assert kept.keys() == live.keys() and all(torch.equal(kept[key], live[key]) for key in kept)
    run.train(2)
    assert all(torch.equal(run.state.best[key], kept[key]) for key in kept)
    assert not torch.equal(run.state.best["conv1.weight"], run.state.student.net.conv1.weight)


def test_only_more_right_answers_are_better():
    run = Run(SGD)
    run.state.progress.epoch = 0
    assert run.state.keep_best(0)  # the first epoch always counts
    run.state.progress.epoch = 1
    assert run.state.keep_best(5)
    run.state.progress.epoch = 2
    run.train(1)
    first = run.state.best["fc.weight"].clone()
    assert not run.state.keep_best(5) and not run.state.keep_best(4)
    assert (run.state.progress.best_epoch, run.state.progress.best_correct) == (1, 5)
    assert torch.equal(run.state.best["fc.weight"], first)


def test_the_average_is_what_is_evaluated_and_kept():
    run = Run(SGD, ema=0.9)
    run.train(3)
    assert run.state.evaluated is run.state.ema.module
    run.state.keep_best(1)
    assert torch.equal(run.state.best["fc.weight"], run.state.ema.module.fc.weight)
    assert not torch.equal(run.state.best["fc.weight"], run.state.student.net.fc.weight)
    assert Run(SGD).state.evaluated is not None


def test_the_average_of_a_tapped_network_does_not_feed_its_taps():
    run = Run(SGD, ema=0.9, adapters=True)
    image_BCHW = torch.randn(2, 1, 16, 16)
    expected = run.state.student.eval()(image_BCHW)[1]
    run.state.ema.module(torch.zeros(2, 1, 16, 16))
    logits_BK = run.state.student.net(image_BCHW)
    run.state.ema.module(torch.zeros(2, 1, 16, 16))
    taken = run.state.student._taps.take()
    assert logits_BK.shape == (2, 3)
    assert all(torch.equal(a, b) for a, b in zip(taken.values(), expected, strict=True))
