import copy
import json
import random

import numpy as np
import onnx
import pytest
import torch
import torch_pruning
from torch import nn

from configs.errors import InputError
from models.artefact import Card
from models.counting import measure
from models.export import onnx_file
from models.export.onnx_file import OnnxNet, checked, compare, convert, export
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


@pytest.fixture(scope="module")
def small():
    """A small network, its card and its ONNX file's contents. Nobody may change them."""
    net, card = network(depth=8, widths=(4, 6, 8))
    net.eval()
    return net, card, convert(net, card, artefact_sha256="ab" * 32)


@pytest.fixture(scope="module")
def exported(small, tmp_path_factory):
    """The same network in training mode, exported to a file; its state and the random states, before and after."""
    net, card, _ = small
    net = copy.deepcopy(net).train()
    path = tmp_path_factory.mktemp("exported") / "new" / "net.onnx"
    before = states(net)
    found = export(net, card, path, artefact_sha256="ab" * 32)
    return found, path, before, states(net)


def states(net):
    """Copies of its tensors, the modes of its layers, and the states of torch's and Python's generators."""
    tensors = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    return tensors, [module.training for module in net.modules()], torch.get_rng_state(), random.getstate()


def with_weight(content, index, change):
    """The contents with one tensor of weights changed."""
    proto = onnx.load_from_string(content)
    tensors = [tensor for tensor in proto.graph.initializer if len(tensor.dims) > 1 and tensor.data_type == 1]
    tensor = tensors[index]
    values = change(onnx.numpy_helper.to_array(tensor)).astype(np.float32)
    tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    return proto.SerializeToString()


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
    parity = checked(*network(name, size, **shape)).parity
    assert parity.relative < onnx_file.TOLERANCE
    assert parity.image_spread > 1e-2 * parity.logit_spread


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


def test_the_file_explains_itself(small, exported):
    _, card, content = small
    found, path, *_ = exported
    assert found.content == content == path.read_bytes()
    assert [entry.name for entry in path.parent.iterdir()] == ["net.onnx"]
    proto = onnx.load(path)
    assert {entry.key: json.loads(entry.value) for entry in proto.metadata_props} == {
        "model": "resnet_small",
        "classes": list(CLASSES),
        "input_CHW": [1, 12, 12],
        "mean": [0.4],
        "std": [0.25],
        "eval_crop": 0.875,
        "artefact_sha256": "ab" * 32,
    }
    assert "artefact_sha256" not in onnx_file.metadata(card)
    onnx.checker.check_model(proto, full_check=True)
    assert "1 x 12 x 12" in proto.doc_string
    assert [entry.name for entry in proto.graph.input] == ["image_BCHW"]
    assert [entry.name for entry in proto.graph.output] == ["logits_BK"]


def test_no_path_or_source_line_of_this_machine_is_inside(small, monkeypatch):
    net, card, content = small
    assert b".py" not in content
    assert b"forward" not in content
    monkeypatch.setattr(onnx_file, "_strip", lambda message: None)
    assert b"resnet.py" in convert(net, card)  # else the exporter has changed, and there is nothing to strip


def test_any_number_of_images(small):
    net, card, content = small
    run = OnnxNet(content)
    for count in (1, 3, 65):
        images = torch.randn(count, *card.input_CHW)
        with torch.no_grad():
            assert torch.allclose(run(images), net(images), atol=1e-4)


def test_a_batch_size_baked_in_is_refused(small):
    net, card, content = small
    proto = onnx.load_from_string(content)
    proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2
    with pytest.raises(InputError, match="cannot run resnet_small at batch sizes"):
        compare(net, card, proto.SerializeToString())


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


@pytest.mark.parametrize("index", [0, 3, -1])
def test_a_weight_one_per_cent_off_is_noticed(small, index):
    net, card, content = small
    compare(net, card, with_weight(content, index, lambda values: values))
    with pytest.raises(InputError, match="disagree on resnet_small"):
        compare(net, card, with_weight(content, index, lambda values: 1.01 * values))
    with pytest.raises(InputError, match="disagree on resnet_small"):
        compare(net, card, with_weight(content, index, lambda values: np.nan * values))


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


def test_metadata_are_json(small):
    assert {name: json.loads(value) for name, value in onnx_file.metadata(small[1]).items()}["mean"] == [0.4]
