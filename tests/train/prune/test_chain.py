"""Chains of cuts on real digits: the budget is met, and a chain that is killed anywhere ends as if it had not been."""

from __future__ import annotations

import copy
import json
import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torchinfo
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn

import forked
from configs import reader
from configs.errors import InputError
from configs.stopping import StoppedError
from models import artefact
from models.pruning.masks import Masks, cubic_schedule, prunable
from models.spec import ModelSpec
from train import guards
from train.config import DistillConfig, TeacherConfig
from train.prune import chain as cutting
from train.prune import ledger
from train.prune.config import PruneConfig
from train.stage.run import run as run_stage
from train.step import Step

DIGITS = Path(__file__).parents[3] / "configs" / "digits"
KINDS = ("structured", "unstructured")
TINY = ["--data.threads", "1", "--data.image_size", "[8, 8]", "--data.augment.rotation", "0"]
TINY += ["--optim.warmup_epochs", "0", "--track.pictures", "false"]
FEW = ["--epochs", "1", "--final_epochs", "1", "--batch_size", "256", "--recalibration", "2", "--ema", "0.9", *TINY]
FEW += ["--prune.steps", "2", "--prune.budget.parameters", "500", "--checkpoint_steps", "2"]
HINTS = ["--distill.hint", "1", "--distill.layers", "[[layer2, layer2], [layer3, layer3]]"]


def words(folder: Path | str, trained: Path, *options: str) -> list[str]:
    names = ["--student.name", str(trained / "student" / "model.safetensors"), "--run_dir", str(folder)]
    names += ["--teacher", str(trained / "teacher" / "model.safetensors")]
    return ["--config", str(DIGITS / "prune.yaml"), *names, *FEW, *options]


def read(folder: Path, trained: Path, *options: str) -> PruneConfig:
    return reader.read(PruneConfig, words(folder, trained, *options), prog="x", description="x")


def prune(folder: Path, trained: Path, *options: str) -> list[dict[str, Any]]:
    cutting.run(read(folder, trained, *options))
    return parsed(folder / "ledger.json")


