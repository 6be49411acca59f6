"""A run that is killed and resumed against one that is not: the same bits, or how far from them."""

from __future__ import annotations

import time
from pathlib import Path

import torch
from safetensors.torch import load_file

from configs.schema import schema
from launch.bench.gpu.child import last_line
from launch.bench.gpu.config import PartConfig
from launch.bench.gpu.parts import recipes
from launch.bench.gpu.result import Cell, Result, Table
from train.config import TeacherConfig
from train.run_folder import result

PLAIN = ["--test", "false", "--track.pictures", "false"]
LENGTH = ["--epochs", "3", "--checkpoint_steps", "40", "--ema", "0.99", *PLAIN]
SHORT = ["--epochs", "3", "--checkpoint_steps", "6", "--ema", "0.9", *PLAIN]
SECOND_EPOCH, FEW_STEPS = 480, 20
"""Steps that a run has saved when it is killed: it is then in its second epoch."""
PAUSE = 0.01  # seconds between two looks at the checkpoints
COLUMNS = (
    "settings", "against a whole run", "same bits", "tensors that differ", "of", "largest difference",
    "accuracy, points",
)  # fmt: skip


def run(config: PartConfig, name: str) -> Result:
    """Compare with the usual settings, and with `deterministic: true` where there is such a key."""
    key = deterministic_key()
    settings: dict[str, list[str]] = {"as configured": []} | ({f"{key} true": [f"--{key}", "true"]} if key else {})
    rows: list[list[Cell]] = []
    notes, faults = [f"{recipes.arrays(config).words}; train.teacher, 3 epochs, with a moving average"], []
    for number, (label, options) in enumerate(settings.items()):
        own, killed = compared(config, config.folder / f"{name}-{number}", options)
        rows += [[label, *row] for row in own]
        notes.append(f"{label}: killed when its newest checkpoint was {killed}")
        strict = config.small or bool(options)
        faults += [f"{label}, {row[0]}: other bits than those of a whole run" for row in own if strict and not row[1]]
    left_out = {} if key else {"deterministic": "no key of the config has this name"}
    table = Table.of("Weights after the last epoch", COLUMNS, rows)
    return Result(tables=[table], notes=notes, faults=faults, left_out=left_out)


def deterministic_key() -> str | None:
    """The key that asks for the same bits on a GPU."""
    keys = [option.key for option in schema(TeacherConfig).options()]
    return next((key for key in keys if key.rpartition(".")[2] == "deterministic"), None)


def compared(config: PartConfig, folder: Path, options: list[str]) -> tuple[list[list[Cell]], str]:
    """A second whole run, and one that was killed and resumed, against the first; and the checkpoint at the kill.

    RuntimeError: a run failed.
    """
    words = [*recipes.arrays(config).teaching, *(SHORT if config.small else LENGTH), *options]
    runs = {name: folder / name for name in ("whole", "again", "killed")}
    lines = {name: [*words, "--run_dir", str(run)] for name, run in runs.items()}
    folder.mkdir(parents=True)
    least = FEW_STEPS if config.small else SECOND_EPOCH
    killed = kill(lines["killed"], runs["killed"], folder / "killed-1.log", least)
    for name, line in lines.items():
        recipes.train("train.teacher", line, folder / f"{name}.log")
    what = {"again": "another whole run", "killed": "killed and resumed"}
    return [[text, *difference(runs["whole"], runs[name])] for name, text in what.items()], killed


def kill(words: list[str], run: Path, log: Path, least: int) -> str:
    """Start a run, kill it once it has a checkpoint of `least` steps or more; the newest one's name.

    RuntimeError: it ended before.
    """
    with log.open("wb") as file:
        process = recipes.start("train.teacher", words, file)
        try:
            while process.poll() is None:
                newest = max((path.name for path in (run / "checkpoints").glob("step-*")), default="step-0")
                if int(newest.removeprefix("step-")) >= least:
                    return newest
                time.sleep(PAUSE)
        finally:
            process.kill()
            process.wait()
    raise RuntimeError(f"the run ended with exit code {process.returncode} before it was killed: {last_line(log)}")


def difference(whole: Path, other: Path) -> list[Cell]:
    """Whether the weights are the same bits, how many tensors are not, of how many, how far, and in accuracy."""
    ours, theirs = (load_file(folder / "model.safetensors") for folder in (whole, other))
    assert ours.keys() == theirs.keys()
    far = [name for name in ours if not torch.equal(ours[name], theirs[name])]
    largest = max((float((ours[name].double() - theirs[name].double()).abs().max()) for name in far), default=0.0)
    scores = [result.read(folder)["validation_accuracy"] for folder in (whole, other)]
    return [not far, len(far), len(ours), largest, 100 * (scores[1] - scores[0])]
