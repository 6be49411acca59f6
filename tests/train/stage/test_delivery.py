"""What a run will hand over is tried before it is trained: counted, saved, loaded, and asked the same."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import forked
from configs.errors import InputError, NonFiniteError, UserError
from data_pipes.sources import source
from data_pipes.spec import DataSpec
from models import zoo
from models.networks import architectures
from models.spec import ModelSpec
from train.config import DistillConfig, TeacherConfig
from train.run_folder.run_dir import RunDir
from train.stage import delivery

DATA = DataSpec(source="digits", image_size=(32, 32), mean=(0.3,), std=(0.4,))
TINY = ModelSpec(name="resnet_small", widths=(2, 4, 8), depth=8)
CLASSES = tuple("0123456789")


class Odd(nn.Module):
    """A network with one fault, under a name that can be built again."""

    def __init__(self, num_classes: int, input_CHW: tuple[int, int, int]) -> None:
        super().__init__()
        self.layer = nn.Linear(input_CHW[0], num_classes)
        self.scale = float(torch.rand(()))  # nowhere in the state dict

    def forward(self, image_BCHW: Tensor) -> Tensor:
        return self.layer(image_BCHW.mean((2, 3))) * self.scale


class Uncounted(Odd):
    def forward(self, image_BCHW: Tensor) -> Tensor:
        return {}["such a key"]


class Unloadable(Odd):
    def _load_from_state_dict(self, *_: object) -> None:
        raise LookupError("not again")


def config(name: str) -> TeacherConfig:
    return TeacherConfig(run_dir="r", data=DATA, epochs=1, model=replace(TINY, name=name, widths=None, depth=None))


def tried(wanted: TeacherConfig, folder: Path, dtype: torch.dtype = torch.float32) -> nn.Module:
    torch.manual_seed(0)
    net = zoo.build(wanted.trained, num_classes=10, input_CHW=(1, 32, 32)).to(dtype)
    card = delivery.card(wanted, net, classes=CLASSES)
    delivery.require_saveable(net, card, RunDir(folder))
    return net


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_neither_the_network_nor_a_file_nor_the_random_state_changes(tmp_path: Path, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    net = zoo.build(TINY, num_classes=10, input_CHW=(1, 32, 32)).to(dtype).to(memory_format=torch.channels_last)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    state, strides = torch.get_rng_state(), net.conv1.weight.stride()
    wanted = replace(config("resnet_small"), model=TINY)
    card = delivery.card(wanted, net, classes=CLASSES)
    delivery.require_saveable(net, card, RunDir(tmp_path))
    assert torch.equal(torch.get_rng_state(), state) and net.training and not list(tmp_path.iterdir())
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert net.conv1.weight.dtype == dtype and net.conv1.weight.stride() == strides


@pytest.mark.parametrize("name", ["torchvision/mnasnet0_5", "timm/test_resnet"])
def test_a_network_of_a_library_passes(tmp_path: Path, name: str) -> None:
    tried(config(name), tmp_path)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (Odd, "odd gives other logits once it is saved and loaded"),
        (Uncounted, r"does not take an image of 1 x 32 x 32 \(KeyError: 'such a key'\)"),
        (Unloadable, r"odd cannot be saved and loaded \(LookupError: not again\)\. Nothing was trained"),
    ],
)
def test_a_network_that_cannot_be_delivered_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[nn.Module], message: str
) -> None:
    monkeypatch.setitem(architectures.OWN, "odd", kind)
    with pytest.raises(UserError, match=message):
        tried(config("odd"), tmp_path)


def test_a_nan_in_the_weights_is_named(tmp_path: Path) -> None:
    wanted = replace(config("resnet_small"), model=TINY)
    net = tried(wanted, tmp_path)
    with torch.no_grad():
        net.fc.bias[3] = torch.nan
    with pytest.raises(NonFiniteError, match=r"fc\.bias has a NaN"):
        delivery.require_saveable(net, delivery.card(wanted, net, classes=CLASSES), RunDir(tmp_path))


def test_the_lineage_has_the_hash_of_the_teacher_as_it_is_now(tmp_path: Path) -> None:
    samples = source.load(DATA, "validation")
    (tmp_path / "t.safetensors").write_bytes(b"x")
    taught = DistillConfig(run_dir="r", data=DATA, epochs=1, student=TINY, teacher=str(tmp_path / "t.safetensors"))
    lineage = delivery.lineage(taught, samples, "distill")
    assert lineage["teacher_sha256"].startswith("2d711642") and lineage["data"] == samples.fingerprint
    (tmp_path / "t.safetensors").unlink()
    with pytest.raises(InputError, match="there is no file"):
        delivery.lineage(taught, samples, "distill")
    alone = replace(taught, distill=replace(taught.distill, alpha=0.0))
    assert "teacher" not in delivery.lineage(alone, samples, "distill")


ODD = """
import torch
from torch import nn
from models.networks import architectures
class Odd(nn.Linear):
    def __init__(self, num_classes, input_CHW):
        super().__init__(input_CHW[0], num_classes)
        self.scale = float(torch.rand(()))
    def forward(self, image_BCHW):
        return super().forward(image_BCHW.mean((2, 3))) * self.scale
architectures.OWN["odd"] = Odd
"""


@pytest.mark.launcher
def test_all_processes_end_alike_and_nothing_is_trained(tmp_path: Path) -> None:
    (tmp_path / "odd.yaml").write_text(
        "run_dir: run\nepochs: 1\nmodel: {name: odd}\n"
        "data: {source: digits, image_size: [8, 8], mean: [0.3], std: [0.4]}\n"
    )
    ended = forked.run_world(2, "train.teacher", "--config", "odd.yaml", prelude=ODD, cwd=tmp_path)
    assert [process.code for process in ended] == [64, 64], ended[1].stderr[-3000:]
    assert all("odd gives other logits once it is saved" in process.stderr for process in ended)
    assert not any("Traceback" in process.stderr for process in ended)
    assert not (tmp_path / "run" / "checkpoints").exists()
    assert json.loads((tmp_path / "run" / "status.json").read_text())["exit_code"] == 64
