"""One cut of a chain: scores from the images of all processes, and what cannot be cut is said before anything is."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import safetensors
import safetensors.torch
import torch
from torch import nn

import forked
from configs import reader
from configs.errors import UsageError
from fake_gpu import CUDA, fake_gpu
from models import artefact, artefact_file, counting, zoo
from models.artefact import Card
from models.pruning.masks import Masks, cubic_schedule, prunable
from models.pruning.spec import IMPORTANCES
from models.spec import ModelSpec
from train.processes import make_accelerator
from train.prune import __main__ as prune
from train.prune import chain
from train.prune import cut as cutter
from train.prune.config import PruneConfig
from train.prune.cut import Cutter

DIGITS = Path(__file__).parents[3] / "configs" / "digits" / "prune.yaml"
CLASSES = tuple("0123456789")
SMALL = ["--data.image_size", "[8, 8]", "--data.augment.rotation", "0", "--data.threads", "1", "--optim.warmup_epochs"]
SMALL += ["0", "--epochs", "1", "--final_epochs", "1", "--batch_size", "64", "--recalibration", "2"]
SMALL += ["--prune.steps", "2", "--prune.budget.parameters", "500", "--track.pictures", "false"]
ALONE = ["--teacher", "null", "--distill.alpha", "0"]
TAYLOR = ["--prune.importance", "taylor"]
KINDS = ("structured", "unstructured")


def save(path: Path, classes: tuple[str, ...] = CLASSES, size: tuple[int, int, int] = (1, 8, 8)) -> Path:
    """A network of 1,384 parameters that was never trained, for digits unless said otherwise."""
    spec = ModelSpec(name="resnet_small", depth=8, widths=(2, 4, 8))
    torch.manual_seed(0)
    net = zoo.build(spec, num_classes=len(classes), input_CHW=size)
    mean, std = (0.3058,) * size[0], (0.3665,) * size[0]
    cost = counting.measure(net, size)
    artefact.save(
        path, net, Card(model=spec, classes=classes, input_CHW=size, mean=mean, std=std, eval_crop=1.0, cost=cost)
    )
    return path


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("student") / "s.safetensors")


def words(folder: Path, student: Path, *options: str) -> list[str]:
    names = ["--run_dir", str(folder), "--student.name", str(student)]
    return ["--config", str(DIGITS), *names, *SMALL, *ALONE, *options]


def read(folder: Path, student: Path, *options: str) -> PruneConfig:
    return reader.read(PruneConfig, words(folder, student, *options), prog="x", description="x")


# ---- what a cut does to a network


def cut(student: Path, folder: Path, *options: str) -> tuple[nn.Module, dict[str, Any]]:
    net, _ = artefact.load(student)
    chain_cutter = Cutter(read(folder, student, *options), make_accelerator("float32"))
    chain_cutter.add_gradients(net)
    _, record = chain_cutter.cut(1, net)
    return net, json.loads(record)


@pytest.mark.parametrize("kind", KINDS)
def test_a_cut_is_a_function_of_the_network(student: Path, tmp_path: Path, kind: str) -> None:
    one, other = (cut(student, tmp_path, "--prune.kind", kind) for _ in range(2))
    assert one[1] == other[1]
    assert all(torch.equal(value, other[0].state_dict()[name]) for name, value in one[0].state_dict().items())


@pytest.mark.parametrize("kind", KINDS)
def test_recalibration_changes_statistics_and_nothing_else(student: Path, tmp_path: Path, kind: str) -> None:
    plain, again = (cut(student, tmp_path, "--prune.kind", kind, "--recalibration", count)[0] for count in ("0", "2"))
    changed = {name for name, value in plain.state_dict().items() if not torch.equal(value, again.state_dict()[name])}
    assert changed == {name for name, _ in plain.named_buffers()}
    assert plain.bn1.running_var.eq(1).all()  # as in the file


def test_the_record_of_an_unstructured_cut_counts_what_is_free(student: Path, tmp_path: Path) -> None:
    net, record = cut(student, tmp_path, "--prune.kind", "unstructured")
    masks = Masks.of(net)
    assert record["nonzero"] == masks.free_entries(net) == cubic_schedule(1384, 500, 2)[0]
    assert record["free"] == {name: int((~cut).sum()) for name, cut in masks.state_dict().items()}


@pytest.mark.parametrize("importance", IMPORTANCES)
def test_one_cut_uses_the_budget_up_whatever_the_importance(student: Path, tmp_path: Path, importance: str) -> None:
    _, record = cut(student, tmp_path, "--prune.importance", importance, "--prune.steps", "1")
    assert 0.9 * 500 < record["parameters"] <= 500


# ---- on the device


@pytest.fixture
def on_gpu(student: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Cutter, nn.Module]]:
    """A cutter whose device is a fake GPU, with images that are there; torch's backward asks the driver for one."""
    real, config = artefact.load(student), read(tmp_path, student, *TAYLOR)

    def images(self: Cutter, count: int, size: int, *, alone: bool) -> AbstractContextManager[list[SimpleNamespace]]:
        image_BCHW = torch.zeros(size, 1, 8, 8, device=CUDA)
        return nullcontext([SimpleNamespace(image_BCHW=image_BCHW, label_B=image_BCHW[:, 0, 0, 0].long())])

    def backward(loss: torch.Tensor) -> None:
        assert loss.is_cuda
        for parameter in net.parameters():
            parameter.grad = torch.zeros_like(parameter)

    with fake_gpu():
        net = zoo.build(real[1].model, num_classes=10, input_CHW=(1, 8, 8))
        monkeypatch.setattr(Cutter, "_images", images)
        monkeypatch.setattr(torch.Tensor, "backward", backward)
        monkeypatch.setattr(artefact, "load", lambda _: real)
        yield Cutter(config, make_accelerator("float32")), net


