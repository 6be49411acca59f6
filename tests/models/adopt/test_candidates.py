"""Names that tell networks apart, and the last and first layers."""

import pytest
import torch

from configs.errors import InputError
from models.adopt import candidates
from models.networks import architectures
from models.spec import ModelSpec


def zeros(**shapes):
    return {name.replace("__", "."): torch.zeros(shape) for name, shape in shapes.items()}


def test_every_name_is_known():
    for _, family, names in candidates.BY_NAME:
        for name in names.split():
            architectures.require_known(name if family == "own" else f"{family}/{name}")


def test_torchvision_comes_before_timm():
    found = list(candidates.named(zeros(layer1__0__conv1__weight=(1,))))
    assert found[0] == "torchvision/resnet18"
    firsts = [next(i for i, name in enumerate(found) if name.startswith(family)) for family in ("torchvision", "timm")]
    assert firsts == sorted(firsts)


def test_the_last_layer_is_found_in_any_order():
    assert candidates.head(zeros(fc__weight=(2, 2), conv1__weight=(3, 3))) == "fc.weight"
    found = candidates.head(
        zeros(classifier__6__weight=(2, 2), classifier__1__weight=(3, 3), classifier__0__weight=(3,))
    )
    assert found == "classifier.6.weight"
    assert candidates.head(zeros(a__weight=(2, 2), b__weight=(4, 2), b__bias=(4,))) == "b.weight"
    assert candidates.num_classes(zeros(b__weight=(4, 2))) == 4
    with pytest.raises(InputError, match="no layer with a weight"):
        candidates.num_classes(zeros(a__bias=(3,)))


def test_depth_and_widths_of_our_resnets_are_counted():
    state = architectures.build(
        ModelSpec(name="resnet_cifar", depth=14, widths=(4, 6, 8)), num_classes=3, input_CHW=(3, 8, 8)
    ).state_dict()
    [found] = candidates.variants(ModelSpec(name="resnet_cifar"), state)
    assert found == ModelSpec(name="resnet_cifar", depth=14, widths=(4, 6, 8))


def test_stems_are_tried_with_the_own_one_first():
    tried = [spec.stem for spec in candidates.variants(ModelSpec(name="timm/resnet18"), {})]
    assert tried == ["keep", "small"]
    assert [spec.stem for spec in candidates.variants(ModelSpec(name="timm/resnet18", stem="small"), {})] == ["small"]
