"""Run folders as a training leaves them, for tests of launch.status."""

from __future__ import annotations

import json
from pathlib import Path

from launch.status import command
from launch.sweep_folder import Run as Point
from launch.sweep_folder import Submission, SweepFolder

RESULT = {
    "accuracy": 0.9, "accuracy_split": "test", "validation_accuracy": 0.91, "model": "resnet_small", "seconds": 10.0,
    "parameters": 5142, "macs": 1_540_000, "epochs": 16, "accuracy_interval_95": [0.8, 0.95], "accuracy_samples": 359,
}  # fmt: skip


def make(folder: Path, state: str | None = None, result: dict | None = None, **values) -> Path:
    """A run folder as a training leaves it."""
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(f"run_dir: {folder}\nepochs: 16\n")
    (folder / "environment.json").write_text("{}")
    if state is not None:
        (folder / "status.json").write_text(json.dumps({"state": state, "starts": 1} | values))
    if result is not None:
        (folder / "result.json").write_text(json.dumps(RESULT | result))
    return folder


def sweep(folder: Path, *points: dict[str, str]) -> list[Path]:
    """The folder of a sweep; where its runs will be."""
    runs = tuple(Point(id=f"id{i}", overrides=overrides) for i, overrides in enumerate(points))
    home = SweepFolder(folder)
    home.save(Submission(command="train.distill", words=(), directory="/", runs=runs))
    (folder / "lock").touch()
    return [home.run_dir(run.id) for run in runs]


def printed(capsys, *words: str) -> str:
    command.main([str(word) for word in words])
    return capsys.readouterr().out
