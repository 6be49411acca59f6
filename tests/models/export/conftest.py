from functools import cache

import pytest
import torch
from torch.onnx._internal.exporter._registration import ONNXRegistry

from models.artefact import Card, load, save
from models.counting import measure
from models.networks.architectures import build
from models.spec import ModelSpec

SIZE = (1, 12, 12)


def saved(path, widths):
    torch.manual_seed(0)
    spec = ModelSpec(name="resnet_small", depth=8, widths=widths)
    net = build(spec, num_classes=3, input_CHW=SIZE)
    with torch.no_grad():
        net(torch.randn(32, *SIZE))
    card = {"classes": ("bag", "boot", "coat"), "input_CHW": SIZE, "mean": (0.4,), "std": (0.25,), "eval_crop": 1.0}
    save(path, net, Card(model=spec, cost=measure(net, SIZE), **card))
    return str(path)


@pytest.fixture(scope="session", autouse=True)
def operators_are_listed_once():
    """torch.onnx lists all operators that it can translate anew for each export, in half a second."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ONNXRegistry, "from_torchlib", staticmethod(cache(ONNXRegistry.from_torchlib)))
        yield


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Two saved networks: a small one, and a larger one to compare it with."""
    folder = tmp_path_factory.mktemp("saved")
    return saved(folder / "cut.safetensors", (4, 6, 8)), saved(folder / "dense.safetensors", (8, 12, 16))


@pytest.fixture(scope="session")
def small(handed):
    """A small network, its card and its ONNX file's contents. Nobody may change them."""
    return *load(handed / "model.safetensors"), (handed / "model.onnx").read_bytes()


@pytest.fixture(scope="session")
def small_pixels(handed):
    """The ONNX file's contents of the same network with normalisation inside."""
    return (handed / "pixels.onnx").read_bytes()
