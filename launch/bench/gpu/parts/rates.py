"""Training commands as a user starts them, and the time between the ends of their epochs."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from dataclasses import dataclass

from launch.bench.gpu.config import PartConfig
from launch.bench.gpu.parts import recipes
from launch.bench.gpu.result import Cell, Result, Table

EPOCH = re.compile(r"\bepoch \d+/\d+\b.*\bvalidation\b")
IMAGES = re.compile(r"([\d,]+) train, [\d,]+ validation")
COLUMNS = (
    "command", "images", "epochs", "images/s, end to end", "s per epoch", "shortest", "longest",
    "s to the first epoch's end",
)  # fmt: skip
FOOD11, FOOD11_EPOCHS = 9_866, 600
"""Training images of Food-11, and the epochs of the recipe."""
BF16 = ["--precision", "bf16"]


@dataclass(frozen=True, slots=True)
class Watched:
    """Times of a run, in seconds from its start."""

    images: int
    """Of the training split."""
    ends: list[float]
    """Ends of its epochs."""

    @property
    def epochs(self) -> list[float]:
        """Seconds of each epoch but the first, which holds the start."""
        return [after - before for before, after in zip(self.ends, self.ends[1:], strict=False)]

    @property
    def rate(self) -> float:
        """Training images per second of wall time."""
        return self.images * len(self.epochs) / sum(self.epochs)


def run(config: PartConfig, name: str) -> Result:
    """Watch each command."""
    rows: list[list[Cell]] = []
    cached = None
    for number, (label, words) in enumerate(commands(config).items()):
        found = watch([*words, "--test", "false", "--run_dir", str(config.folder / f"{name}-{number}")])
        times = found.epochs
        rows.append([label, found.images, len(found.ends), found.rate, sum(times) / len(times), min(times), max(times)])
        rows[-1].append(found.ends[0])
        cached = found.rate if "from disk" in label else cached
    notes = [recipes.photographs(config).words, recipes.arrays(config).words]
    if cached is not None and not config.small:
        minutes = FOOD11_EPOCHS * FOOD11 / cached / 60
        notes.append(f"{FOOD11_EPOCHS} epochs of {FOOD11:,} photographs at the last rate from disk: {minutes:.1f} min")
    return Result(tables=[Table.of("Rates", COLUMNS, rows)], notes=notes)


def commands(config: PartConfig) -> dict[str, list[str]]:
    """Words of train.distill by what they are."""
    small, arrays, photographs = config.small, recipes.arrays(config), recipes.photographs(config)
    alone = [*arrays.distilling, *recipes.WITHOUT_TEACHER, "--epochs", "2" if small else "10"]
    taught = [*photographs.distilling, "--teacher", recipes.teacher(config), "--epochs", "2" if small else "6"]
    taught += recipes.LOGITS_ALONE if small else []
    disk = [*photographs.distilling, *recipes.LOGITS_ALONE, "--teacher", recipes.teacher(config), "--views", "1"]
    disk += ["--distill.teacher_logits", "write_through", "--distill.cache", str(config.folder / "logits")]
    disk += ["--patience", "0", "--epochs", "2" if small else "30"]
    found = {"small images, labels alone": alone, "photographs, with the teacher": taught}
    found["photographs, the teacher's logits from disk"] = disk
    if small:
        return found
    found["small images, labels alone, without CUDA graphs"] = [*alone, "--cuda_graphs", "never"]
    return found | {f"{label}, bf16": [*words, *BF16] for label, words in found.items() if words is not disk}


def watch(words: list[str]) -> Watched:
    """Run train.distill, and note when it says that an epoch is over. RuntimeError: it failed, or said too little."""
    begun = time.monotonic()
    images, ends, line = 0, [], ""
    with recipes.start("train.distill", words, subprocess.PIPE) as process:
        assert process.stdout is not None
        for line in (raw.decode(errors="replace") for raw in process.stdout):
            sys.stdout.write(line)
            if said := IMAGES.search(line):
                images = int(said[1].replace(",", ""))
            if EPOCH.search(line):
                ends.append(time.monotonic() - begun)
    if process.returncode != 0 or not images or len(ends) < 2:
        raise RuntimeError(f"train.distill ended with exit code {process.returncode}: {line.strip()}")
    return Watched(images, ends)
