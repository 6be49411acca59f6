"""Which sessions see GPUs, and that processes started by a test see none either."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import hidden_gpus


@pytest.mark.parametrize("marks", ["gpu", "gpu and not slow", "slow or gpu", "(gpu)", "not gpu or gpu"])
def test_a_session_that_asks_for_tests_of_gpus_sees_them(marks):
    assert hidden_gpus.wanted(marks)


@pytest.mark.parametrize("marks", ["", "not slow", "not gpu", "not slow and not  gpu", "slow", "gpus"])
def test_any_other_session_does_not(marks):
    assert not hidden_gpus.wanted(marks)


def test_neither_this_process_nor_one_that_it_starts_sees_a_gpu():
    assert {name: os.environ.get(name) for name in hidden_gpus.HIDDEN} == hidden_gpus.HIDDEN
    assert not torch.cuda.is_available()
    code = "import os; print(os.environ['CUDA_VISIBLE_DEVICES'] == '' and os.environ['ACCELERATE_USE_CPU'])"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert child.stdout.strip() == "true"


def seen(marks: str) -> str:
    """CUDA_VISIBLE_DEVICES of a session with these marks that is begun where 0,1 are visible."""
    code = (
        "import os, sys; os.environ['CUDA_VISIBLE_DEVICES'] = '0,1'\n"
        "import conftest; from types import SimpleNamespace as Named\n"
        f"conftest.pytest_configure(Named(option=Named(markexpr={marks!r})))\n"
        "assert 'torch' not in sys.modules; print(os.environ['CUDA_VISIBLE_DEVICES'])"
    )
    place = {"cwd": Path(__file__).parent, "env": os.environ | {"PYTHONPATH": ""}}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, **place).stdout


def test_gpus_are_hidden_before_torch_is_imported():
    assert seen("not slow") == "\n"
    assert seen("gpu") == "0,1\n"  # negative control
