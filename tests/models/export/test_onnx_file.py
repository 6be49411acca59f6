import copy
import random

import onnx
import pytest
import torch
import torch_pruning
from torch import nn

from configs.errors import InputError
from export_nets import network, with_weight
from models import artefact
from models.export import onnx_file, parity
from models.export.onnx_file import checked, convert, export


@pytest.fixture(scope="module")
def exported(handed, small, tmp_path_factory):
    """The same network in training mode, exported to a file; its state and the random states, before and after."""
    net, card, _ = small
    net = copy.deepcopy(net).train()
    path = tmp_path_factory.mktemp("exported") / "new" / "net.onnx"
    before = states(net)
    found = export(net, card, path, artefact_sha256=artefact.sha256(handed / "model.safetensors"))
    return found, path, before, states(net)


def states(net):
    """Copies of its tensors, the modes of its layers, and the states of torch's and Python's generators."""
    tensors = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    return tensors, [module.training for module in net.modules()], torch.get_rng_state(), random.getstate()


@pytest.mark.parametrize(
    ("name", "size", "shape"),
    [
        ("depthwise_v2", (3, 64, 64), {}),
        ("nin", (3, 32, 32), {"widths": (8,) * 8}),
        ("timm/test_efficientnet", (3, 32, 32), {}),
        ("timm/convnext_atto", (3, 32, 32), {}),
        ("timm/test_vit", (3, 32, 32), {}),
    ],
)
def test_families(name, size, shape):
    found = checked(*network(name, size, **shape)).parity
    assert found.relative < parity.TOLERANCE
    assert found.image_spread > 1e-2 * found.logit_spread


@pytest.mark.parametrize("name", ["resnet_small", "timm/resnet10t"])
def test_networks_whose_channels_were_cut(name, tmp_path):
    net, card = network(name, (3, 32, 32))
    head = net.fc
    pruner = torch_pruning.pruner.MagnitudePruner(
        net.eval(),
        torch.randn(2, 3, 32, 32),
        importance=torch_pruning.importance.MagnitudeImportance(),
        pruning_ratio=0.3,
        ignored_layers=[head],
    )
    pruner.step()
    assert sum(p.numel() for p in net.parameters()) < 0.7 * card.cost.parameters
    exported = export(net, card, tmp_path / "cut.onnx")
    assert len(exported.content) < 4.5 * sum(p.numel() for p in net.parameters()) + 50_000


def test_the_file_is_written_whole_and_valid(small, exported):
    found, path, *_ = exported
    assert found.content == small[2] == path.read_bytes()
    assert [entry.name for entry in path.parent.iterdir()] == ["net.onnx"]
    proto = onnx.load(path)
    onnx.checker.check_model(proto, full_check=True)
    assert [entry.name for entry in proto.graph.input] == ["image_BCHW"]
    assert [entry.name for entry in proto.graph.output] == ["logits_BK"]


class Folded(nn.Module):
    def forward(self, image_BCHW):
        return image_BCHW.reshape(2, -1)[:, :4]  # two rows, however many images


class Fixed(nn.Module):
    def forward(self, image_BCHW):
        if len(image_BCHW) != 2:
            raise ValueError("two images, please")
        return image_BCHW[:, 0, 0, :4]


class Branching(nn.Module):
    def forward(self, image_BCHW):
        row = 0 if len(image_BCHW) == 2 else 5
        return image_BCHW[:, 0, row, :4]


class Attention5d(nn.Module):
    def forward(self, image_BCHW):
        token_BGHND = image_BCHW[:, :, None, :, :4].contiguous()
        return nn.functional.scaled_dot_product_attention(*[token_BGHND] * 3)[:, 0, 0, 0]


class Undecided(nn.Module):
    def forward(self, image_BCHW):
        return image_BCHW[:, 0, 0, :4] if image_BCHW.sum() > 0 else image_BCHW[:, 0, 1, :4]


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (Fixed(), "does not take 1 images at once: two images, please"),
        (Folded(), r"logits of shape \(2, 4\); \(1, 4\) would be right"),
        (Branching(), "cannot run|disagree"),  # the exporter takes the branch of its example, without a word
        (Undecided(), "cannot be converted to ONNX"),
        (Attention5d(), "cannot be converted to ONNX: only 4D query, key, and value are supported$"),
    ],
)
def test_a_network_that_is_not_one_graph_for_any_batch_is_refused(small, net, message):
    with pytest.raises(InputError, match=message):
        checked(net, small[1])


def test_a_wrong_file_is_not_written(small, tmp_path, monkeypatch):
    net, card, content = small
    wrong = with_weight(content, 0, lambda values: 1.01 * values)
    monkeypatch.setattr(onnx_file, "convert", lambda *args, **options: wrong)
    (tmp_path / "old.onnx").write_bytes(b"old")
    for name in ("old.onnx", "new.onnx"):
        with pytest.raises(InputError, match="No file is written"):
            export(net, card, tmp_path / name)
    assert [(entry.name, entry.read_bytes()) for entry in tmp_path.iterdir()] == [("old.onnx", b"old")]
    monkeypatch.setattr(onnx_file, "convert", lambda *args, **options: content)
    export(net, card, tmp_path / "new.onnx")


def test_the_network_and_the_random_state_are_not_touched(exported):
    (tensors, modes, *generators), (found, modes_after, *generators_after) = exported[2:]
    assert all(modes) and modes == modes_after
    assert found.keys() == tensors.keys() and all(torch.equal(found[name], tensors[name]) for name in tensors)
    assert torch.equal(generators_after[0], generators[0])
    assert generators_after[1] == generators[1]


def test_what_cannot_be_one_file_is_refused(small, monkeypatch):
    monkeypatch.setattr(onnx_file, "LARGEST", 1000)
    with pytest.raises(InputError, match="one ONNX file holds at most 1,000"):
        convert(*small[:2])


def test_a_folder_that_cannot_be_written_to(small, tmp_path, monkeypatch):
    net, card, content = small
    monkeypatch.setattr(onnx_file, "convert", lambda *args, **options: content)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        export(net, card, tmp_path / "file" / "net.onnx")


def test_a_network_with_uint8_input_is_checked_and_written(small, tmp_path):
    net, card, _ = small
    exported = export(net, card, tmp_path / "net.onnx", uint8_input=True)
    assert exported.parity.relative < parity.TOLERANCE and exported.opset >= 18
    proto = onnx.load(tmp_path / "net.onnx")
    onnx.checker.check_model(proto, full_check=True)
    (taken,) = proto.graph.input
    assert taken.name == "pixel_BHWC" and taken.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert [dim.dim_value for dim in taken.type.tensor_type.shape.dim] == [0, 12, 12, 1]
