"""The properties of a torch device that the choice of an executor depends on."""

from __future__ import annotations

import torch

from data_pipes.executors import choice


def describe(device: torch.device) -> choice.Device:
    """Kind and free memory of a device, and whether NVIDIA DALI is installed.

    GPUs that are not NVIDIA's are `other`, including those that torch calls cuda. A device that does not report its
    free memory has 0, so that decoding is left to the host. RuntimeError: a CUDA device cannot be opened.
    """
    dali = choice.dali_installed()
    if device.type == "cpu":
        return choice.Device(kind="cpu", dali=dali)
    nvidia = device.type == "cuda" and torch.version.hip is None
    return choice.Device(kind="nvidia" if nvidia else "other", free_bytes=_free_bytes(device), dali=dali)


def _free_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        return int(torch.accelerator.get_memory_info(device)[0])
    except (RuntimeError, NotImplementedError):
        return 0
