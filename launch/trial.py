"""A trial of a wandb sweep: what the sweep's command starts, python -m launch.trial train.distill --config FILE ${args}

Each trial has its own run folder, runs/sweeps/SWEEP/runs/ID or RUN_DIR/runs/ID, whose ID is a hash of the overrides.
After a preemption wandb queues the trial again with the same parameters, so that the next agent resumes it. A finished
trial is not trained again; its result is reported. launch.run trains it on all GPUs that this agent sees.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from configs import reader, yaml_text
from configs.arguments import last_value
from configs.errors import InputError, UsageError
from configs.files import write_atomically
from configs.shown import printable
from launch import commands
from launch.points.grid import Point
from train.run_folder import result

AGENT = "HEARTCUT_AGENT"
"""Environment variable with the agent's folder, in which the trial writes the path of its own."""
NOTE = "trial"
INIT_SECONDS = 30  # for wandb's server to answer


def main(argv: Sequence[str] | None = None) -> None:
    """Replace this process by the training. UsageError: no agent started it."""
    command, *words = list(sys.argv[1:] if argv is None else argv) or [""]
    commands.find(command, commands.SWEPT)
    sweep = os.environ.get("WANDB_SWEEP_ID")
    parameters = os.environ.get("WANDB_SWEEP_PARAM_PATH")
    if not sweep or not parameters:
        raise UsageError("launch.trial is what an agent starts: launch.sweep FILE; by hand, launch.run does the same")
    point = read_point(Path(parameters))
    folder = sweep_folder(words, sweep) / "runs" / point.id
    write_atomically(folder / "overrides.json", json.dumps(dict(point.overrides), indent=2) + "\n")
    if agent := os.environ.get(AGENT):
        write_atomically(Path(agent) / NOTE, str(folder.absolute()))
    if (folder / "done").exists():
        report(folder)
        return
    own = [f"--run_dir={folder}", "--track.wandb=online"]
    started = [sys.executable, "-m", "launch.run", command, *words, *own]
    os.execv(started[0], started)


def sweep_folder(words: Sequence[str], sweep: str) -> Path:
    """The folder of all trials: the last --run_dir, or runs/sweeps/SWEEP."""
    return Path(last_value(words, "--run_dir") or f"runs/sweeps/{sweep}")


def read_point(path: Path) -> Point:
    """The parameters that an agent passes to a trial; ids are those of launch.submit."""
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
        values = {key: entry["value"] for key, entry in found.items() if not key.startswith(("_", "wandb_version"))}
    except (OSError, ValueError, yaml.YAMLError, AttributeError, KeyError, TypeError) as error:
        raise InputError(f"{path} does not hold the parameters of a trial: {error}") from error
    return Point.of({key: _as_read(value) for key, value in values.items()})


def report(folder: Path) -> None:
    """Report the result of a finished run to wandb."""
    import wandb

    reached = result.read(folder)
    print(printable(f"{folder} is done already; its result is reported"))
    try:
        with wandb.init(dir=folder.absolute(), settings=wandb.Settings(init_timeout=INIT_SECONDS)) as run:
            run.summary.update(reached)
    except wandb.Error as error:
        print(f"wandb: {error}; its result is in {folder / 'result.json'}", file=sys.stderr)


def _as_read(value: Any) -> Any:
    """The value as the command line reads it: PyYAML takes some numbers for text."""
    return yaml_text.plain(yaml_text.from_flag(value)) if isinstance(value, str) else value


if __name__ == "__main__":
    reader.command(main)
