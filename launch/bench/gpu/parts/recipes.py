"""The configs that the parts measure, as words of a command line, and training commands as a user starts them."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from launch.bench.gpu.child import ROOT, last_line, python
from launch.bench.gpu.config import PartConfig
from launch.bench.gpu.parts import material

WITHOUT_TEACHER = ["--distill.alpha", "0", "--distill.hint", "0", "--distill.layers", "[]", "--teacher", "null"]
LOGITS_ALONE = ["--distill.hint", "0", "--distill.layers", "[]"]
FEW_PIXELS = ["--data.image_size", "32", "--data.threads", "1"]
LIVE = ["--views", "null", "--distill.teacher_logits", "online", "--distill.cache", "null"]
SMALL_BATCH = ["--batch_size", "32"]
UNCHECKED = ["--distill.teacher_check", "0"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """A data set, and the words that train on it."""

    words: str
    """The images in words."""
    loading: list[str]
    """For `launch.bench loader`."""
    distilling: list[str]
    """For `train.distill` and `launch.bench step`; without a teacher's file and what needs one."""
    teaching: list[str]
    """For `train.teacher`."""


def photographs(config: PartConfig) -> Recipe:
    """The Food-11 recipe; small: at 32 x 32 pixels, with small batches and a small teacher."""
    found = material.photographs(config)
    files = {name: str(ROOT / "configs" / "food11" / f"{name}.yaml") for name in ("distill", "teacher")}
    shared = ["--data.root", str(found.root), *(FEW_PIXELS if config.small else [])]
    batch = ["--batch_size", "16"] if config.small else []
    tiny = [*batch, *_tiny("model"), "--optim.warmup_epochs", "0"] if config.small else []
    student = _tiny("student") if config.small else []
    return Recipe(
        words=found.words,
        loading=["--config", files["distill"], *shared, *batch],
        distilling=["--config", files["distill"], *shared, *batch, *student, *UNCHECKED],
        teaching=["--config", files["teacher"], *shared, "--data.eval_crop", "0.875", *tiny],
    )


def arrays(config: PartConfig) -> Recipe:
    """The Fashion-MNIST recipe; small: small networks and batches."""
    found = material.arrays(config)
    files = {name: str(ROOT / "configs" / "fashion_mnist" / f"{name}.yaml") for name in ("distill", "teacher")}
    shared = ["--data.root", str(found.root), *(["--data.threads", "1"] if config.small else [])]
    small = [*SMALL_BATCH, *_tiny("student")] if config.small else []
    tiny = [*SMALL_BATCH, *_tiny("model"), "--optim.warmup_epochs", "0.2"] if config.small else []
    return Recipe(
        words=found.words,
        loading=["--config", files["distill"], *shared],
        distilling=["--config", files["distill"], *shared, *small, *LIVE, *UNCHECKED],
        teaching=["--config", files["teacher"], *shared, *tiny],
    )


def _tiny(key: str) -> list[str]:
    """A network that takes milliseconds on a CPU."""
    return [f"--{key}.name", "resnet_small", f"--{key}.depth", "8", f"--{key}.widths", "[4, 4, 8]"]


def teacher(config: PartConfig) -> str:
    """The file of a teacher of the photographs, trained for one epoch unless a part before this one has done it.

    RuntimeError: its training failed.
    """
    run = config.folder / "teacher"
    if not (run / "done").exists():
        words = [*photographs(config).teaching, "--epochs", "1", "--test", "false", "--run_dir", str(run)]
        train("train.teacher", words, run.with_name("teacher.log"))
    return str(run / "model.safetensors")


def train(module: str, words: list[str], log: Path) -> None:
    """Run a training command to its end, its output in a file. RuntimeError: it failed; the last line is named."""
    with log.open("wb") as file:
        code = start(module, words, file).wait()
    if code != 0:
        sys.stdout.write(log.read_text(encoding="utf-8", errors="replace"))
        raise RuntimeError(f"{module} ended with exit code {code}: {last_line(log)}")


def start(module: str, words: list[str], output: IO[bytes] | int) -> subprocess.Popen[bytes]:
    """Start a training command as a user does, both of its outputs into one file or pipe."""
    line, variables = python(module, *words), dict(os.environ)
    return subprocess.Popen(line, cwd=ROOT, env=variables, stdout=output, stderr=subprocess.STDOUT)
