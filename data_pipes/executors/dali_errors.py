"""What DALI reports when a batch fails: too little memory, which is named, or anything else. DALI is not imported."""

from __future__ import annotations

import re

import torch

from configs import resources
from configs.errors import UsageError

# What DALI 2.4, its decoders, CUDA and torch write. NVJPEG's status 5 is NVJPEG_STATUS_ALLOCATOR_FAILURE.
NO_MEMORY = re.compile(
    r"bad_alloc|out.of.memory|memoryallocation|allocation failed|(failed|cannot|unable) to allocate|cannot allocate|"
    r"insufficient memory|allocator_failure|nvjpeg error \(5\)",
    re.IGNORECASE,
)
PINNED = re.compile(r"pinned|host_?register|hostalloc", re.IGNORECASE)
ON_DEVICE = re.compile(r"cuda|gpu|nvjpeg|nvimgcodec|allocator_failure", re.IGNORECASE)


class DaliError(RuntimeError):
    """DALI failed for a reason other than a file."""


class DaliMemoryError(UsageError):
    """A batch does not fit into memory."""


def failure(error: Exception, count: int, device: torch.device) -> DaliError | DaliMemoryError:
    """The error to raise for what DALI raised on a batch of `count` images."""
    reason = _reason(error)
    if not (isinstance(error, MemoryError) or NO_MEMORY.search(reason)):
        return DaliError(f"DALI failed on a batch of {count} images: {reason}")
    return DaliMemoryError(
        f"DALI ran out of {_memory(reason, device)} on a batch of {count} images ({reason}): lower micro_batch_size, "
        "data.prefetch, data.image_size or data.canvas_scale, or use data.executor host"
    )


def _memory(reason: str, device: torch.device) -> str:
    """Which memory is full, and how much of it is free now."""
    if PINNED.search(reason):
        kind, free = "page-locked host memory", resources.available_memory()
    elif device.type == "cuda" and ON_DEVICE.search(reason):
        kind, free = f"the memory of GPU {device.index or 0}", _free_on(device)
    else:
        kind, free = "host memory", resources.available_memory()
    return kind if free is None else f"{kind}, of which {free / 1e9:.2f} GB are free,"


def _free_on(device: torch.device) -> int | None:
    try:
        return int(torch.cuda.mem_get_info(device)[0])
    except RuntimeError:  # too little is left for the question
        return None


def _reason(error: Exception) -> str:
    """DALI's message without the trace of the graph's definition and without advice that does not apply here."""
    return str(error).rpartition("encountered:")[2].partition("Current pipeline object")[0].strip()
