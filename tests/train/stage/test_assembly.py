"""From a config to a loop: the teacher is put to the test, everything is wired up, and one step trains all of it."""

# B batch, K classes

import logging
from dataclasses import replace

import numpy as np
import pytest
import torch

from configs.errors import InputError, UsageError
from data_pipes.sources import source
from data_pipes.spec import DataSpec
from models import artefact
from models.artefact import Card, Score
from models.counting import measure
from models.spec import ModelSpec
from models.zoo import build
from train import progress
from train.config import DistillConfig, OptimSpec, TeacherConfig
from train.loss.config import DistillSpec
from train.processes import make_accelerator
from train.run_folder.run_dir import RunDir
from train.stage.assembly import assemble

DATA = DataSpec(source="digits", image_size=(8, 8), mean=(0.3058,), std=(0.3665,), threads=1)
TINY = ModelSpec(name="resnet_small", widths=(2, 4, 8), depth=8)
CLASSES = tuple("0123456789")
LAYERS = (("layer2", "layer3"), ("layer1", "layer1"))


def pixels(split: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Every image of a split as the teacher wants it: its mean is 0.5 and its deviation 0.25."""
    samples = source.load(DATA, split)
    image_NHWC = np.stack([samples.read(i, channels=1) for i in range(len(samples))])
    return (torch.from_numpy(image_NHWC).permute(0, 3, 1, 2) / 255 - 0.5) / 0.25, torch.from_numpy(samples.label_N)


@pytest.fixture(scope="module")
def taught():
    """A teacher that knows its digits after a few seconds: (network, what it gets right, how many there are)."""
    torch.manual_seed(0)
    net = build(replace(TINY, widths=(8, 8, 8)), num_classes=10, input_CHW=(1, 8, 8))
    image_NCHW, label_N = pixels("train")
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-2)
    for epoch in range(4):
        for rows in torch.randperm(len(label_N), generator=torch.Generator().manual_seed(epoch)).split(64):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(net(image_NCHW[rows]), label_N[rows]).backward()
            optimizer.step()
    image_NCHW, label_N = pixels("validation")
    with torch.no_grad():
        correct = int((net.eval()(image_NCHW).argmax(1) == label_N).sum())
    assert correct > 0.8 * len(label_N)
    return net, correct, len(label_N)


def save(path, net, *, claims: float | None, mean=0.5, classes=CLASSES) -> str:
    scores = {} if claims is None else {"validation": Score(correct=round(claims * 10_000), total=10_000)}
    card = Card(
        model=replace(TINY, widths=(8, 8, 8)), classes=classes, input_CHW=(1, 8, 8), mean=(mean,), std=(0.25,),
        eval_crop=1.0, scores=scores, cost=measure(net, (1, 8, 8)),
    )  # fmt: skip
    artefact.save(path, net, card)
    return str(path)


def config(teacher: str | None, **changes) -> DistillConfig:
    own = {"epochs": 1, "batch_size": 32, "student": TINY, "optim": OptimSpec(lr=1e-2)}
    return DistillConfig(run_dir="unused", data=DATA, teacher=teacher, **{**own, **changes})


def assembled(tmp_path, wanted):
    folder = RunDir.at(str(tmp_path / "run"))
    folder.path.mkdir(exist_ok=True)
    loop = assemble(wanted, make_accelerator(wanted.precision), folder, "distill")
    loop.close()
    loop.tracker.close()
    return loop


# ---- the teacher's record


def test_a_teacher_that_keeps_its_promise_passes_and_is_told(tmp_path, taught, caplog, monkeypatch):
    monkeypatch.setattr(progress, "_said", set())  # what other tests of this process had logged
    net, correct, count = taught
    path = save(tmp_path / "t.safetensors", net, claims=correct / count)
    with caplog.at_level(logging.INFO, "train.evaluate.teacher_check"):
        assembled(tmp_path, config(path))
    assert f"teacher: {100 * correct / count:.2f} % of {count} validation images are right" in caplog.text


@pytest.mark.parametrize("count", [64, 512])
def test_a_teacher_whose_file_claims_too_much_is_refused(tmp_path, count):
    torch.manual_seed(0)
    ignorant = build(replace(TINY, widths=(8, 8, 8)), num_classes=10, input_CHW=(1, 8, 8))
    path = save(tmp_path / "t.safetensors", ignorant, claims=0.98)
    seen = min(count, 145)
    with pytest.raises(InputError, match=rf" % of {seen} validation images right, but its file records 98\.0 %"):
        assembled(tmp_path, config(path, distill=DistillSpec(teacher_check=count)))


def test_a_teacher_with_a_false_normalisation_is_refused(tmp_path, taught):
    net, correct, count = taught
    path = save(tmp_path / "t.safetensors", net, claims=correct / count, mean=-2.0)
    with pytest.raises(InputError, match="wrong data, size, normalisation or weights"):
        assembled(tmp_path, config(path))


def test_the_check_can_be_left_out(tmp_path):
    torch.manual_seed(0)
    ignorant = build(replace(TINY, widths=(8, 8, 8)), num_classes=10, input_CHW=(1, 8, 8))
    liar = save(tmp_path / "liar.safetensors", ignorant, claims=0.98)
    assembled(tmp_path, config(liar, distill=DistillSpec(teacher_check=0)))


def test_a_teacher_without_a_record_is_measured_and_one_that_guesses_is_warned_of(
    tmp_path, taught, caplog, monkeypatch
):
    monkeypatch.setattr(progress, "_said", set())  # what other tests of this process had logged
    net, correct, count = taught
    torch.manual_seed(0)
    ignorant = build(replace(TINY, widths=(8, 8, 8)), num_classes=10, input_CHW=(1, 8, 8))
    for name, own in (("sound", net), ("silent", ignorant)):
        path = save(tmp_path / f"{name}.safetensors", own, claims=None)
        with caplog.at_level(logging.INFO, "train.evaluate.teacher_check"):
            assembled(tmp_path, config(path, distill=DistillSpec(teacher_check=0)))
            assert "validation images are right" not in caplog.text
            assembled(tmp_path, config(path))
        warned = "silent.safetensors is no better than chance on validation (95 % interval " in caplog.text
        assert "validation images are right" in caplog.text and warned is (name == "silent")
        assert f"{100 * correct / count:.2f} % of {count} validation" in caplog.text or name == "silent"
        caplog.clear()


def test_the_checked_images_are_spread_over_a_split_that_is_sorted_by_class(tmp_path, taught, monkeypatch):
    """A teacher that knows the first classes only must not pass on the first images."""
    net, *_ = taught
    partial = build(replace(TINY, widths=(8, 8, 8)), num_classes=10, input_CHW=(1, 8, 8))
    partial.load_state_dict(net.state_dict())
    with torch.no_grad():
        partial.fc.bias[3:] -= 1e3
    load = source.load

    def by_class(spec, split):
        samples = load(spec, split)
        return samples.select(np.argsort(samples.label_N, kind="stable"))

    monkeypatch.setattr(source, "load", by_class)
    with pytest.raises(InputError, match="of 30 validation images right"):
        path = save(tmp_path / "t.safetensors", partial, claims=0.95)
        assembled(tmp_path, config(path, distill=DistillSpec(teacher_check=30)))


def test_a_teacher_of_permuted_classes_is_refused_before_anything_else(tmp_path, taught):
    path = save(tmp_path / "t.safetensors", taught[0], claims=None, classes=tuple("1023456789"))
    with pytest.raises(InputError, match="the same classes in another order"):
        assembled(tmp_path, config(path))


def test_a_missing_teacher_is_named(tmp_path):
    with pytest.raises(InputError, match=r"there is no file .*t\.safetensors"):
        assembled(tmp_path, config(str(tmp_path / "t.safetensors")))


# ---- the teacher's own size


def test_a_teacher_is_put_to_the_test_at_its_own_size(tmp_path, taught, caplog):
    net, correct, count = taught
    path = save(tmp_path / "t.safetensors", net, claims=correct / count)
    large = replace(DATA, image_size=(24, 24))
    with pytest.raises(InputError, match="but its file records"):
        assembled(tmp_path, replace(config(path, distill=DistillSpec(teacher_size="student")), data=large))
    with caplog.at_level(logging.INFO, "train.evaluate.teacher_check"):
        assembled(tmp_path, replace(config(path), data=large))
    assert f"of {count} validation images are right" in caplog.text


def test_a_tied_teacher_trains_a_student_of_another_size_with_hints_and_attention(tmp_path):
    path = tied(tmp_path / "vit.safetensors")
    spec = DistillSpec(teacher_size="own", hint=1.0, attention=1.0, layers=(("layer2", "patch_embed.proj"),))
    folder = RunDir.at(str(tmp_path / "run"))
    folder.path.mkdir()
    loop = assemble(config(path, distill=spec), make_accelerator("float32"), folder, "distill")
    [adapter] = loop.state.student.adapters.convolutions
    assert tuple(adapter.weight.shape[:2]) == (96, 4)
    loop.schedule.step_update(0)
    epoch = loop.train_loader.epoch(0)
    measurements, signals = loop.step(next(epoch), 0, 0)
    epoch.close()
    loop.close()
    loop.tracker.close()
    assert signals.logits_BK.shape == (32, 10) and all(value.isfinite() for value in measurements.values())


def test_a_teacher_that_does_not_fit_is_refused_before_data_is_read(tmp_path):
    nowhere = DataSpec(source="folder", root=str(tmp_path / "nowhere"), image_size=(8, 8), mean=(0.3,), std=(0.4,))
    with pytest.raises(InputError, match=r"made for images of 32 x 48 pixels and cannot take 8 x 8.*teacher_size own"):
        small = DistillSpec(teacher_size="student")
        assembled(tmp_path, replace(config(tied(tmp_path / "vit.safetensors"), distill=small), data=nowhere))


def test_a_saved_student_that_is_tied_to_another_size_is_refused(tmp_path):
    path = tied(tmp_path / "vit.safetensors")
    wanted = config(None, student=ModelSpec(name=path), distill=DistillSpec(alpha=0.0))
    with pytest.raises(InputError, match=r"32 x 48 pixels and cannot take 8 x 8.*use data\.image_size \[32, 48\]"):
        assembled(tmp_path, wanted)


def tied(path) -> str:
    """A vision transformer, which takes one size alone."""
    spec, input_CHW = ModelSpec(name="timm/test_vit3"), (1, 32, 48)
    net = build(spec, num_classes=10, input_CHW=input_CHW).eval()
    own = {"mean": (0.5,), "std": (0.5,), "eval_crop": 1.0, "cost": measure(net, input_CHW)}
    artefact.save(path, net, Card(model=spec, classes=CLASSES, input_CHW=input_CHW, **own))
    return str(path)


# ---- one step of everything


def test_one_step_with_hints_and_attention_trains_student_and_adapters_and_not_the_teacher(tmp_path, taught):
    net, correct, count = taught
    path = save(tmp_path / "t.safetensors", net, claims=correct / count)
    spec = DistillSpec(alpha=0.5, hint=1.0, attention=10.0, layers=LAYERS)
    wanted = config(path, distill=spec, ema=0.9, label_smoothing=0.1)
    folder = RunDir.at(str(tmp_path / "run"))
    folder.path.mkdir()
    loop = assemble(wanted, make_accelerator("float32"), folder, "distill")
    student, teacher = loop.state.student, loop.step.teacher
    # layer2 has 4 channels and the teacher's layer3 has 8; layer1 has 2 and 8
    assert [tuple(c.weight.shape[:2]) for c in student.adapters.convolutions] == [(8, 4), (8, 2)]
    before = {name: p.detach().clone() for name, p in student.named_parameters()}
    theirs = {name: value.clone() for name, value in teacher.model.state_dict().items()}
    epoch = loop.train_loader.epoch(0)
    loop.schedule.step_update(0)
    measurements, signals = loop.step(next(epoch), 0, 0)
    epoch.close()
    loop.close()
    loop.tracker.close()
    counted = {"accuracy", "agreement", "gradient_norm"}
    assert set(measurements) == {"ce", "kd", "hint", "attention", "loss"} | counted
    assert [tuple(x.shape) for x in signals.features_L] == [(32, 4, 4, 4), (32, 2, 8, 8)]
    assert all(torch.isfinite(value) for value in measurements.values())
    still = [name for name, p in student.named_parameters() if torch.equal(p, before[name])]
    assert still == []
    assert all(torch.equal(value, theirs[name]) for name, value in teacher.model.state_dict().items())


def test_the_same_seed_gives_the_same_student_with_or_without_a_teacher(tmp_path, taught):
    path = save(tmp_path / "t.safetensors", taught[0], claims=None)
    spec = DistillSpec(alpha=0.5, hint=1.0, layers=LAYERS)
    nets = [
        assembled(tmp_path, wanted).state.student.net.state_dict()
        for wanted in (config(path, distill=spec), config(None, distill=DistillSpec(alpha=0.0)))
    ]
    assert all(torch.equal(value, nets[1][name]) for name, value in nets[0].items())
    other = assembled(tmp_path, config(None, distill=DistillSpec(alpha=0.0), seed=1)).state.student.net.state_dict()
    assert not torch.equal(other["conv1.weight"], nets[0]["conv1.weight"])


def test_without_a_teacher_none_is_loaded(tmp_path):
    loop = assembled(tmp_path, config(str(tmp_path / "missing.safetensors"), distill=DistillSpec(alpha=0.0)))
    assert loop.step.teacher is None and loop.state.student.adapters is None
    supervised = TeacherConfig(run_dir="unused", data=DATA, epochs=1, model=TINY)
    assert assembled(tmp_path, supervised).step.objective.spec.alpha == 0


def test_a_layer_that_a_network_has_not_is_named(tmp_path, taught):
    path = save(tmp_path / "t.safetensors", taught[0], claims=None)
    for layers in ((("layer9", "layer1"),), (("layer1", "layer9"),)):
        with pytest.raises(UsageError, match="no layer 'layer9'"):
            assembled(tmp_path, config(path, distill=DistillSpec(hint=1.0, layers=layers)))


def test_float64_reaches_weights_images_teacher_and_adapters(tmp_path, taught):
    path = save(tmp_path / "t.safetensors", taught[0], claims=None)
    wanted = config(path, precision="float64", distill=DistillSpec(hint=1.0, layers=LAYERS), ema=0.5)
    loop = assembled(tmp_path, wanted)
    modules = (loop.state.student, loop.step.teacher.model, loop.state.ema.module)
    assert {p.dtype for module in modules for p in module.parameters()} == {torch.float64}


def test_accumulation_and_the_config_come_from_what_was_asked(tmp_path):
    wanted = config(None, distill=DistillSpec(alpha=0.0), micro_batch_size=8, optim=OptimSpec(clip_norm=3.0), seed=5)
    loop = assembled(tmp_path, wanted)
    assert loop.accelerator.gradient_accumulation_steps == 4 == loop.layout.accumulation
    assert (loop.step.clip_norm, loop.step.seed, loop.config) == (3.0, 5, wanted)
    assert loop.train_loader.steps == -(-len(source.load(DATA, "train")) // 32)
