"""Arrays of the host to a device, without a wait of the host for what the device has queued."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch


def to_device(array: npt.NDArray[Any], device: torch.device) -> torch.Tensor:
    """Return an array as a tensor on a device, of the same shape and type. On a CPU it shares the array's memory.

    To a GPU it goes through page-locked memory, which torch keeps until the copy is done: from any other memory a copy
    waits for the device, whatever it is asked for.
    """
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)
