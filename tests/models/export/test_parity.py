"""A graph that differs from torch is noticed."""

import copy
from dataclasses import replace

import numpy as np
import onnx
import pytest
from torch import nn

from configs.errors import InputError
from export_nets import with_weight
from models.export.parity import TOLERANCE, compare


def test_a_batch_size_baked_in_is_refused(small):
    net, card, content = small
    proto = onnx.load_from_string(content)
    proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2
    with pytest.raises(InputError, match="cannot run resnet_small at batch sizes"):
        compare(net, card, proto.SerializeToString())


@pytest.mark.parametrize("index", [0, 3, -1])
def test_a_weight_one_per_cent_off_is_noticed(small, index):
    net, card, content = small
    compare(net, card, with_weight(content, index, lambda values: values))
    with pytest.raises(InputError, match="disagree on resnet_small"):
        compare(net, card, with_weight(content, index, lambda values: 1.01 * values))
    with pytest.raises(InputError, match="disagree on resnet_small"):
        compare(net, card, with_weight(content, index, lambda values: np.nan * values))


def test_a_network_that_ignores_its_image_is_refused(small):
    net, card, content = small
    dead = copy.deepcopy(net)
    nn.init.zeros_(dead.fc.weight)
    with pytest.raises(InputError, match="nearly the same logits for every image"):
        compare(dead, card, content)


def test_a_network_that_is_not_finite_is_refused(small):
    net, card, content = small
    broken = copy.deepcopy(net)
    nn.init.constant_(broken.fc.bias, float("nan"))
    with pytest.raises(InputError, match="disagree"):
        compare(broken, card, content)


def test_a_normalisation_that_is_off_is_noticed(small, small_pixels):
    net, card, _ = small
    assert compare(net, card, small_pixels).relative < TOLERANCE
    with pytest.raises(InputError, match="disagree on resnet_small"):
        compare(net, replace(card, std=(0.26,)), small_pixels)
    with pytest.raises(InputError, match="disagree on resnet_small"):
        compare(net, replace(card, mean=(0.41,)), small_pixels)