def parsed(path: Path) -> Any:
    return json.loads(path.read_text())


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A teacher and a student that have seen the digits twice."""
    folder = tmp_path_factory.mktemp("trained")
    shape = ["--model.depth", "8", "--model.widths", "[4, 8, 8]", "--epochs", "2"]
    teacher = ["--config", str(DIGITS / "teacher.yaml"), "--run_dir", str(folder / "teacher"), *shape, *TINY]
    run_stage(reader.read(TeacherConfig, teacher, prog="x", description="x"), "teacher")
    student = ["--config", str(DIGITS / "distill.yaml"), "--run_dir", str(folder / "student"), "--epochs", "2", *TINY]
    student += ["--teacher", str(folder / "teacher" / "model.safetensors"), "--student.widths", "[2, 4, 8]"]
    run_stage(reader.read(DistillConfig, student, prog="x", description="x"), "distill")
    return folder


def start(
    folder: Path, trained: Path, kind: str, *options: str, prelude: str = "", processes: int = 1
) -> list[forked.Ended]:
    """From the folder above, so that a copy of the run is a run."""
    argv = words(folder.name, trained, "--prune.kind", kind, *options)
    return forked.run_world(processes, "train.prune", *argv, prelude=prelude, cwd=folder.parent)


def finish(folder: Path, trained: Path, kind: str, *options: str, processes: int = 1) -> Path:
    ended = start(folder, trained, kind, *options, processes=processes)
    assert [process.code for process in ended] == [0] * processes, ended[0].stderr[-3000:]
    return folder


@pytest.fixture(scope="module")
def whole(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """By kind of cut, a chain that nothing interrupts; one of them draws."""
    drawn = {"structured": ("--track.pictures", "true")}
    return {kind: finish(tmp_path_factory.mktemp(kind) / "run", trained, kind, *drawn.get(kind, ())) for kind in KINDS}


@pytest.mark.launcher
def test_the_budget_is_met_and_every_cut_is_in_the_ledger(whole: dict[str, Path], trained: Path) -> None:
    folder = whole["structured"]
    entries = parsed(folder / "ledger.json")
    net, card = artefact.load(folder / "model.safetensors")
    assert [entry["cut"] for entry in entries] == [1, 2]
    assert entries[0]["parameters"] > entries[1]["parameters"] == card.cost.parameters <= 500
    assert card.cost.parameters == sum(p.numel() for p in net.parameters()) > 0.9 * 500
    assert card.pruned and len(card.classes) == 10
    assert entries[1]["sha256"] == artefact.sha256(folder / "model.safetensors")
    assert all(0 <= entry[key] <= 1 for entry in entries for key in ("before", "after"))
    assert (folder / "ledger.png").stat().st_size > 1000
    assert [path.name for path in whole["unstructured"].rglob("*.png")] == []  # track.pictures is false there
    first, second = (parsed(folder / f"cut-0{i}" / "result.json") for i in (1, 2))
    assert first["accuracy_split"] == "validation" and second["accuracy_split"] == "test"  # read once, at the end
    times = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    finish(folder, trained, "structured")
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()} == times


def test_hints_keep_their_adapters(trained: Path, tmp_path: Path) -> None:
    assert prune(tmp_path, trained, *HINTS)[-1]["parameters"] <= 500
    assert any("adapters" in name for name, _ in tensors_of(newest(tmp_path / "cut-02")))


# ---- unstructured


@dataclass(frozen=True)
class Chain:
    """A chain in which every step was watched."""

    folder: Path
    options: list[str]
    alive: list[int]
    """After each step, weights that are not zero though they were cut."""

    def cut(self, number: int) -> Path:
        return self.folder / f"cut-0{number}" / "cut.safetensors"


OPTIMIZERS = {
    "adamw": ["--optim.weight_decay", "0.5", "--optim.clip_norm", "0.5", *HINTS],
    "sgd": ["--optim.name", "sgd", "--optim.lr", "0.1", "--optim.weight_decay", "0.01", "--ema", "0"],
}


@pytest.fixture(scope="module", params=OPTIMIZERS)
def chain(request: pytest.FixtureRequest, trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    made = Chain(tmp_path_factory.mktemp("chain"), OPTIMIZERS[request.param], [])
    real = Step.__call__

    def watched(step: Step, *place: object) -> object:
        known = zeros(made.cut(2 if made.cut(2).exists() else 1))
        found = real(step, *place)
        made.alive.append(alive(step.model.net, known))
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Step, "__call__", watched)
        prune(made.folder, trained, "--prune.kind", "unstructured", *made.options)
    return made


def zeros(path: Path) -> dict[str, Tensor]:
    """The weights of a saved network that are zero."""
    return Masks.of(artefact.load(path)[0]).state_dict()


def alive(net: nn.Module, known: dict[str, Tensor]) -> int:
    return sum(int(weight[known[name]].count_nonzero()) for name, weight in prunable(net).items())


def newest(run: Path) -> Path:
    return max(run.glob("checkpoints/*/state.safetensors"))


def tensors_of(path: Path) -> list[tuple[str, Tensor]]:
    """What a saved network or a checkpoint holds: the student, its average, the best, the optimizer's state."""
    checkpoint = path.name == "state.safetensors"
    return list((load_file(path) if checkpoint else artefact.load(path)[0].state_dict()).items())


def test_an_unstructured_budget_is_met_exactly(chain: Chain, trained: Path) -> None:
    dense = trained / "student" / "model.safetensors"
    count = artefact.read_card(dense).cost.parameters
    first, last = cubic_schedule(count, 500, 2)
    assert last == 500 < first < count
    assert [parsed(chain.cut(i).with_name("cut.json"))["nonzero"] for i in (1, 2)] == [first, last]
    entries = parsed(chain.folder / "ledger.json")
    assert [entry["parameters"] for entry in entries] == [count, count]
    assert 0.95 * first < entries[0]["nonzero"] <= first and 0.95 * last < entries[1]["nonzero"] <= last
    net, card = artefact.load(chain.folder / "model.safetensors")
    assert not card.pruned
    assert card.cost.nonzero == sum(int(p.count_nonzero()) for p in net.parameters()) == entries[1]["nonzero"]
    assert (chain.folder / "model.safetensors").stat().st_size < dense.stat().st_size - 1500


