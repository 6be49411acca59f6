"""Shapes and costs of a network without its weights."""

import pytest
import torch

from models.networks.skeletons import settled, skeleton, stem_costs
from models.own import registry
from models.spec import ModelSpec


def costs(name, size, **more):
    return stem_costs(ModelSpec(name=name, **more), num_classes=10, input_CHW=(3, size, size), key="student.stem")


def test_what_a_stem_costs_is_said_near_the_size_at_which_auto_changes():
    assert costs("torchvision/resnet18", 64) == (
        "stem small for 64 x 64 images, as for all images up to 64 pixels high: 2.22 G MACs; "
        "--student.stem keep: 0.15 G"
    )
    assert costs("torchvision/resnet18", 65) == (
        "stem keep for 65 x 65 images, as for all images above 64 pixels high: 0.22 G MACs; "
        "--student.stem small: 2.49 G"
    )


@pytest.mark.parametrize(
    ("name", "size", "more"),
    [
        ("resnet_small", 32, {}),
        ("torchvision/vgg11", 32, {}),
        ("torchvision/resnet18", 224, {}),
        ("torchvision/resnet18", 32, {"stem": "keep"}),
    ],
)
def test_nothing_is_said_where_there_is_no_choice(name, size, more):
    assert costs(name, size, **more) is None


def test_a_skeleton_has_the_shapes_and_takes_no_memory():
    before = torch.get_rng_state()
    net = skeleton(ModelSpec(name="torchvision/resnet18", stem="keep"), num_classes=7, input_CHW=(1, 32, 32))
    assert net.conv1.weight.shape == (64, 1, 7, 7) and net.fc.weight.shape == (7, 512)
    assert net.conv1.weight.is_meta and torch.equal(before, torch.get_rng_state())
    read = skeleton(ModelSpec(name="torchvision/regnet_y_400mf", stem="keep"), num_classes=7, input_CHW=(3, 64, 64))
    assert read.fc.weight.shape[0] == 7  # its constructor reads values, which the meta device does not have


def test_own_code_is_executed_with_values(tmp_path):
    text = (
        "import torch\nRATES = torch.linspace(0, 0.5, 3)\n"
        "def net(num_classes):\n"
        "    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Dropout(RATES[1].item()), "
        "torch.nn.Linear(192, num_classes))\n"
    )
    (tmp_path / "rated.py").write_text(text)
    registry.register(f"{tmp_path}/rated.py:net")
    net = skeleton(ModelSpec(name=f"{tmp_path}/rated.py:net"), num_classes=4, input_CHW=(3, 8, 8))
    assert net[1].p == 0.25 and net[2].weight.shape == (4, 192)


def test_auto_is_settled_for_the_header():
    assert settled(ModelSpec(name="timm/resnet18"), (3, 64, 64)).stem == "small"
    assert settled(ModelSpec(name="timm/resnet18"), (3, 65, 65)).stem == "keep"
    assert settled(ModelSpec(name="timm/resnet18", stem="small"), (3, 99, 99)).stem == "small"
    assert settled(ModelSpec(name="resnet_small"), (3, 32, 32)).stem == "auto"
