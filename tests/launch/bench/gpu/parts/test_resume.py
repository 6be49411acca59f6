"""A run that is killed and resumed, and what is said of one that ends with other bits."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from gpu_parts import column, small
from launch.bench.gpu.parts import rates, recipes, resume

TITLE = "Weights after the last epoch"
QUICK = "import pathlib, sys\n(pathlib.Path(sys.argv[-1]) / 'checkpoints' / 'step-00000005').mkdir(parents=True)\n"


def test_a_killed_run_ends_with_the_bits_of_a_whole_one(tmp_path, forked_training, monkeypatch):
    monkeypatch.setattr(resume, "deterministic_key", lambda: None)
    found = resume.run(small(tmp_path), "resume")
    assert column(found, TITLE, "same bits") == [True, True] and not found.faults
    assert column(found, TITLE, "largest difference") == [0, 0] and "deterministic" in found.left_out
    killed = tmp_path / "resume-0" / "killed.log"
    assert "resumed at epoch 2, step" in killed.read_text()
    # The lines that the part `rates` looks for are those that a run prints.
    lines = (tmp_path / "resume-0" / "whole.log").read_text().splitlines()
    assert sum(bool(rates.EPOCH.search(line)) for line in lines) == 3
    assert [rates.IMAGES.search(line)[1] for line in lines if rates.IMAGES.search(line)] == ["574"]
    other_weights(tmp_path / "resume-0")


def other_weights(folder: Path) -> None:
    """The control: one bit of one weight, and another accuracy."""
    file = folder / "again" / "model.safetensors"
    tensors = load_file(file)
    name = next(name for name, tensor in tensors.items() if tensor.is_floating_point())
    tensors[name].view(torch.int32).view(-1)[0] ^= 1
    save_file(tensors, file)
    same, different, total, largest, points = resume.difference(folder / "whole", folder / "again")
    assert (same, different, total, points) == (False, 1, len(tensors), 0) and 0 < largest < 1e-6


@pytest.mark.parametrize(("key", "strict"), [(None, 2), ("deterministic", 4)])
def test_other_bits_are_a_fault_where_the_same_are_promised(tmp_path, monkeypatch, key, strict):
    rows = [["another whole run", False, 1, 56, 1e-7, 0.0], ["killed and resumed", False, 1, 56, 1e-7, 0.0]]
    monkeypatch.setattr(resume, "compared", lambda *_: (rows, "step-00000045"))
    monkeypatch.setattr(resume, "deterministic_key", lambda: key)
    found = resume.run(small(tmp_path), "resume")
    assert len(found.faults) == strict and len(found.tables[0].rows) == (4 if key else 2)
    assert found.faults[-1].endswith("killed and resumed: other bits than those of a whole run")


def test_a_run_that_ends_before_it_is_killed_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(recipes, "python", lambda _, *words: [sys.executable, "-S", "-c", QUICK, *words])
    with pytest.raises(RuntimeError, match="ended with exit code 0 before it was killed"):
        resume.kill([str(tmp_path / "run")], tmp_path / "run", tmp_path / "log", 45)


def test_the_key_is_found_wherever_it_is():
    key = resume.deterministic_key()
    assert key is None or key.rpartition(".")[2] == "deterministic"
