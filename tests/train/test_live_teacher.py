"""The teacher sees its own normalisation of the student's pixels, and can do nothing but answer."""

# B batch, H W height and width, C channels, K classes

import logging
from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch
from torch import nn

import reference
from configs.errors import InputError, UsageError
from cpu_loader import cpu_loader
from data_pipes.batch import Batch
from data_pipes.loader import Layout
from data_pipes.spec import AugmentSpec, DataSpec
from models import artefact
from models.artefact import Card
from models.counting import measure
from models.spec import ModelSpec
from models.zoo import build
from train import guards
from train.live_teacher import LiveTeacher, Renormalise, require_fit
from train.loss.config import DistillSpec
from train.loss.objective import Objective
from train.student import Student

SPEC = DataSpec(source="digits", image_size=(16, 16), mean=(0.31, 0.5, 0.4), std=(0.37, 0.2, 0.25), threads=1)
CLASSES = ("class 0", "class 1", "class 2")
MODEL = ModelSpec(name="resnet_small", widths=(2, 4, 8), depth=8)


class Listener(nn.Module):
    """A teacher that keeps what it is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)
        self.fc = nn.Linear(3, 3)

    def forward(self, image_BCHW: torch.Tensor) -> torch.Tensor:
        self.heard = image_BCHW
        return self.fc(self.norm(image_BCHW).mean((2, 3)))


def card(net=None, **changes) -> Card:
    built = net or build(MODEL, num_classes=3, input_CHW=(3, 16, 16))
    fields = {"model": MODEL, "classes": CLASSES, "input_CHW": (3, 16, 16), "eval_crop": 1.0}
    own = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225), "cost": measure(built, (3, 16, 16))}
    return Card(**{**fields, **own, **changes})


def batches(spec: DataSpec, seed=None, dtype=torch.float32) -> list[Batch]:
    samples = reference.in_memory([reference.picture(16, 16, 3, seed=i) for i in range(6)])
    loader = cpu_loader(samples, spec, Layout(batch_size=6, micro_batch_size=6), seed=seed, dtype=dtype)
    found = list(loader.epoch(0))
    loader.close()
    return found


@pytest.fixture
def file(tmp_path):
    net = build(MODEL, num_classes=3, input_CHW=(3, 16, 16))
    with torch.no_grad():
        net(torch.randn(8, 3, 16, 16))  # so that its BatchNorm statistics are its own
    path = tmp_path / "teacher.safetensors"
    artefact.save(path, net, card(net))
    return path


# ---- what it sees


def test_it_sees_its_own_normalisation_of_the_same_pixels():
    net, own = Listener(), card()
    LiveTeacher(net, own, SPEC)(batches(SPEC)[0], nullcontext())
    theirs = batches(replace(SPEC, mean=own.mean, std=own.std))[0]
    assert (net.heard - theirs.image_BCHW).abs().max() < 1e-6
    assert (net.heard - batches(SPEC)[0].image_BCHW).abs().max() > 0.1


def test_the_same_normalisation_changes_no_bit():
    net = Listener()
    one = batches(SPEC)[0]
    LiveTeacher(net, card(mean=SPEC.mean, std=SPEC.std), SPEC)(one, nullcontext())
    assert torch.equal(net.heard, one.image_BCHW)


def test_augmented_mixed_images_reach_it_as_they_are():
    spec = replace(SPEC, augment=AugmentSpec(rotation=20, erase=1.0, mixup=1.0, cutmix=1.0, horizontal_flip=0.5))
    net, own = Listener(), card()
    one = batches(spec, seed=3)[0]
    assert ((one.target_BK > 0).sum(1) == 2).any(), "nothing was mixed"
    LiveTeacher(net, own, spec)(one, nullcontext())
    mean, std, own_mean, own_std = (
        torch.tensor(v).double()[:, None, None] for v in (spec.mean, spec.std, own.mean, own.std)
    )
    pixels_BCHW = one.image_BCHW.double() * std + mean
    assert (net.heard - (pixels_BCHW - own_mean) / own_std).abs().max() < 1e-6


def test_in_float64_it_stays_within_1e_6_too():
    net, own = Listener(), card()
    teacher = LiveTeacher(net, own, SPEC).to(torch.device("cpu"), torch.float64)
    signals = teacher(batches(SPEC, dtype=torch.float64)[0], nullcontext())
    theirs = batches(replace(SPEC, mean=own.mean, std=own.std), dtype=torch.float64)[0]
    assert signals.logits_BK.dtype == torch.float64 == net.heard.dtype
    assert (net.heard - theirs.image_BCHW).abs().max() < 1e-6


def test_its_answers_are_those_of_the_saved_network(file):
    teacher = LiveTeacher.load(str(file), SPEC, CLASSES, layers=("layer3", "layer1"))
    signals = teacher(batches(SPEC)[0], nullcontext())
    net, own = artefact.load(file)
    expected = net(batches(replace(SPEC, mean=own.mean, std=own.std))[0].image_BCHW)
    torch.testing.assert_close(signals.logits_BK, expected, atol=1e-5, rtol=0)
    assert [tuple(x.shape) for x in signals.features_L] == [(6, 8, 4, 4), (6, 2, 16, 16)]


# ---- frozen


def test_it_comes_frozen_and_answers_without_gradients():
    net = Listener().train()
    teacher = LiveTeacher(net, card(), SPEC, layers=("norm",))
    assert not any(m.training for m in teacher.model.modules())
    assert not any(p.requires_grad for p in teacher.model.parameters())
    signals = teacher(batches(SPEC)[0], nullcontext())
    assert not signals.logits_BK.requires_grad and not signals.features_L[0].requires_grad


def test_training_the_student_changes_nothing_of_it(file):
    torch.manual_seed(0)
    teacher = LiveTeacher.load(str(file), SPEC, CLASSES)
    student = Student(build(MODEL, num_classes=3, input_CHW=(3, 16, 16)), (), None).train()
    before = {name: value.clone() for name, value in teacher.model.state_dict().items()}
    optimizer, one = torch.optim.SGD(student.parameters(), lr=0.1), batches(SPEC)[0]
    for _ in range(2):
        logits_BK, features_L, _ = student.train()(one.image_BCHW)
        taught = teacher(one, nullcontext())
        student_signals = type(taught)(logits_BK=logits_BK, features_L=features_L)
        loss, _ = Objective(DistillSpec(alpha=1.0))(student_signals, [], one, taught)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert all(torch.equal(value, before[name]) for name, value in teacher.model.state_dict().items())
    assert not any(m.training for m in teacher.model.modules())
    assert all(p.grad is None for p in teacher.model.parameters())


def test_train_called_on_a_parent_does_not_spoil_targets_in_silence():
    net = Listener()
    teacher = LiveTeacher(net, card(), SPEC)
    nn.ModuleList([Listener(), teacher.model]).train()
    with pytest.raises(InputError, match="in training mode"):
        teacher(batches(SPEC)[0], nullcontext())
    assert not net.norm.num_batches_tracked
    teacher.model.eval()
    teacher(batches(SPEC)[0], nullcontext())


def test_whether_it_is_frozen_is_looked_at_once_an_epoch(monkeypatch):
    """It takes 0.3 ms for a ResNet-50, as long as a small student's step on a GPU."""
    teacher, looked, real = LiveTeacher(Listener(), card(), SPEC), [], guards.require_frozen
    monkeypatch.setattr(guards, "require_frozen", lambda net: looked.append(1) or real(net))
    for epoch in range(2):
        teacher.begin(epoch)
        for batch in batches(SPEC):
            teacher(batch, nullcontext())
            teacher(batch, nullcontext())
    assert len(looked) == 2
    teacher.model.train()
    with pytest.raises(InputError, match="in training mode"):
        teacher.begin(2)


