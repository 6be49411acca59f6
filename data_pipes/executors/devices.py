"""The properties of a torch device that the choice of an executor depends on."""

from __future__ import annotations

import shutil
from typing import Any

import torch

from configs import resources
from configs.home import cache_folder
from data_pipes.executors import choice


def describe(device: torch.device) -> choice.Device:
    """Kind and free memory of a device, what its host has left, and whether NVIDIA DALI is installed.

    GPUs that are not NVIDIA's are `other`, including those that torch calls cuda. A device that does not report its
    free memory has 0, so that decoding is left to the host. RuntimeError: a CUDA device cannot be opened.
    """
    shared: dict[str, Any] = {
        "dali": choice.dali_installed(),
        "host_bytes": resources.available_memory(),
        "processes": resources.local_processes(),
        "cache_bytes": _free_cache(),
    }
    if device.type == "cpu":
        return choice.Device(kind="cpu", **shared)
    nvidia = device.type == "cuda" and torch.version.hip is None
    free = _free_bytes(device) // resources.runs_on_a_gpu()
    return choice.Device(kind="nvidia" if nvidia else "other", free_bytes=free, **shared)


def _free_cache() -> int | None:
    """Free bytes where the cache folder is, or will be; None: unknown."""
    folder = cache_folder()
    try:
        return shutil.disk_usage(next(place for place in (folder, *folder.parents) if place.is_dir())).free
    except (OSError, StopIteration):
        return None


def _free_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        torch.cuda.empty_cache()  # what torch keeps of earlier stages is free: the choice is that of a fresh process
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        return int(torch.accelerator.get_memory_info(device)[0])
    except (RuntimeError, NotImplementedError):
        return 0
