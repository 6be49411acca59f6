"""A teacher whose weights or logits are not finite is refused by its file, before anything is trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from torch import nn

import tiny_digits
from configs import reader
from configs.errors import InputError
from models import artefact_file, counting
from models.artefact import Card, Score
from train.adopt.config import TEACHER
from train.processes import make_accelerator
from train.prune import chain
from train.prune.config import PruneConfig
from train.run_folder import status

Sick = Callable[[nn.Module], None]


def put(value: float) -> Sick:
    def sicken(net: nn.Module) -> None:
        net.layer2[0].conv1.weight.data[0, 0, 0, 0] = value

    return sicken


def overflow(net: nn.Module) -> None:
    """Each weight is finite, and every logit of the first class is not."""
    net.fc.weight.data[0] = 3e38


SICK = {"nan weight": put(float("nan")), "infinite weight": put(float("inf")), "logits": overflow}


def write(path: Path, sicken: Sick | None, *, recorded: bool = False) -> Path:
    """A teacher's file, around the check of its writer."""
    net, spec = tiny_digits.network(0)
    if sicken is not None:
        sicken(net)
    scores = {"validation": Score(correct=1, total=10)} if recorded else {}
    card = Card(
        model=spec, classes=tiny_digits.CLASSES, input_CHW=(1, 8, 8), mean=(0.5,), std=(0.5,), eval_crop=1.0,
        cost=counting.measure(net, (1, 8, 8)), scores=scores,
    )  # fmt: skip
    path.write_bytes(artefact_file.compose(asdict(card), dict(net.state_dict())))
    return path


@pytest.mark.parametrize("sicken", SICK.values(), ids=SICK)
@pytest.mark.parametrize("recorded", [False, True], ids=["no score", "a score"])
def test_it_is_refused_online_and_where_its_logits_are_cached(tmp_path, sicken, recorded):
    write(tmp_path / "teacher.safetensors", sicken, recorded=recorded)
    for what in (
        lambda: tiny_digits.train(tmp_path, "online"),
        lambda: tiny_digits.train(tmp_path, "through", "--distill.teacher_logits", "write_through"),
        lambda: tiny_digits.fill(tmp_path),
    ):
        with pytest.raises(InputError, match=r"teacher\.safetensors: .*(has|are) NaN or infinite"):
            what()
    for run in ("online", "through"):
        assert status.read(tmp_path / run)["exit_code"] == 66
        assert not list((tmp_path / run / "checkpoints").glob("step-*"))
    assert not (tmp_path / "cache").exists()


def test_the_control_is_trained_and_a_sick_one_is_refused_with_its_own_cache(tmp_path):
    path = write(tmp_path / "teacher.safetensors", None)
    tiny_digits.fill(tmp_path)
    assert (tiny_digits.train(tmp_path, "cached", *tiny_digits.CACHED) / "done").exists()
    write(path, overflow)
    with pytest.raises(InputError, match=r"teacher\.safetensors: its logits are NaN or infinite"):
        tiny_digits.train(tmp_path, "sick", *tiny_digits.CACHED)


def test_without_a_check_the_teacher_and_not_the_learning_rate_is_to_blame(tmp_path):
    write(tmp_path / "teacher.safetensors", overflow)
    with pytest.raises(InputError, match=r"teacher\.safetensors: its logits became NaN or infinite between steps 0 an"):
        tiny_digits.train(tmp_path, "run", "--distill.teacher_check", "0")
    assert not list((tmp_path / "run" / "checkpoints").glob("step-*"))


@pytest.mark.parametrize("sicken", SICK.values(), ids=SICK)
def test_one_from_elsewhere_is_refused_by_the_name_that_was_typed(tmp_path, sicken):
    net, _ = tiny_digits.network(0)
    sicken(net)
    torch.save(net.state_dict(), tmp_path / "theirs.pth")
    with pytest.raises(InputError, match=r"theirs\.pth: .*(has|are) NaN or infinite"):
        tiny_digits.train(tmp_path, "run", "--teacher", str(tmp_path / "theirs.pth"))
    measured = tmp_path / "run" / TEACHER
    assert measured.exists() is (sicken is overflow)  # the weights alone are judged before it is written


@pytest.mark.parametrize("sicken", [SICK["nan weight"], SICK["logits"]], ids=["nan weight", "logits"])
def test_a_chain_of_cuts_refuses_it_too(tmp_path, sicken):
    teacher, student = tmp_path / "teacher.safetensors", tmp_path / "student.safetensors"
    write(teacher, sicken)
    tiny_digits.save(student, seed=1)
    words = [
        *("--config", str(tiny_digits.DIGITS / "prune.yaml"), "--student.name", str(student), *tiny_digits.SMALL_DATA),
        *("--teacher", str(teacher), "--run_dir", str(tmp_path / "cut"), "--test", "false", "--epochs", "1"),
        *("--prune.steps", "1", "--prune.budget.parameters", "900"),
    ]
    with pytest.raises(InputError, match=r"teacher\.safetensors: .*(has|are) NaN or infinite"):
        chain.carry_out_chain(reader.read(PruneConfig, words, prog="x", description="x"), make_accelerator("float32"))
    assert not list((tmp_path / "cut").glob("cut-*/checkpoints/step-*"))
