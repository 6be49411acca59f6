"""Checks of Python, the packages that runs import, wandb and Slurm. Imports torch when called."""

from __future__ import annotations

import importlib
import os
import platform
import shutil
import sys
from collections.abc import Mapping
from importlib import metadata
from typing import NamedTuple

from configs.errors import UsageError
from launch import wandb_key
from launch.doctor.checks import Check, first_line
from launch.slurm import queue

OLDEST_PYTHON = (3, 11)


class Package(NamedTuple):
    """A package, and the features lost without it; empty if nothing runs without it."""

    module: str
    distribution: str
    lost: str = ""
    checked_by: str = ""
    """Module of ours whose import refuses a version that does not do."""


PACKAGES = (
    Package("torch", "torch"),
    Package("torchvision", "torchvision"),
    Package("accelerate", "accelerate"),
    Package("timm", "timm"),
    Package("cv2", "opencv-python-headless", checked_by="data_pipes.sources.images"),
    Package("safetensors", "safetensors"),
    Package("nvidia.dali", "nvidia-dali-cuda120", "data.executor dali; on NVIDIA GPUs images are decoded more slowly"),
    Package("sklearn", "scikit-learn", "data.source digits, and with it make demo"),
    Package("wandb", "wandb", "track.wandb online and offline"),
)


def checks(environment: Mapping[str, str] = os.environ) -> list[Check]:
    """All checks of this module, working packages on one line. DALI exists for Linux only."""
    wanted = tuple(package for package in PACKAGES if package.module != "nvidia.dali" or sys.platform == "linux")
    return [python(sys.version_info[:2]), *packages(wanted), wandb(environment), slurm(environment)]


def python(version: tuple[int, ...]) -> Check:
    """A problem if it is older than this code's syntax."""
    if version >= OLDEST_PYTHON:
        return Check("Python", "ok", platform.python_version())
    return Check("Python", "problem", platform.python_version(), "use Python 3.11 or newer")


def packages(wanted: tuple[Package, ...]) -> list[Check]:
    """Import each: one that is installed but does not load is as good as missing."""
    versions, wrong = [], []
    for package in wanted:
        try:
            for module in filter(None, (package.module, package.checked_by)):
                importlib.import_module(module)
        except UsageError as error:
            wrong.append(Check(_label(package), "problem", *str(error).split("; ", 1)))
        except Exception as error:  # a broken binary wheel raises nearly anything: OSError, RuntimeError, ImportError
            wrong.append(_unusable(package, error))
        else:
            versions.append(f"{_label(package)} {_version(package.distribution)}")
    return [Check("packages", "ok", ", ".join(versions)), *wrong] if versions else wrong


def _unusable(package: Package, error: Exception) -> Check:
    absent = error.name if isinstance(error, ModuleNotFoundError) else None  # perhaps a module that it needs
    missing = absent is not None and f"{package.module}.".startswith(f"{absent}.")
    found = "not installed" if missing else f"does not load: {first_line(error)}"
    mend = f"pip install {package.distribution}"
    if "torchvision::nms" in str(error):
        mend = "torch and torchvision do not belong together: pip install --force-reinstall torch torchvision"
    if package.lost:
        return Check(_label(package), "warning", f"{found}; without it: no {package.lost}", mend)
    return Check(_label(package), "problem", f"{found}; nothing runs without it", mend)


def _label(package: Package) -> str:
    return {"cv2": "OpenCV", "nvidia.dali": "DALI", "sklearn": "scikit-learn"}.get(package.module, package.module)


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:  # another distribution of the same module, such as opencv-python
        return "(version unknown)"


def wandb(environment: Mapping[str, str]) -> Check:
    """Whether track.wandb online would find a key. Shows where the key is, never the key."""
    host = wandb_key.host(environment.get("WANDB_BASE_URL"))
    source = wandb_key.source(environment, host)
    if source is None:
        return Check("wandb login", "ok", "none; only --track.wandb online needs it: wandb login")
    key = "key" if source in wandb_key.VARIABLES else f"key for {host}"
    return Check("wandb login", "ok", f"{key} in {source}")


def slurm(environment: Mapping[str, str]) -> Check:
    """Inside a job, on a login node, or neither."""
    if job := environment.get("SLURM_JOB_ID"):
        nodes = environment.get("SLURM_JOB_NUM_NODES", "1")
        return Check("Slurm", "ok", f"inside job {job} on {nodes} node{'s' if nodes != '1' else ''}")
    if shutil.which("sbatch"):
        if why := queue.silent():
            advice = "run it on a login node of the cluster, or tell its administrators"
            return Check("Slurm", "warning", f"sbatch found, and the controller does not answer: {why}", advice)
        return Check("Slurm", "ok", "sbatch found; for a compute node's facts: srun python -m launch.doctor")
    return Check("Slurm", "ok", "no sbatch here")