def test_the_file_and_its_copies_meet_the_budget(chain: Chain) -> None:
    net, card = artefact.load(chain.folder / "model.safetensors")
    for own in (net, copy.deepcopy(net)):
        masks = Masks.of(own)
        assert masks.free_entries(own) == 500
    plain = torchinfo.summary(net, input_size=(1, 1, 8, 8), verbose=0).total_params  # the control: zeros count there
    assert plain == card.cost.parameters > 1000


def test_nothing_that_was_cut_grows_back(chain: Chain) -> None:
    assert chain.alive == [0] * 12  # steps
    first, second = (zeros(chain.cut(i)) for i in (1, 2))
    assert all(bool((second[name] | ~zero).all()) for name, zero in first.items())  # what was cut stays cut
    run_1, run_2 = (chain.cut(i).parent for i in (1, 2))
    after_1 = [run_1 / "model.safetensors", newest(run_1), chain.cut(2)]
    after_2 = [run_2 / "model.safetensors", newest(run_2), chain.folder / "model.safetensors"]
    prefixes = ("student/net.", "best/") + (("ema/",) if "--ema" not in chain.options else ())
    for known, paths in ((first, after_1), (second, after_2)):
        for path in paths:
            held = dict(tensors_of(path))
            for prefix in prefixes if path.name == "state.safetensors" else ("",):
                assert not any(held[prefix + name][zero].any() for name, zero in known.items()), (path, prefix)


@pytest.mark.launcher
def test_weights_that_are_not_held_grow_back(whole: dict[str, Path], trained: Path, tmp_path: Path) -> None:
    """The control: the same training without keep_zeros."""
    cut = whole["unstructured"] / "cut-02" / "cut.safetensors"
    config = read(tmp_path, trained, "--prune.kind", "unstructured")
    training = config.after_cut(2, run_dir=str(tmp_path / "free"), student=str(cut))
    assert training.keep_zeros
    run_stage(replace(training, keep_zeros=False), "distill")
    assert alive(artefact.load(tmp_path / "free" / "model.safetensors")[0], zeros(cut)) > 500
    assert alive(artefact.load(whole["unstructured"] / "model.safetensors")[0], zeros(cut)) == 0


@pytest.mark.launcher
def test_a_network_that_was_cut_by_channels_can_be_cut_by_weights_then(
    whole: dict[str, Path], trained: Path, tmp_path: Path
) -> None:
    own = ["--student.name", str(whole["structured"] / "model.safetensors"), "--prune.budget.parameters", "300"]
    prune(tmp_path, trained, "--prune.kind", "unstructured", "--prune.steps", "1", *own)
    net, card = artefact.load(tmp_path / "model.safetensors")
    assert Masks.of(net).free_entries(net) == 300 and card.pruned and card.cost.parameters > 450


# ---- the architecture of a pruned file, trained anew


@pytest.mark.launcher
@pytest.mark.parametrize("stage", ["distill", "teacher"])
def test_a_cut_architecture_is_trained_from_scratch(
    whole: dict[str, Path], trained: Path, tmp_path: Path, stage: str
) -> None:
    pruned = whole["structured"] / "model.safetensors"
    kept, card = artefact.load(pruned)
    config = read(tmp_path, trained).after_cut(1, run_dir=str(tmp_path / "run"), student=str(pruned))
    anew = ModelSpec(name=str(pruned), from_scratch=True)
    if stage == "distill":
        run_stage(replace(config, student=anew), stage)
    else:
        shared = {name: getattr(config, name) for name in ("run_dir", "data", "epochs", "batch_size", "optim", "ema")}
        run_stage(TeacherConfig(**shared, model=anew), stage)
    net, own = artefact.load(tmp_path / "run" / "model.safetensors")
    assert shapes(net) == shapes(kept) and own.pruned and own.model == card.model and own.cost.macs == card.cost.macs
    assert not any(torch.equal(weight, dict(kept.named_parameters())[name]) for name, weight in prunable(net).items())
    assert parsed(tmp_path / "run" / "result.json")["parameters"] == card.cost.parameters


