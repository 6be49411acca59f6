"""The recorded accuracy is plain torch's on the same images."""

import logging

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import course_files
import tiny_digits
from configs.errors import InputError
from configs.figures import percent
from data_pipes.sources import source
from data_pipes.spec import DataSpec
from models import artefact
from models.adopt import __main__ as command
from models.adopt import conversion
from models.adopt.conversion import Wanted
from models.artefact import Card
from models.counting import measure
from train.adopt.measured import scored
from train.processes import make_accelerator

DIGITS = DataSpec(source="digits", image_size=(8, 8), mean=(0.5,) * 3, std=(0.5,) * 3, threads=1)


def pixels(split, spec=DIGITS):
    """Images and labels of a split as plain torch would have them: repeated grey, mean and std 0.5."""
    samples = source.load(spec, split)
    image_NHWC = np.stack([samples.read(i, channels=3) for i in range(len(samples))])
    image_NCHW = torch.from_numpy(image_NHWC).permute(0, 3, 1, 2).float() / 255
    return (image_NCHW - 0.5) / 0.5, torch.from_numpy(samples.label_N)


def fitted(net, image_NCHW, label_N, steps, batch=64):
    """A short training in plain torch."""
    torch.manual_seed(0)
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3)
    net.train()
    for _ in range(steps):
        row_B = torch.randint(len(image_NCHW), (batch,))
        loss = F.cross_entropy(net(image_NCHW[row_B]), label_N[row_B])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return net.eval()


@torch.no_grad()
def right(net, image_NCHW, label_N):
    return sum(
        int((net(x).argmax(1) == y).sum()) for x, y in zip(image_NCHW.split(500), label_N.split(500), strict=True)
    )


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    """A public-layout CIFAR ResNet of eight layers, taught digits by plain torch, in a .th file."""
    torch.manual_seed(0)
    net = fitted(course_files.PlainCifarResNet(1), *pixels("train"), steps=40)
    path = tmp_path_factory.mktemp("t") / "resnet8.th"
    torch.save({"state_dict": course_files.prefixed("module.", net.state_dict())}, path)
    return path, right(net, *pixels("validation")), len(pixels("validation")[1])


def test_the_command_records_the_accuracy_of_plain_torch(taught, tmp_path, capsys):
    path, correct, total = taught
    output = tmp_path / "t.safetensors"
    data = ["--data.source", "digits", "--data.threads", "1"]
    own = ["--input", "3", "8", "8", "--mean", "0.5", "0.5", "0.5", "--std", "0.5", "0.5", "0.5"]
    command.main([str(path), "--output", str(output), *own, *data])
    score = artefact.read_card(output).scores["validation"]
    assert score.total == total and abs(score.correct - correct) <= 0.001 * total
    assert correct / total > 0.5  # the control: it has learnt something that could be lost
    assert f"validation accuracy {percent(correct / total)} of {total}" in capsys.readouterr().out


def test_classes_in_another_order_become_those_of_the_data(taught, tmp_path):
    path, correct, _ = taught
    named = tiny_digits.CLASSES[3:] + tiny_digits.CLASSES[:3]
    content = torch.load(path)["state_dict"]
    for name in ("module.linear.weight", "module.linear.bias"):
        content[name] = content[name].roll(-3, 0)
    torch.save(content, tmp_path / "other.th")
    words = [str(tmp_path / "other.th"), "--output", str(tmp_path / "t.safetensors"), "--input", "3", "8", "8"]
    words += ["--mean", "0.5", "0.5", "0.5", "--std", "0.5", "0.5", "0.5", "--classes", ",".join(named)]
    command.main([*words, "--data.source", "digits", "--data.threads", "1"])
    card = artefact.read_card(tmp_path / "t.safetensors")
    assert card.classes == tiny_digits.CLASSES and abs(card.scores["validation"].correct - correct) <= 1
    command.main(words)  # the control: without data, the order is the one that was named
    assert artefact.read_card(tmp_path / "t.safetensors").classes == named
    words[-1] = ",".join("abcdefghij")
    with pytest.raises(
        InputError, match=r"--classes names a, b, c, d, \.\.\., and the data set has 0, 1, 2, 3, \.\.\.:"
    ):
        command.main([*words, "--data.source", "digits"])


def test_another_normalisation_would_show(taught):
    """The control: the accuracy that is measured depends on the card."""
    net, card = conversion.adopt(taught[0], Wanted(input_CHW=(3, 8, 8), mean=(0.9,), std=(0.1,)))
    measured = scored(net, card, DIGITS, make_accelerator("float32"), "t.th").scores["validation"]
    assert measured.correct < taught[1]


def test_chance_is_said_aloud(caplog):
    net, spec = tiny_digits.network(0)
    own = {"mean": (0.5,), "std": (0.5,), "eval_crop": 1.0, "cost": measure(net, (1, 8, 8))}
    nn.init.zeros_(net.fc.weight)
    card = Card(model=spec, classes=tiny_digits.CLASSES, input_CHW=(1, 8, 8), **own)
    with caplog.at_level(logging.WARNING, "train.adopt.measured"):
        scored(net, card, DIGITS, make_accelerator("float32"), "t.th")
    assert "no better than chance" in caplog.text


@pytest.mark.data("fashion_mnist")
def test_a_resnet50_with_its_own_stem_scores_on_fashion_mnist_as_in_plain_torch(data_root, tmp_path):
    """As in the course: three channels of repeated grey, mean and std 0.5, 28 x 28, `resnet50.` before each name."""
    spec = DataSpec(
        source="idx",
        root=str(data_root),
        image_size=(28, 28),
        mean=(0.5,) * 3,
        std=(0.5,) * 3,
        validation_fraction=0.005,
    )
    torch.manual_seed(0)
    import torchvision

    net = torchvision.models.resnet50(num_classes=10)
    image_NCHW, label_N = pixels("validation", spec)
    net = fitted(net, image_NCHW, label_N, steps=6, batch=32)
    path = tmp_path / "resnet50.pth"
    torch.save({"epoch": 1, "model_state_dict": course_files.prefixed("resnet50.", net.state_dict())}, path)
    adopted, card = conversion.adopt(path, Wanted(input_CHW=(3, 28, 28), mean=(0.5,), std=(0.5,)))
    assert card.model.stem == "keep"
    score = scored(adopted, card, spec, make_accelerator("float32"), "t.th").scores["validation"]
    assert abs(score.correct - right(net, image_NCHW, label_N)) <= 0.001 * score.total
    assert score.total == len(label_N) == 300