def test_gradients_switched_on_by_a_parent_are_refused():
    teacher = LiveTeacher(Listener(), card(), SPEC)
    nn.ModuleList([teacher.model]).requires_grad_()
    with pytest.raises(InputError, match="require gradients"):
        teacher(batches(SPEC)[0], nullcontext())


def test_logits_of_half_precision_are_widened_and_features_left_to_the_losses():
    teacher = LiveTeacher(Listener(), card(), SPEC, layers=("fc",))
    signals = teacher(batches(SPEC)[0], torch.autocast("cpu", dtype=torch.bfloat16))
    assert signals.logits_BK.dtype == torch.float32 and signals.features_L[0].dtype == torch.bfloat16


# ---- other channels


def test_a_teacher_of_three_channels_sees_a_grey_image_three_times():
    grey = replace(SPEC, mean=(0.3,), std=(0.4,))
    net, own = Listener(), card()
    LiveTeacher(net, own, grey)(batches(grey)[0], nullcontext())
    theirs = batches(replace(SPEC, mean=own.mean, std=own.std))[0]  # of the same pictures, in colour
    assert net.heard.shape == theirs.image_BCHW.shape
    pixels_BCHW = net.heard * torch.tensor(own.std)[:, None, None] + torch.tensor(own.mean)[:, None, None]
    grey_B1HW = batches(grey)[0].image_BCHW * 0.4 + 0.3
    assert (pixels_BCHW - grey_B1HW).abs().max() < 1e-6