def shapes(net: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in net.state_dict().items()}


# ---- killed at every named point

PLAN = {"structured": "models.pruning.planner:plan_cut", "unstructured": "models.pruning.masks:Masks.plan"}
PLACES = [  # why, the call that is the last and its number, what is there then and what is not
    ("before the first cut", "PLAN", 1, "config.yaml", "cut-01/cut.safetensors"),
    ("in the first training", "train.step:Step.__call__", 3, "cut-01/checkpoints", "cut-01/done"),
    ("before the second cut", "PLAN", 1, "cut-01/done", "cut-02"),
    ("cut, not written", "models.artefact:save", 1, "ledger.json", "cut-02/cut.safetensors"),
    ("written, no momentum", "train.prune.chain:carry_over", 1, "cut-02/cut.safetensors", "cut-02/checkpoints"),
    ("no marker", "train.prune.chain:write_atomically", 1, "cut-02/checkpoints", "cut-02/cut.json"),
    ("cut, not measured", "train.prune.chain:evaluate", 1, "cut-02/cut.json", "cut-02/before.json"),
    ("in training", "train.step:Step.__call__", 3, "cut-02/before.json", "cut-02/done"),
    ("trained, not in the ledger", "train.prune.ledger:write", 2, "cut-02/done", "model.safetensors"),
    ("in the ledger, not handed over", "train.prune.chain:write_atomically", 1, "ledger.json", "model.safetensors"),
    ("before the marker", "train.prune.ledger:track", 1, "result.json", "done"),
]


@pytest.mark.launcher
@pytest.mark.parametrize("kind", KINDS)
def test_killed_at_every_point_in_turn_it_ends_with_the_same_bytes(
    whole: dict[str, Path], trained: Path, tmp_path: Path, kind: str
) -> None:
    folder = tmp_path / "run"
    for why, place, nth, there, not_there in PLACES:
        (ended,) = start(folder, trained, kind, prelude=forked.killed_at(place.replace("PLAN", PLAN[kind]), nth))
        assert ended.code == -signal.SIGKILL, f"{why}: {ended.stderr[-3000:]}"
        assert (folder / there).exists() and not (folder / not_there).exists(), why
    finish(folder, trained, kind)
    for name in ("model.safetensors", "ledger.json", "cut-01/model.safetensors", "cut-02/cut.safetensors"):
        assert (folder / name).read_bytes() == (whole[kind] / name).read_bytes(), name


@pytest.mark.launcher
@pytest.mark.parametrize("kind", KINDS)
def test_without_the_momentum_that_was_cut_along_the_bytes_differ(
    whole: dict[str, Path], trained: Path, tmp_path: Path, kind: str
) -> None:
    """The control: what a cut hands on matters, and the comparison above would notice."""
    folder = tmp_path / "run"
    shutil.copytree(whole[kind], folder)
    (folder / "done").unlink()
    made = ("cut.safetensors", "cut.json", "before.json")
    shutil.rmtree(folder / "cut-02")
    shutil.copytree(whole[kind] / "cut-02", folder / "cut-02", ignore=lambda _, names: [*{*names} - {*made}])
    finish(folder, trained, kind)
    assert artefact.sha256(folder / "model.safetensors") != artefact.sha256(whole[kind] / "model.safetensors")


# ---- several processes


@pytest.mark.launcher
@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_cut_alike(trained: Path, tmp_path: Path, kind: str) -> None:
    folder = finish(tmp_path / "run", trained, kind, processes=2)
    result = parsed(folder / "result.json")
    assert result["processes"] == 2 and result["cuts"] == 2
    net = artefact.load(folder / "model.safetensors")[0]
    assert 0.9 * 500 < Masks.of(net).free_entries(net) <= 500 and (kind == "structured" or result["nonzero"] > 450)


