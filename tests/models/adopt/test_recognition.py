"""Architectures are recognised by names and shapes."""

from pathlib import Path

import pytest
import timm
import torch
import torchvision

from configs.errors import InputError, UsageError
from models.adopt.recognition import recognise
from models.adopt.weight_file import WeightFile
from models.networks import architectures
from models.spec import ModelSpec

SIZE = (3, 64, 64)


def file(tensors):
    return WeightFile(path=Path("n.pth"), tensors=tensors)


def shapes(build):
    with torch.device("meta"):
        return build().state_dict()


@pytest.mark.parametrize(
    "name", ["resnet34", "resnext50_32x4d", "mobilenet_v2", "vgg11_bn", "densenet121", "convnext_tiny", "googlenet"]
)
def test_torchvision_is_recognised(name):
    more = {"init_weights": False} if name == "googlenet" else {}
    tensors = shapes(lambda: torchvision.models.get_model(name, weights=None, num_classes=6, **more))
    match = recognise(file(tensors), SIZE)
    assert (match.spec.name, match.num_classes, match.channels) == (f"torchvision/{name}", 6, 3)
    assert match.spec.stem == "keep"


@pytest.mark.parametrize("name", ["resnet18d", "mobilenetv3_small_050", "convnext_atto", "seresnet18", "regnetx_002"])
def test_timm_is_recognised(name):
    match = recognise(file(shapes(lambda: timm.create_model(name, num_classes=6))), SIZE)
    assert match.spec == ModelSpec(name=f"timm/{name}", stem="keep")


def test_equal_names_and_shapes_are_torchvision_s():
    match = recognise(file(shapes(lambda: timm.create_model("resnet18", num_classes=6))), SIZE)
    assert match.spec.name == "torchvision/resnet18"


@pytest.mark.parametrize("name", sorted(architectures.OWN))
def test_our_own_are_recognised(name):
    net = shapes(lambda: architectures.build(ModelSpec(name=name), num_classes=6, input_CHW=SIZE))
    assert recognise(file(net), SIZE).spec.name == name


def test_the_small_stem_is_recognised():
    spec = ModelSpec(name="torchvision/resnet18", stem="small")
    tensors = shapes(lambda: architectures.build(spec, num_classes=6, input_CHW=(1, 32, 32)))
    match = recognise(file(tensors), (3, 32, 32))
    assert match.spec == spec and match.channels == 1


def test_the_part_below_a_prefix_is_taken_and_the_rest_named():
    inner = shapes(lambda: torchvision.models.resnet18(num_classes=6))
    tensors = {f"student.net.{name}": tensor for name, tensor in inner.items()} | {"loss.weight": torch.ones(3, 3)}
    match = recognise(file(tensors), SIZE)
    assert match.root.prefix == "student.net." and match.left_out == "1 other tensors are left out (loss.weight)"


def test_a_named_architecture_that_does_not_fit_is_refused_with_names():
    tensors = shapes(lambda: torchvision.models.resnet18(num_classes=6))
    del tensors["layer1.0.bn1.weight"]
    tensors["layer1.0.norm1.weight"] = torch.zeros(64)
    with pytest.raises(InputError) as refusal:
        recognise(file(tensors), SIZE, ModelSpec(name="torchvision/resnet18"))
    text = str(refusal.value)
    assert "missing in the file: layer1.0.bn1.weight (the file has layer1.0.norm1.weight)" in text
    assert "unexpected in the file: layer1.0.norm1.weight" in text
    with pytest.raises(InputError, match="do not fit torchvision/resnet18 with stem keep"):
        recognise(file(tensors), SIZE)  # the closest is named
    with pytest.raises(UsageError, match="there is no network"):
        recognise(file(tensors), SIZE, ModelSpec(name="resnet_18"))


def test_what_is_of_no_network_is_refused_with_the_way():
    tensors = {"encoder.weight": torch.zeros(4, 4), "decoder.weight": torch.zeros(4, 4)}
    with pytest.raises(
        InputError, match=r"2 tensors, from encoder\.weight to decoder.weight, of no network(.*)--archit"
    ):
        recognise(file(tensors), SIZE)


def test_a_refusal_names_the_other_entries_of_the_file():
    tensors = {"confusion": torch.ones(3, 3), "x": torch.ones(3)}
    with pytest.raises(InputError, match=r"other entries, which --entry takes: 'mine', 'a\.b'$"):
        recognise(WeightFile(path=Path("n.pth"), tensors=tensors, others=("mine", "a.b")), SIZE)