def test_a_teacher_of_one_channel_sees_the_luminance():
    own = card(input_CHW=(1, 16, 16), mean=(0.3,), std=(0.25,))
    seen_B1HW = Renormalise(SPEC, own)(batches(SPEC)[0].image_BCHW)
    colour_BCHW = batches(SPEC)[0].image_BCHW * torch.tensor(SPEC.std)[:, None, None]
    colour_BCHW += torch.tensor(SPEC.mean)[:, None, None]
    share_C11 = torch.tensor([0.299, 0.587, 0.114])[:, None, None]
    expected_B1HW = ((share_C11 * colour_BCHW).sum(1, keepdim=True) - 0.3) / 0.25
    assert seen_B1HW.shape == (6, 1, 16, 16) and (seen_B1HW - expected_B1HW).abs().max() < 1e-5
    decoded_B1HW = batches(replace(SPEC, mean=(0.3,), std=(0.25,)))[0].image_BCHW  # grey as OpenCV makes it of them
    assert (seen_B1HW - decoded_B1HW).abs().max() < 0.03


def test_equal_channels_are_converted_as_ever():
    """Bit for bit: two factors, one multiplication and one addition."""
    own, image_BCHW = card(), batches(SPEC)[0].image_BCHW
    converted = Renormalise(SPEC, own)
    assert torch.equal(converted(image_BCHW), image_BCHW * converted.scale_C11 + converted.shift_C11)
    assert converted.scale_C11.shape == (3, 1, 1)


# ---- refusals


def test_another_number_of_channels_than_images_have_is_refused():
    four = card(input_CHW=(4, 16, 16), mean=(0.5,) * 4, std=(0.5,) * 4)
    with pytest.raises(InputError, match="the teacher takes 4 channels, and images have 3"):
        Renormalise(SPEC, four)


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (("class 0", "class 1"), "knows 3 classes and the data set has 2"),
        (("class 1", "class 0", "class 2"), "the same classes in another order"),
        (("class 0", "class 1", "cat"), "other classes: its class 2 is 'class 2', the data set's is 'cat'"),
    ],
)
def test_other_classes_are_refused_with_the_files_name(file, classes, message):
    with pytest.raises(InputError, match=rf"teacher {file}.*{message}"):
        LiveTeacher.load(str(file), SPEC, classes)


def test_a_layer_that_it_has_not_is_refused(file):
    with pytest.raises(UsageError, match="no layer 'layer9'"):
        LiveTeacher.load(str(file), SPEC, CLASSES, layers=("layer9",))


def test_another_size_is_said_aloud_and_the_same_size_is_not(file, caplog):
    with caplog.at_level(logging.WARNING, "train.live_teacher"):
        LiveTeacher.load(str(file), SPEC, CLASSES)
        assert not caplog.records
        LiveTeacher.load(str(file), replace(SPEC, image_size=(24, 32)), CLASSES, size="student")
    assert "trained on 16 x 16 pixels and will see 24 x 32" in caplog.text


def test_a_damaged_file_is_refused(file):
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(InputError, match="damaged"):
        LiveTeacher.load(str(file), SPEC, CLASSES)


# ---- its own size


def ramp(height: int, width: int) -> Batch:
    """Six images that rise evenly from left to right, one level per pixel."""
    one = batches(SPEC)[0]
    row_W = torch.arange(width, dtype=torch.float32).expand(6, 3, height, width)
    return replace(one, image_BCHW=row_W.contiguous())


def heard(size: tuple[int, int], shown: Batch) -> torch.Tensor:
    net, same = Listener(), card(input_CHW=(3, *size), mean=SPEC.mean, std=SPEC.std)
    data = replace(SPEC, image_size=tuple(shown.image_BCHW.shape[2:]))
    LiveTeacher(net, same, data, size="own")(shown, nullcontext())
    return net.heard