def devices(net: nn.Module) -> set[str]:
    return {value.device.type for value in net.state_dict().values()}


def test_gradients_for_scores_are_computed_on_the_device(on_gpu: tuple[Cutter, nn.Module]) -> None:
    """A batch on the device meets a network there, or the product of the two fails."""
    chain_cutter, net = on_gpu
    chain_cutter.add_gradients(net)
    assert devices(net) == {"cpu"}


def test_batchnorm_is_recalibrated_on_the_device(
    on_gpu: tuple[Cutter, nn.Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    chain_cutter, net = on_gpu
    seen: list[set[str]] = []
    real = cutter.surgery.recalibrate

    def watched(there: nn.Module, batches: Iterator[torch.Tensor]) -> None:
        seen.append(devices(there))
        real(there, batches)

    monkeypatch.setattr(cutter.surgery, "recalibrate", watched)
    monkeypatch.setattr(Cutter, "_plan", lambda *_: SimpleNamespace(to_json=lambda: "{}"))
    monkeypatch.setattr(cutter.surgery, "apply", lambda *_: None)
    chain_cutter.cut(1, net)
    assert seen == [{"cuda"}]
    assert devices(net) == {"cpu"}


def test_batches_for_gradients_are_no_larger_than_micro_batches(student: Path, tmp_path: Path) -> None:
    net, _ = artefact.load(student)
    sizes: list[int] = []
    net.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    config = read(tmp_path, student, *TAYLOR, "--micro_batch_size", "16")
    Cutter(config, make_accelerator("float32")).add_gradients(net)
    assert sizes == [16] * (cutter.TAYLOR_BATCHES * 64 // 16)


def put_twice(*_: object) -> None:
    torch.zeros(3).put_(torch.tensor([0, 0]), torch.ones(2))


def test_an_operator_without_a_deterministic_implementation_is_refused_here_too(student: Path, tmp_path: Path) -> None:
    net, _ = artefact.load(student)
    net.register_forward_pre_hook(put_twice)
    made = Cutter(read(tmp_path, student, *TAYLOR), make_accelerator("float32"))
    torch.use_deterministic_algorithms(True)
    try:
        with pytest.raises(UsageError, match="put_, which the network uses"):
            made.add_gradients(net)
    finally:
        torch.use_deterministic_algorithms(False)


# ---- scores over all processes

GRADIENTS = """
import os, torch
from accelerate import Accelerator
from train.prune.cut import Cutter
summed, real, own = Accelerator.reduce, Cutter.add_gradients, []
def counted(self, tensor, reduction):
    own.append(tensor.clone())
    return summed(self, tensor, reduction=reduction)
def recorded(self, net):
    Accelerator.reduce = counted
    real(self, net)
    grads = [p.grad.flatten() for p in net.parameters()]
    torch.save([torch.cat(grads), torch.cat([grad.flatten() for grad in own])], os.environ["RANK"] + ".pt")
    raise SystemExit(0)
Cutter.add_gradients = recorded
"""


@pytest.mark.launcher
def test_taylor_scores_come_from_the_images_of_all_processes(student: Path, tmp_path: Path) -> None:
    net, _ = artefact.load(student)
    Cutter(read(tmp_path, student, *TAYLOR), make_accelerator("float32")).add_gradients(net)
    alone = torch.cat([parameter.grad.flatten() for parameter in net.parameters()])
    argv = words(tmp_path / "run", student, *TAYLOR)
    ended = forked.run_world(2, "train.prune", *argv, prelude=GRADIENTS, cwd=tmp_path)
    assert [process.code for process in ended] == [0, 0], ended[0].stderr[-3000:]
    (first, mine), (second, theirs) = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    assert torch.equal(first, second)
    slack = 1e-5 * float(alone.abs().max())
    torch.testing.assert_close(first, alone, rtol=0, atol=slack)
    assert float((mine - theirs).abs().max()) > 1000 * slack  # the control: before they are reduced, they differ
    torch.testing.assert_close((mine + theirs) / 2, alone, rtol=0, atol=slack)


# ---- before anything is cut


def test_a_dry_run_shows_the_schedule_and_every_layer_and_writes_nothing(
    student: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--dry_run", "true", "--prune.kind", "unstructured", "--prune.steps", "4"]
    chain.run(read(tmp_path / "run", student, *options))
    shown = capsys.readouterr().out
    steps = cubic_schedule(1384, 500, 4)
    assert ", ".join(f"{count:,}" for count in steps) in " ".join(shown.split())
    weights = prunable(artefact.load(student)[0])
    rows = {line.split()[0]: line.split()[1:] for line in shown.splitlines() if line.split()[:1]}
    assert {name: int(rows[name][0].replace(",", "")) for name in weights} == {n: w.numel() for n, w in weights.items()}
    never = 1384 - sum(weight.numel() for weight in weights.values())
    assert never + sum(int(rows[name][1].replace(",", "")) for name in weights) == steps[-1] == 500
    assert not (tmp_path / "run").exists()


def test_a_dry_run_shows_the_widths_of_cut_channels(
    student: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chain.run(read(tmp_path / "run", student, "--dry_run", "true"))
    shown = capsys.readouterr().out
    assert "of the budget" in shown and "layer3.0.conv2" in shown
    assert not (tmp_path / "run").exists()


@pytest.fixture
def refuse(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """A command that ends with an exit code and one line, having cut nothing; the line."""

    def ended(code: int, folder: Path, *arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", ["train.prune", *words(folder, *arguments)])
        with pytest.raises(SystemExit) as left:
            reader.command(prune.main)
        shown = capsys.readouterr()
        assert left.value.code == code and len(shown.err.splitlines()) == 1 and shown.out == "", shown.err
        assert not list(folder.glob("cut-*"))
        return shown.err

    return ended


@pytest.mark.parametrize("kind", KINDS)
def test_the_smallest_budget_that_the_message_names_can_be_had(student, tmp_path: Path, refuse, kind: str) -> None:
    def options(budget: int) -> list[str]:
        return ["--prune.kind", kind, "--prune.steps", "1", "--prune.budget.parameters", str(budget)]

    folder = tmp_path / "run"
    least = int(re.findall(r"(?:reached is|takes) (\d+)", refuse(64, folder, student, *options(20)))[0])
    assert 20 < least < 500
    shutil.rmtree(folder)
    assert str(least) in refuse(64, folder, student, *options(least - 1))
    shutil.rmtree(folder)
    chain.run(read(folder, student, *options(least)))
    net, card = artefact.load(folder / "model.safetensors")
    assert (card.cost.parameters if kind == "structured" else Masks.of(net).free_entries(net)) == least


@pytest.fixture(scope="module")
def files(student: Path) -> dict[str, Path]:
    """Files that cannot be cut, by what is wrong with them."""
    home = student.parent
    with safetensors.safe_open(student, framework="pt") as opened:
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        header = json.loads(opened.metadata()["heartcut"])
    foreign = {f"unknown.{name}": tensor for name, tensor in tensors.items() if "layer1" in name}
    safetensors.torch.save_file(foreign, home / "foreign.safetensors", metadata={"format": "pt"})
    newer = {"heartcut": json.dumps(header | {"format": artefact_file.FORMAT + 1})}
    safetensors.torch.save_file(tensors, home / "newer.safetensors", metadata=newer)
    torch.save(tensors, home / "pickle.safetensors")
    (home / "short.safetensors").write_bytes(student.read_bytes()[:-9])
    save(home / "seven.safetensors", CLASSES[:7])
    save(home / "backwards.safetensors", CLASSES[::-1])
    save(home / "colour.safetensors", size=(3, 8, 8))
    return {path.stem: path for path in home.glob("*.safetensors")} | {"missing": home / "missing.safetensors"}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("foreign", "of no network that is recognised here"),
        (
            "newer",
            f"has format {artefact_file.FORMAT + 1}, but this Heartcut reads up to {artefact_file.FORMAT}; update",
        ),
        ("pickle", "is damaged, cut short, or not a safetensors file"),
        ("short", "is damaged, cut short, or not a safetensors file"),
        ("missing", "there is no file"),
    ],
)
def test_a_student_that_cannot_be_read_is_refused(files, tmp_path: Path, refuse, name: str, message: str) -> None:
    assert message in refuse(66, tmp_path / "run", files[name])


SEVEN = "knows 7 classes and the data set has 10"
BACKWARDS = "the same classes in another order: its class 0 is '9', the data set's is '0'"


@pytest.mark.parametrize(
    ("who", "name", "message"),
    [
        ("student", "seven", SEVEN),
        ("teacher", "seven", SEVEN),
        ("student", "backwards", BACKWARDS),
        ("teacher", "backwards", BACKWARDS),
        ("student", "colour", "takes 3 channels and data.mean has 1"),
    ],
)
def test_what_is_for_other_images_is_refused(files, student, tmp_path: Path, refuse, name: str, message, who) -> None:
    cut = files[name] if who == "student" else student
    taught = ["--teacher", str(files[name]), "--distill.alpha", "0.5"] if who == "teacher" else []
    assert message in refuse(66, tmp_path / "run", cut, *taught)


def test_a_teacher_that_is_tied_to_another_size_is_refused_or_sees_its_own(student, tmp_path: Path, refuse) -> None:
    model, input_CHW = ModelSpec(name="timm/test_vit3"), (1, 32, 32)
    net = zoo.build(model, num_classes=10, input_CHW=input_CHW).eval()
    own = {"mean": (0.5,), "std": (0.5,), "eval_crop": 1.0, "cost": counting.measure(net, input_CHW)}
    artefact.save(tmp_path / "vit.safetensors", net, Card(model=model, classes=CLASSES, input_CHW=input_CHW, **own))
    taught = ["--teacher", str(tmp_path / "vit.safetensors"), "--distill.alpha", "0.5"]
    small = ["--distill.teacher_size", "student"]
    message = "made for images of 32 x 32 pixels and cannot take 8 x 8"
    assert message in refuse(66, tmp_path / "run", student, *taught, *small)
    assert message in refuse(66, tmp_path / "other", tmp_path / "vit.safetensors")
    cutter.require_possible(read(tmp_path / "run", student, *taught))


STRUCTURED, UNSTRUCTURED = (["--prune.kind", kind] for kind in KINDS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([*STRUCTURED, "--prune.budget.parameters", "99999"], "budget.parameters is 99999, but the network has only 1"),
        ([*UNSTRUCTURED, "--prune.budget.parameters", "99999"], "a budget of 99,999 non-zero parameters cannot be had"),
        ([*STRUCTURED, "--prune.budget.macs", "9"], "budget.macs is 9, but with prune.floor 0.1"),
        ([*UNSTRUCTURED, "--prune.budget.macs", "9"], "budget.macs is 9; it must be left out of unstructured cuts"),
        ([*UNSTRUCTURED, "--prune.ranking", "global"], "prune.ranking is 'global'; it must be left out of unstructur"),
        ([*STRUCTURED, "--prune.ignored_layers", "[layer9]"], "prune.ignored_layers names 'layer9'; the layers are c"),
        ([*STRUCTURED, "--prune.kind", "sparse"], "prune.kind"),
    ],
)
def test_what_cannot_be_had_is_refused(student, tmp_path: Path, refuse, options: list[str], message: str) -> None:
    assert message in refuse(64, tmp_path / "run", student, *options)
