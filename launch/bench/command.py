"""Throughput of loaders and training steps, as ratios measured in one run, and what large data sets cost:

python -m launch.bench loader --config configs/food11/distill.yaml --data.root data/food11
python -m launch.bench step --config configs/food11/distill.yaml --data.root data/food11
python -m launch.bench teacher --config configs/digits/distill.yaml --teacher runs/digits/teacher/model.safetensors
python -m launch.bench scale --images 100000 --folder /scratch
python -m launch.bench gpu --output docs/gpu.md

loader: images per second of the executors, of the usual torchvision pipelines, of DALI and of decoding alone.
step: a training step fed by the loader, against the same step on one batch again and again.
teacher: a training step without a teacher, with its logits from a cache, and with the teacher itself.
scale: what a generated data set of many files costs before the first step and in each epoch, and in memory.
gpu: everything that is to be tried on a machine with a GPU, in 25 minutes; the figures go into a document.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import pairwise
from typing import TypeVar

from rich.progress import BarColumn, Progress, TextColumn

from configs import reader, yaml_text
from configs.errors import UsageError
from configs.tables import PlainConsole
from launch.bench.config import DistillStepConfig, LoaderConfig, ScaleConfig, StepConfig, TeacherStepConfig
from launch.bench.gpu import command as gpu
from launch.bench.gpu.config import GpuConfig

PROG = "python -m launch.bench"
HELP = f"""usage: {PROG} loader|step|teacher|scale|gpu [--config FILE ...] [--json] [--key value ...]

{__doc__}
{PROG} loader --help lists the keys, and so do step, teacher, scale and gpu.
--json prints one JSON object and nothing else.
"""
C = TypeVar("C")


def main() -> None:
    """Read the config, then measure and print."""
    word, *words = sys.argv[1:] or ["--help"]
    if word in ("-h", "--help"):
        sys.stdout.write(HELP)
        return
    words = with_value("--json", words)
    if word == "loader":
        timing = _read(LoaderConfig, words, "loader", "Images per second of every way to load them.")
        from launch.bench import loader  # torch is loaded only for a config that holds

        with Shown() as shown:
            report = loader.run(timing, shown)
        report.write(as_json=timing.json)
    elif word == "step":
        training = _read(step_class(words), words, "step", "A training step with its loader and without.")
        from launch.bench import step

        with Shown() as shown:
            report = step.run(training, shown)
        report.write(as_json=training.json)
    elif word == "teacher":
        taught = _read(DistillStepConfig, words, "teacher", "A training step without a teacher, with one, and cached.")
        from launch.bench import teacher

        with Shown() as shown:
            report = teacher.run(taught, shown)
        report.write(as_json=taught.json)
    elif word == "scale":
        sized = _read(ScaleConfig, words, "scale", "What a data set of many files costs.")
        from launch.bench.scale import measurement

        with Shown() as shown:
            sizes = measurement.run(sized, shown)
        sizes.write(as_json=sized.json)
    elif word == "gpu":
        gpu.run(_read(GpuConfig, words, "gpu", "All that is to be tried on a machine with a GPU."))
    else:
        raise UsageError(f"unknown word {word}; expected {PROG} loader, step, teacher, scale or gpu")


def _read(cls: type[C], words: Sequence[str], word: str, description: str) -> C:
    # A step has all keys of a training config; loading needs few of them.
    others = cls is LoaderConfig
    return reader.read(cls, words, prog=f"{PROG} {word}", description=description, other_sections=others)


def with_value(flag: str, words: Sequence[str]) -> list[str]:
    """`flag` alone means `flag=true`."""
    pairs = pairwise([*words, "--"])
    return [f"{flag}=true" if word == flag and after.startswith("--") else word for word, after in pairs]


def step_class(words: Sequence[str]) -> type[StepConfig]:
    """The kind of config: a teacher's has the section `model`, a distillation's has `student`."""
    flags = [part for word in words for part in word.split("=", 1)]
    files = [value for flag, value in pairwise(flags) if flag == "--config"]
    keys = {entry.key for path in files for entry in yaml_text.entries(yaml_text.load(path), set(), path)}
    keys |= {flag.removeprefix("--") for flag in flags if flag.startswith("--")}
    return TeacherStepConfig if any(key.split(".")[0] == "model" for key in keys) else DistillStepConfig


class Shown:
    """The current measurement: a line on a terminal, nothing elsewhere."""

    def __init__(self) -> None:
        console = PlainConsole(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn())
        self._progress = Progress(*columns, console=console, disable=not console.is_terminal, transient=True)
        self._task = self._progress.add_task("preparing", total=None)

    def __enter__(self) -> Shown:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def __call__(self, text: str) -> None:
        self._progress.update(self._task, description=text)