def test_what_it_sees_enlarged_rises_as_evenly():
    seen_BCHW = heard((32, 64), ramp(16, 16))
    assert seen_BCHW.shape == (6, 3, 32, 64)
    expected = (torch.arange(64) + 0.5) / 4 - 0.5
    torch.testing.assert_close(seen_BCHW[:, :, :, 2:-2], expected[2:-2].expand(6, 3, 32, 60))


def test_what_it_sees_shrunk_is_antialiased():
    """Half the size takes 1, 3, 3, 1 eighths of four pixels; without antialiasing, stripes would stay or vanish."""
    stripes = ramp(16, 16)
    stripes.image_BCHW.copy_((torch.arange(16) % 4 < 2).float().expand(6, 3, 16, 16))
    seen_BCHW = heard((16, 8), stripes)
    inner = seen_BCHW[0, 0, 0, 1:-1]
    by_hand = [sum(w * float((2 * i - 1 + k) % 4 < 2) for k, w in enumerate((1, 3, 3, 1))) / 8 for i in range(1, 7)]
    torch.testing.assert_close(inner, torch.tensor(by_hand))


@pytest.mark.parametrize("size", ["student", "own"])
def test_at_the_same_size_no_bit_changes(size):
    net, one = Listener(), batches(SPEC)[0]
    LiveTeacher(net, card(mean=SPEC.mean, std=SPEC.std), SPEC, size=size)(one, nullcontext())
    assert torch.equal(net.heard, one.image_BCHW)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_its_own_size_holds_in_every_precision(file, dtype):
    small = replace(SPEC, image_size=(8, 12))
    teacher = LiveTeacher.load(str(file), small, CLASSES, layers=("layer1",), size="own")
    mixed = dtype == torch.bfloat16
    teacher.to(torch.device("cpu"), torch.float32 if mixed else dtype)
    [one] = batches(small, dtype=torch.float32 if mixed else dtype)
    signals = teacher(one, torch.autocast("cpu", dtype=dtype) if mixed else nullcontext())
    assert teacher.input_CHW == (3, 16, 16) and signals.features_L[0].shape == (6, 2, 16, 16)
    assert signals.logits_BK.dtype == (torch.float32 if mixed else dtype) and signals.logits_BK.isfinite().all()


def test_its_own_size_is_no_reason_for_a_warning(file, caplog):
    with caplog.at_level(logging.INFO, "train.live_teacher"):
        LiveTeacher.load(str(file), replace(SPEC, image_size=(24, 32)), CLASSES, size="own")
    [record] = caplog.records
    assert record.levelno == logging.INFO and "its own 16 x 16 pixels, resized from 24 x 32" in caplog.text


@pytest.fixture(scope="module")
def tied(tmp_path_factory):
    """A vision transformer, which takes one size alone."""
    spec = ModelSpec(name="timm/test_vit3")
    net = build(spec, num_classes=3, input_CHW=(3, 32, 48)).eval()
    path = tmp_path_factory.mktemp("tied") / "vit.safetensors"
    artefact.save(path, net, replace(card(), model=spec, input_CHW=(3, 32, 48), cost=measure(net, (3, 32, 48))))
    return str(path)


def test_a_teacher_that_is_tied_to_its_size_is_refused_with_both_sizes_and_the_way_out(tied):
    message = r"vit\.safetensors is made for images of 32 x 48 pixels and cannot take 16 x 16 \(.*\); (\S+) own resizes"
    with pytest.raises(InputError, match=message) as caught:
        require_fit(tied, SPEC, "student")
    assert "distill.teacher_size own" in str(caught.value)
    with pytest.raises(InputError, match="; teacher_size own resizes"):
        require_fit(tied, SPEC, "student", key="teacher_size")


def test_a_teacher_that_can_take_the_size_is_not(tied, file):
    require_fit(tied, SPEC, "own")
    require_fit(tied, replace(SPEC, image_size=(32, 48)), "student")
    require_fit(str(file), replace(SPEC, image_size=(24, 32)), "student")
    require_fit(tied, replace(SPEC, mean=(0.3,), std=(0.3,)), "own")


def test_at_its_own_size_a_tied_teacher_answers(tied):
    teacher = LiveTeacher.load(tied, SPEC, CLASSES, layers=("patch_embed.proj",), size="own")
    signals = teacher(batches(SPEC)[0], nullcontext())
    assert signals.logits_BK.shape == (6, 3) and signals.features_L[0].shape[2:] == (2, 3)
