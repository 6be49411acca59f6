"""Start a command on all GPUs of a machine or a job: python -m launch.run train.distill --config FILE

One process on a CPU or a GPU, one for each GPU of a machine, or a launcher on each node of a Slurm job; --print only
shows the command. On SIGTERM, SIGUSR1 and SIGUSR2 the processes save and exit. A launcher exits with 1 whatever went
wrong; launch.run exits with the run's own code, read from status.json. 75 means: start the same command again.
train.evaluate and train.predict keep no status, nor does train.cache without --run_dir on its command line: any error
in several processes of them is 1.

Batch scripts start it with srun, so that Slurm's --signal reaches the processes.
"""

from __future__ import annotations

if __name__ == "__main__":  # before slower imports
    from configs import stopping

    stopping.install()

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml

from configs import reader, resources, stopping
from configs.arguments import Parser, last_value
from launch import commands
from launch.commands import COMMANDS, Command
from launch.start import Place, Start, plan
from launch.supervision import supervise

QUESTIONS = {"-h", "--help", "--print_config"}
SECONDS = 60  # for nvidia-smi; a GPU that has been asleep takes a while


def parser() -> argparse.ArgumentParser:
    """The options; words after the command are its own."""
    made = Parser(
        prog="python -m launch.run",
        description="Start a command in as many processes as this machine has room for.",
        allow_abbrev=False,
    )
    meaning = "on each machine, instead of one for each GPU"
    made.add_argument("--processes", type=int, metavar="N", help=meaning)
    made.add_argument("--print", action="store_true", help="print what would be started, and start nothing")
    made.add_argument("command", metavar="COMMAND", help=", ".join(COMMANDS))
    made.add_argument("words", nargs=argparse.REMAINDER, metavar="...", help="its options")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Start it, and return the exit code of its end. Outside Slurm, one process replaces this one instead."""
    options = parser().parse_args(argv)
    command = commands.find(options.command)
    place = look_around()
    words = [options.command, *options.words]
    question = bool(QUESTIONS.intersection(options.words))
    if question:
        start = Start(by="python", words=(place.python, "-m", *words))
    else:
        start = plan(place, words, options.processes)
    print(start.line, file=sys.stdout if options.print else sys.stderr, flush=True)
    if options.print:
        return 0
    environment = {**os.environ, **start.environment}
    if start.by == "python" and (question or "SLURM_JOB_ID" not in os.environ):
        if command.status and not question:  # it installs handlers, and others would never end
            stopping.hold()
        stopping.heed()
        os.execvpe(start.words[0], start.words, environment)
    code, run_dir = resolved(words)
    stopping.heed()
    return code or supervise(start, environment, status_folder(command, words, run_dir))


def resolved(words: Sequence[str]) -> tuple[int, str]:
    """Exit code and run_dir of a command that only reads its config: an error is shown once, before anything starts."""
    asked = [sys.executable, "-m", *words, "--print_config"]
    done = subprocess.run(asked, stdout=subprocess.PIPE, encoding="utf-8", check=False)
    return done.returncode, "" if done.returncode else str(yaml.safe_load(done.stdout)["run_dir"])


def status_folder(command: Command, words: Sequence[str], run_dir: str) -> Path | None:
    """The folder in which a command keeps its status; None: it keeps none. run_dir: that of its config."""
    kept = command.status == "run_dir" or (command.status and last_value(words, "--run_dir") is not None)
    return Path(run_dir) if kept else None


def look_around() -> Place:
    """The hardware of this machine, and this Python."""
    ours = shutil.which("python") == str(Path(sys.executable).parent / "python")
    return Place(
        environment=os.environ,
        gpus=installed_gpus(),
        cores=resources.cores(),
        visible_cores=resources.visible_cores(),
        python="python" if ours else sys.executable,
    )


def installed_gpus() -> int:
    """Number of GPUs that the driver lists. Free of torch, which takes seconds to load."""
    if not shutil.which("nvidia-smi"):
        return len(list(Path("/dev").glob("nvidia[0-9]*")))
    try:
        done = subprocess.run(
            ["nvidia-smi", "-L"], capture_output=True, encoding="utf-8", errors="replace", timeout=SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        print(f"nvidia-smi finds no GPU ({error}): going on without", file=sys.stderr)
        return 0
    return sum(line.startswith("GPU ") for line in done.stdout.splitlines())


if __name__ == "__main__":
    reader.command(lambda: sys.exit(main()))
