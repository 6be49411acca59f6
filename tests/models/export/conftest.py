import pytest
import torch

from export_nets import network
from models.artefact import Card, save
from models.counting import measure
from models.export.onnx_file import convert
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


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Two saved networks: a small one, and a larger one to compare it with."""
    folder = tmp_path_factory.mktemp("saved")
    return saved(folder / "cut.safetensors", (4, 6, 8)), saved(folder / "dense.safetensors", (8, 12, 16))


@pytest.fixture(scope="session")
def small():
    """A small network, its card and its ONNX file's contents. Nobody may change them."""
    net, card = network(depth=8, widths=(4, 6, 8))
    net.eval()
    return net, card, convert(net, card, artefact_sha256="ab" * 32)


@pytest.fixture(scope="session")
def small_pixels(small):
    """The ONNX file's contents of the same network with normalisation inside."""
    return convert(*small[:2], uint8_input=True)
