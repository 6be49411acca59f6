"""Queries and submissions to Slurm. Free of torch."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

from configs.errors import UnavailableError

SECONDS = 120
"""Timeout; a busy controller is slow."""
UNKNOWN_JOB = "Invalid job id"
LARGEST_ARRAY = re.compile(r"^MaxArraySize\s*=\s*(\d+)", re.MULTILINE)


class SlurmError(UnavailableError):
    """Slurm is not there, does not answer, or refuses."""


def states(jobs: Iterable[str]) -> dict[str, str]:
    """The state of each element of these jobs that is still listed, by JOB_INDEX.

    Raises:
        FileNotFoundError: There is no squeue here.
        SlurmError: It does not answer, so that the queue is unknown.
    """
    numbers = ",".join(jobs)
    if not numbers:
        return {}
    done = _run(["squeue", "--noheader", "--array", f"--jobs={numbers}", "--format=%i %T"])
    if done.returncode and UNKNOWN_JOB not in done.stderr:
        raise SlurmError(f"squeue does not say what is queued: {done.stderr.strip()}")
    return dict(line.split(maxsplit=1) for line in done.stdout.splitlines() if " " in line.strip())


def silent() -> str | None:
    """Why the controller does not answer; None: it does, or there is no scontrol here."""
    try:
        done = _run(["scontrol", "ping"])
    except FileNotFoundError:
        return None
    except SlurmError as error:
        return str(error)
    said = (done.stdout.strip() or done.stderr.strip() or "no answer").splitlines()
    return None if done.returncode == 0 and any(" is UP" in line for line in said) else said[-1]


def require_sbatch(instead: str = "") -> None:
    """SlurmError: there is no sbatch here. instead: what a person may do besides."""
    if shutil.which("sbatch") is None:
        raise SlurmError(f"there is no sbatch here; submit on a login node of the cluster{instead}")


def submit(script: Path) -> str:
    """Submit a batch script; the number of the job. SlurmError: it was refused."""
    done = _run(["sbatch", "--parsable", str(script)])
    if done.returncode:
        raise SlurmError(f"sbatch refuses {script}: {done.stderr.strip()}")
    return done.stdout.strip().partition(";")[0]


def largest_array() -> int | None:
    """Largest number of elements in an array; None if unknown."""
    try:
        found = LARGEST_ARRAY.search(_run(["scontrol", "show", "config"]).stdout)
    except FileNotFoundError:
        return None
    return int(found[1]) if found else None  # the largest number is one less, and 0 is one too


def _run(words: Sequence[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            words, capture_output=True, encoding="utf-8", errors="replace", timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise SlurmError(f"{words[0]} does not answer within {SECONDS} s") from None
