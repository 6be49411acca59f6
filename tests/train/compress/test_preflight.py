"""A chain asks its later stages what they would refuse before it trains the first."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from configs import reader
from configs.errors import UsageError, UserError
from train.compress import preflight
from train.compress.config import CompressConfig

DIGITS = Path(__file__).parents[3] / "configs" / "digits" / "compress.yaml"
HINT = ["--student.distill.hint", "1", "--student.distill.layers"]


def read(folder: Path, *options: str) -> CompressConfig:
    words = ["--config", str(DIGITS), "--run_dir", str(folder), "--data.image_size", "[8, 8]", *options]
    return reader.read(CompressConfig, words, prog="x", description="x")


def test_a_chain_that_can_be_carried_out_passes_and_draws_nothing(tmp_path: Path) -> None:
    state = torch.get_rng_state()
    preflight.require_possible(read(tmp_path))
    preflight.require_possible(read(tmp_path, *HINT, "[[layer2, layer2]]"))
    preflight.require_possible(read(tmp_path, "--cut.prune.importance", "taylor"))
    preflight.require_possible(read(tmp_path, "--cut.prune.kind", "unstructured"))
    assert torch.equal(torch.get_rng_state(), state) and not list(tmp_path.iterdir())


REFUSED = [
    (["--student.model.name", "resnet_smal"], "did you mean resnet_small"),
    (["--cut.prune.budget.parameters", "10"], "the smallest that can be reached"),
    (["--cut.prune.budget.parameters", "10", "--cut.prune.kind", "unstructured"], "cannot be had"),
    (["--cut.prune.budget.parameters", "1000000"], "parameters"),
    (["--cut.prune.ignored_layers", "[layer9]"], "prune.ignored_layers names 'layer9'"),
    ([*HINT, "[[layer9, layer2]]"], "no layer 'layer9'"),
    ([*HINT, "[[layer2, layer8]]"], "no layer 'layer8'"),
]


@pytest.mark.parametrize(("options", "message"), REFUSED, ids=[" ".join(options[-2:]) for options, _ in REFUSED])
def test_what_a_later_stage_would_refuse_is_refused_at_once(tmp_path: Path, options: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        preflight.require_possible(read(tmp_path, *options))


def test_a_student_that_is_in_training_was_possible(tmp_path: Path) -> None:
    impossible = read(tmp_path, "--cut.prune.budget.parameters", "10")
    (tmp_path / "student" / "checkpoints" / "step-00000001").mkdir(parents=True)
    preflight.require_possible(impossible)
    with pytest.raises(UsageError):  # the control
        preflight.require_possible(read(tmp_path / "new", "--cut.prune.budget.parameters", "10"))
