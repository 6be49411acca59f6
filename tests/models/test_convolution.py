"""Gradients of convolutions in channels_last on a CPU, on each instruction set, in a process of their own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
INSTRUCTION_SETS = ["DEFAULT", "AVX2"]

SWEEP = """
import itertools, sys
import torch
from torch.nn import functional as F
from models.convolution import make_backward_safe

if "safe" in sys.argv[1:]:
    make_backward_safe()
generator = torch.Generator().manual_seed(0)

def gradients(image, weight, bias, direction, stride, groups):
    leaves = [t.clone(memory_format=torch.preserve_format).requires_grad_() for t in (image, weight, bias)]
    F.conv2d(*leaves, stride=stride, padding=weight.shape[-1] // 2, groups=groups).backward(direction)
    return [leaf.grad for leaf in leaves]

def check(channels, outputs, side, kernel, stride, dtype, groups=1, images=16):
    exact = (
        torch.randn(images, channels, side, side + 1, generator=generator, dtype=torch.float64),
        torch.randn(outputs, channels // groups, kernel, kernel, generator=generator, dtype=torch.float64),
        torch.randn(outputs, generator=generator, dtype=torch.float64),
    )
    exact = tuple(t.to(dtype).double() for t in exact)
    shape = F.conv2d(*exact, stride=stride, padding=kernel // 2, groups=groups).shape
    direction = torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype).double()
    image, weight, given = (t.to(dtype).to(memory_format=torch.channels_last) for t in (*exact[:2], direction))
    found = gradients(image, weight, exact[2].to(dtype), given, stride, groups)
    wanted = gradients(*exact, direction, stride, groups)
    error = max(float((a.double() - b).norm() / b.norm()) for a, b in zip(found, wanted, strict=True))
    bound = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 3e-2}[dtype]
    assert error < bound, (channels, outputs, side, kernel, stride, dtype, groups, error)

dtypes = (torch.float32, torch.bfloat16, torch.float64)
# The largest first: what overruns then leaves the memory that the process has.
for channels in (8, 12, 15):
    image = torch.randn(32, channels, 128, 128).to(memory_format=torch.channels_last)
    weight = torch.randn(16, channels, 1, 1).to(memory_format=torch.channels_last).requires_grad_()
    F.conv2d(image, weight, stride=2).sum().backward()
for dtype, channels in itertools.product(dtypes[:2], (8, 4, 12, 15)):
    check(channels, 16, 128, 1, 2, dtype, images=2)
    check(2 * channels, 16, 64, 1, 2, dtype, groups=2, images=2)
    check(channels, channels, 32, 3, 2, dtype, groups=channels, images=4)
for dtype, channels, stride in itertools.product(dtypes, (1, 2, 3, 4, 6, 7, 8, 9, 12, 15, 16, 17), (2, 3, (1, 2))):
    for side, outputs in ((7, 19), (16, 8), (33, 8)):
        check(channels, outputs, side, 1, stride, dtype)
    check(channels, 8, 16, 3, stride, dtype)
print("finished")
"""


def run(code: str, *words: str, isa: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": isa, "PYTHONPATH": str(ROOT), **variables}
    words = (sys.executable, "-c", code, *words)
    return subprocess.run(words, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.launcher
@pytest.mark.parametrize("isa", INSTRUCTION_SETS)
def test_gradients_are_those_of_float64_for_all_channels_sizes_strides_and_types(isa):
    done = run(SWEEP, "safe", isa=isa)
    assert done.returncode == 0 and "finished" in done.stdout, (done.returncode, done.stderr[-2000:])


ONE = """
import torch

conv = torch.nn.Conv2d(16, 8, 1, stride=2).to(memory_format=torch.channels_last)  # enough channels to overrun nothing
conv(torch.randn(16, 16, 64, 64).to(memory_format=torch.channels_last)).sum().backward()
"""
PLAIN = ""
SAFE = "from models.convolution import make_backward_safe\nmake_backward_safe()\n"
COMMAND = "from train.processes import make_accelerator\nmake_accelerator('float32')\n"


@pytest.mark.parametrize(("begin", "overruns"), [(PLAIN, True), (SAFE, False), (COMMAND, False)])
def test_onednn_is_never_asked_for_the_weight_gradient_of_a_strided_1x1_convolution(begin, overruns):
    done = run(begin + ONE, isa="DEFAULT", ONEDNN_VERBOSE="1")
    assert done.returncode == 0, done.stderr
    asked = [line for line in done.stdout.splitlines() if "convolution" in line and "backward_weights" in line]
    if not asked:
        pytest.skip("oneDNN computes no convolutions here")
    assert any("kh1sh2" in line for line in asked) is overruns
