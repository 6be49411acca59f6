"""The main job on real handwritten digits, without any download: python -m launch.demo

Train a teacher, distil a small student, train the same student without the teacher, and compare.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console

from configs import reader
from configs.errors import UserError
from launch import table

CONFIGS = Path(__file__).parents[1] / "configs" / "digits"


def stages(folder: Path, seeds: int) -> list[list[str]]:
    """The commands, in order; each is one that a user could type."""
    teacher = ["train.teacher", "--config", str(CONFIGS / "teacher.yaml"), "--run_dir", str(folder / "teacher")]
    student = ["train.distill", "--config", str(CONFIGS / "distill.yaml")]
    student += ["--teacher", str(folder / "teacher" / "model.safetensors")]
    commands = [teacher]
    for seed in range(seeds):
        named = ["--seed", str(seed), "--run_dir"]
        commands.append([*student, *named, str(folder / f"distilled-{seed}")])
        commands.append([*student, "--distill.alpha", "0", *named, str(folder / f"without-teacher-{seed}")])
    return commands


def main() -> None:
    """Run what is not finished yet, then print the table."""
    parser = argparse.ArgumentParser(prog="python -m launch.demo", description=__doc__.split("\n\n")[1])
    parser.add_argument("--run_dir", type=Path, default=Path("runs/demo"), help="folder of the runs")
    parser.add_argument("--seeds", type=int, default=2, help="students of each kind")
    options = parser.parse_args()
    started = time.monotonic()
    commands = stages(options.run_dir, options.seeds)
    for command in commands:
        sys.stderr.write(f"\n$ python -m {shlex.join(command)}\n")
        sys.stderr.flush()
        if subprocess.run([sys.executable, "-m", *command], check=False).returncode:
            raise UserError(f"python -m {shlex.join(command)} failed; its message is above")
    runs = [table.load(Path(command[command.index("--run_dir") + 1])) for command in commands]
    console = Console(width=table.WIDTH)
    console.print()
    console.print(table.build(runs, "scikit-learn's handwritten digits: 1,293 train, 145 validation, 359 test images"))
    console.print(f"{time.monotonic() - started:.0f} s. Everything is in {options.run_dir}.")


if __name__ == "__main__":
    reader.command(main)
