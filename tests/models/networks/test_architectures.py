import re
import subprocess
import sys

import pytest
import torch

from configs.errors import UsageError
from models.networks import architectures
from models.spec import ModelSpec

SIZE = (3, 64, 64)


@pytest.mark.parametrize("name", architectures.OWN)
def test_every_own_network_builds_in_training_mode_and_returns_logits(name):
    net = architectures.build(ModelSpec(name=name), num_classes=11, input_CHW=SIZE)
    assert net.training
    assert net(torch.randn(2, *SIZE)).shape == (2, 11)


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("resnet_small", "models.networks.resnet"),
        ("resnet18", "torchvision.models.resnet"),
        ("torchvision/resnet18", "torchvision.models.resnet"),
        ("timm/resnet18", "timm.models.resnet"),
        ("convnext_atto", "timm.models.convnext"),
        ("timm/resnet18.a1_in1k", "timm.models.resnet"),
    ],
)
def test_a_bare_name_is_ours_then_torchvision_then_timm(name, module):
    assert type(architectures.build(ModelSpec(name=name), num_classes=5, input_CHW=SIZE)).__module__ == module


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (ModelSpec(name="nin", depth=20), "nin does not take depth; it takes widths, dropout"),
        (
            ModelSpec(name="timm/resnet18", widths=(8,), depth=18),
            "does not take widths and depth; it takes dropout, pretrained, stem; set widths and depth to null",
        ),
        (ModelSpec(name="alexnet_small", widths=(8,)), "alexnet_small does not take widths; it takes dropout"),
        (ModelSpec(name="resnet_small", dropout=0.0), "resnet_small does not take dropout; it takes widths, depth"),
        (ModelSpec(name="depthwise", pretrained=True), "depthwise does not take pretrained; it takes widths"),
        (ModelSpec(name="timm/resnet18", widths=(8,)), "does not take widths; it takes dropout, pretrained"),
        (ModelSpec(name="nin", widths=(8, 8)), "nin takes 8 widths, not 2"),
    ],
)
def test_a_field_that_a_network_does_not_take_is_refused_by_name(spec, message):
    with pytest.raises(UsageError, match=re.escape(message)):
        architectures.build(spec, num_classes=10, input_CHW=SIZE)


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("depthwise_v3", "depthwise_v2"),
        ("torchvision/resnet19", "torchvision/resnet18"),
        ("timm/convnext_ato", "timm/convnext_atto"),
        ("mobilenet_v22", "mobilenet_v2"),
    ],
)
def test_an_unknown_name_is_answered_with_near_ones(name, near):
    with pytest.raises(UsageError, match=f"no network '{name}'; did you mean .*{near}"):
        architectures.build(ModelSpec(name=name), num_classes=10, input_CHW=SIZE)


def test_a_name_near_nothing_lists_our_own():
    with pytest.raises(UsageError, match="our own are depthwise, depthwise_v2, nin") as caught:
        architectures.build(ModelSpec(name="????????"), num_classes=10, input_CHW=SIZE)
    assert "did you mean" not in str(caught.value)


@pytest.mark.parametrize(("classes", "size"), [(0, SIZE), (10, (0, 32, 32)), (10, (3, -1, 32))])
def test_impossible_tasks_are_refused(classes, size):
    with pytest.raises(UsageError, match="needs classes, channels and pixels"):
        architectures.build(ModelSpec(name="nin"), num_classes=classes, input_CHW=size)


def test_no_library_is_loaded_before_it_is_needed():
    script = (
        "import sys, models.networks.architectures; sys.exit('timm' in sys.modules or 'torchvision' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_a_tag_that_timm_does_not_know_is_answered_with_near_ones():
    with pytest.raises(UsageError, match=r"timm/resnet18.a1_in1x: .* no weights 'a1_in1x'; there are resnet18.a1_in1k"):
        architectures.build(ModelSpec(name="timm/resnet18.a1_in1x"), num_classes=10, input_CHW=(3, 32, 32))