ANOTHER = """
import os
from models.pruning import surgery
real = surgery.architecture_hash
surgery.architecture_hash = lambda net: real(net) + "!" * int(os.environ["RANK"])
"""


@pytest.mark.launcher
def test_a_process_with_another_architecture_stops_all(trained: Path, tmp_path: Path) -> None:
    ended = start(tmp_path / "run", trained, "structured", prelude=ANOTHER, processes=2)
    assert [process.code for process in ended] == [66, 66]
    assert all("processes 1 hold another architecture than process 0" in process.stderr for process in ended)
    assert not (tmp_path / "run" / "cut-01" / "checkpoints").exists()


def test_processes_must_hold_one_architecture() -> None:
    guards.require_one_architecture(["a", "a", "a"])
    with pytest.raises(InputError, match="processes 1 hold another architecture"):
        guards.require_one_architecture(["a", "b", "a"])


def test_a_bad_file_under_test_is_found_before_the_first_cut(trained: Path, tmp_path: Path) -> None:
    """Only the last cut's training reads test. The way out is taken, before a cut and after one."""
    for split in ("train", "val", "test"):  # of ten images each
        for label in range(10):
            (tmp_path / "data" / split / str(label)).mkdir(parents=True)
            Image.new("L", (8, 8), 20 * label).save(tmp_path / "data" / split / str(label) / "0.png")
    (tmp_path / "data" / "test" / "7" / "1.png").write_bytes(b"no image")
    images = ["--data.source", "folder", "--data.root", str(tmp_path / "data"), "--distill.teacher_check", "0"]
    with pytest.raises(InputError, match=r"test/7/1\.png.*data\.bad_files: skip"):
        prune(tmp_path / "run", trained, *images)
    assert not list((tmp_path / "run").glob("cut-*"))
    with pytest.raises(StoppedError):
        prune(tmp_path / "run", trained, *images, "--test", "false", "--max_minutes", "1e-9")
    assert len(prune(tmp_path / "run", trained, *images, "--data.bad_files", "skip")) == 2
    assert parsed(tmp_path / "run" / "result.json")["accuracy_samples"] == 10


def test_a_chain_of_other_cuts_is_refused_from_the_first_cut_on(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(cutting.Chain, "_measure", raise_interrupt)  # just after the cut
        prune(tmp_path / "run", trained)
    with pytest.raises(InputError, match=r"prune\.budget\.parameters was 500, is now 400"):
        prune(tmp_path / "run", trained, "--prune.budget.parameters", "400")


def test_a_cut_of_another_file_is_refused_and_a_chain_may_be_named_otherwise(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(ledger, "write", interrupt_at(2))  # the second cut is trained
        prune(Path("run"), Path())
    made = tmp_path / "run" / "cut-01" / "model.safetensors"
    whole = made.read_bytes()
    shutil.copy(tmp_path / "student" / "model.safetensors", made)
    (tmp_path / "run" / "cut-02" / "done").unlink()
    with pytest.raises(InputError, match=r"cut-01/model\.safetensors is another file than the run has written"):
        prune(tmp_path / "run", tmp_path)
    result = made.with_name("result.json")
    known = result.read_text(encoding="utf-8")
    early = {key: value for key, value in json.loads(known).items() if key != "sha256"}
    result.write_text(json.dumps(early), encoding="utf-8")  # as runs of before left it
    with pytest.raises(InputError, match=r"cut 2 in .*run was made of another file than .*cut-01/model\.saf"):
        prune(tmp_path / "run", tmp_path)
    result.write_text(known, encoding="utf-8")
    made.write_bytes(whole)
    assert len(prune(tmp_path / "run", tmp_path)) == 2


def interrupt_at(number: int) -> Any:
    real, calls = ledger.write, []

    def write(*words: Any) -> None:
        calls.append(words)
        if len(calls) == number:
            raise KeyboardInterrupt
        real(*words)

    return write


def raise_interrupt(*_: object) -> None:
    raise KeyboardInterrupt
