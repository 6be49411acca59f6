"""Plain PyTorch that runs alone: equal bit for bit, with masks and after cuts, or not written at all."""

from __future__ import annotations

import copy
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from torch import nn

from configs.errors import InputError
from models import artefact, counting
from models.artefact import Card
from models.export import module_source, onnx_file, pytorch_file
from models.networks.architectures import build
from models.pruning import planner, surgery
from models.pruning.masks import Masks
from models.pruning.spec import Budget, PruneSpec
from models.spec import ModelSpec

CLASSES = ("bag", 'b"""oot', "Ämne\\")
SIZE = (3, 16, 16)


def card_of(net, spec):
    own = {"mean": (0.4,) * 3, "std": (0.25,) * 3, "eval_crop": 0.875, "cost": counting.measure(net, SIZE)}
    return Card(model=spec, classes=CLASSES, input_CHW=SIZE, **own)


def network(name, **shape):
    torch.manual_seed(0)
    spec = ModelSpec(name=name, **shape)
    net = build(spec, num_classes=len(CLASSES), input_CHW=SIZE)
    with torch.no_grad():
        for _ in range(2):
            net(torch.randn(32, *SIZE))
    return net.eval(), card_of(net, spec)


def cut(name, share=0.5, **shape):
    net, card = network(name, **shape)
    budget = Budget(parameters=int(share * counting.measure(net, SIZE).parameters))
    plan = planner.plan(net, SIZE, PruneSpec(budget=budget, steps=1))
    surgery.apply(net, plan.cuts[0])
    return net, replace(card, pruned=True)


def test_a_cut_file_runs_alone_and_equals_the_network(tmp_path):
    net, card = cut("resnet_small", depth=8, widths=(4, 6, 8))
    artefact.save(tmp_path / "net.safetensors", net, card)
    net, card = artefact.load(tmp_path / "net.safetensors")
    (tmp_path / "away").mkdir()
    pytorch_file.export(net, card, tmp_path / "away" / "student.py", artefact_sha256="ab" * 32)
    assert sorted(path.name for path in (tmp_path / "away").iterdir()) == ["student.pt", "student.py"]
    image = torch.randn(2, *SIZE)
    torch.save(image, tmp_path / "image.pt")
    script = (
        "import sys, torch; sys.path.insert(0, '.'); import student; net = student.get_student_model();"
        "net.load_state_dict(torch.load('student.pt', weights_only=True)); print(ascii(student.CLASSES));"
        "torch.save(net.eval()(torch.load('../image.pt')), '../logits.pt');"
        "print(sorted(name for name in ('models', 'timm', 'torchvision') if name in sys.modules))"
    )
    command = [sys.executable, "-I", "-c", script]
    done = subprocess.run(command, cwd=tmp_path / "away", capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [ascii(list(CLASSES)), "[]"]
    assert torch.equal(torch.load(tmp_path / "logits.pt"), net(image))
    text = (tmp_path / "away" / "student.py").read_text(encoding="ascii")
    cost = counting.measure(net, SIZE)
    assert f"\n{cost.parameters:,} parameters" in text and f"; {cost.macs:,} multiply-accumulates" in text
    assert "torch.load('student.pt', weights_only=True)" in text and "ab" * 32 in text


@pytest.mark.parametrize("theirs", ["student.py", "student.pt"])
def test_files_of_the_user_are_not_replaced_and_our_own_are(tmp_path, monkeypatch, theirs):
    monkeypatch.setattr(pytorch_file, "_require_same", lambda *_: None)
    net, card = network("nin", widths=(4,) * 8)
    (tmp_path / theirs).write_text('"""A network."""\n# not written by Heartcut.\n')
    with pytest.raises(InputError, match=rf"{theirs} is there already and was not written by models\.export; move it"):
        pytorch_file.export(net, card, tmp_path / "student.py")
    assert (tmp_path / theirs).read_text().startswith('"""A network."""')
    (tmp_path / theirs).unlink()
    pytorch_file.export(net, card, tmp_path / "student.py")
    pytorch_file.export(net, card, tmp_path / "student.py", artefact_sha256="ab" * 32)
    assert "ab" * 32 in (tmp_path / "student.py").read_text()
    (tmp_path / "student.py").unlink()
    with pytest.raises(InputError, match=r"student\.pt is there already"):
        pytorch_file.export(net, card, tmp_path / "student.py")


@pytest.mark.parametrize("name", ["nin", "timm/convnext_atto"])
def test_other_cut_networks(name):
    net, card = cut(name)
    written = pytorch_file.checked(net, card, name="x")
    assert written.cost.parameters == sum(parameter.numel() for parameter in net.parameters())


def test_a_masked_network_counts_its_zeros():
    net, card = network("nin", widths=(8,) * 8)
    Masks.plan(net, 1_000).apply_(net)
    written = pytorch_file.checked(net, card, name="x")
    nonzero = counting.measure(net, SIZE).nonzero
    assert nonzero <= 1_000 < written.cost.parameters and f"parameters, {nonzero:,} of them not zero;" in written.source


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_becomes_float32_in_both_formats_and_in_a_file(tmp_path, dtype):
    net, card = network("resnet_small", depth=8, widths=(4, 6, 8))
    half, whole = copy.deepcopy(net).to(dtype), copy.deepcopy(net).to(dtype).float()
    artefact.save(tmp_path / "half.safetensors", half, card)
    again, _ = artefact.load(tmp_path / "half.safetensors")
    assert torch.equal(again(torch.ones(1, *SIZE)), whole(torch.ones(1, *SIZE)))
    assert onnx_file.convert(whole, card) == onnx_file.convert(onnx_file.state_dicts.ready(half), card)
    if dtype is torch.float16:
        assert pytorch_file.checked(half, card, name="x").cost == counting.measure(whole, SIZE)
    assert half.fc.weight.dtype is dtype


class InPlace(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(3, 3)

    def forward(self, x):
        x = self.head(x.mean((2, 3)))
        y = x
        y += 1  # of x, too, which torch.fx does not see
        return x + y


def test_other_logits_are_refused_and_nothing_is_written(tmp_path):
    torch.manual_seed(0)
    net = InPlace().eval()
    with pytest.raises(InputError, match=r"gives other logits as plain PyTorch, by up to 1\.0e\+00; .* No file is"):
        pytorch_file.export(net, card_of(net, ModelSpec(name="nin")), tmp_path / "net.py")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("package", ["models", "timm"])
def test_source_that_needs_another_package_is_refused(monkeypatch, package):
    net, card = network("nin", widths=(4,) * 8)
    write = module_source.write
    monkeypatch.setattr(module_source, "write", lambda *given: f"import {package}\n" + write(*given))
    with pytest.raises(InputError, match=f"does not run as plain PyTorch .*{package} may not be imported here"):
        pytorch_file.checked(net, card, name="x")


class Looks(nn.Module):
    def forward(self, x):
        return x.mean((2, 3)) if x.sum() > 0 else -x.mean((2, 3))


def test_a_layer_that_cannot_be_written_is_named():
    net = nn.Sequential(Looks())
    with pytest.raises(InputError, match=r"^nin: layer 0 \(Looks\) cannot be written as plain PyTorch"):
        pytorch_file.checked(net, card_of(net, ModelSpec(name="nin")), name="x")
