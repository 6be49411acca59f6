"""Networks to export, with BatchNorm statistics of their own activations."""

from __future__ import annotations

import numpy as np
import onnx
import torch
from torch import nn

from models.artefact import Card
from models.counting import measure
from models.networks.architectures import build
from models.spec import ModelSpec

CLASSES = ("bag", "boot", "coat", "Ämne")


def network(name="resnet_small", size=(1, 12, 12), **shape):
    """With BatchNorm statistics of its own activations, as after training: else deep networks ignore their input."""
    torch.manual_seed(0)
    spec = ModelSpec(name=name, **shape)
    net = build(spec, num_classes=len(CLASSES), input_CHW=size)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        for _ in range(2):
            net(torch.randn(32, *size))
    return net, card_of(net, spec, size)


def card_of(net, spec, size):
    channels = size[0]
    return Card(
        model=spec,
        classes=CLASSES,
        input_CHW=size,
        mean=(0.4,) * channels,
        std=(0.25,) * channels,
        eval_crop=0.875,
        cost=measure(net, size),
    )


def with_weight(content, index, change):
    """The contents with one tensor of weights changed."""
    proto = onnx.load_from_string(content)
    tensors = [tensor for tensor in proto.graph.initializer if len(tensor.dims) > 1 and tensor.data_type == 1]
    tensor = tensors[index]
    values = change(onnx.numpy_helper.to_array(tensor)).astype(np.float32)
    tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    return proto.SerializeToString()
