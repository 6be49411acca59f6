"""Whole runs in this process, on real digits and small networks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from configs import reader
from train.config import DistillConfig, TeacherConfig
from train.stage.run import run as run_stage

DIGITS = Path(__file__).parents[1] / "configs" / "digits"
PLAIN = ["--data.threads", "1", "--track.pictures", "false"]
TINY = ["--model.depth", "8", "--model.widths", "[4, 8, 8]", *PLAIN]


def teach(folder: Path, *options: str) -> dict[str, Any]:
    words = ["--config", str(DIGITS / "teacher.yaml"), "--run_dir", str(folder), *TINY, *options]
    run_stage(reader.read(TeacherConfig, words, prog="x", description="x"), "teacher")
    return dict(json.loads((folder / "result.json").read_text()))


def distil(folder: Path, teacher: Path, *options: str) -> dict[str, Any]:
    words = ["--config", str(DIGITS / "distill.yaml"), "--run_dir", str(folder), "--teacher", str(teacher)]
    words += ["--epochs", "1", *PLAIN, *options]
    run_stage(reader.read(DistillConfig, words, prog="x", description="x"), "distill")
    return dict(json.loads((folder / "result.json").read_text()))


def lines(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
