"""Forward and backward of a small network as CUDA graphs: recorded once, and launched by one call each.

A step of a small network is some hundred kernels of a few microseconds each. Launching them one by one takes Python and
torch longer than the GPU takes to run them, so that it idles. A recorded graph has the same kernels on the same memory.
B images, C channels, H x W pixels.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from inspect import signature
from statistics import median
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from configs.errors import UsageError
from models.own.code import is_code
from train.config import CudaGraphs
from train.progress import say_once

logger = logging.getLogger(__name__)
HOST_BOUND = 0.5
"""Share of a step's time that the host takes to launch it, from which on graphs are taken. Where the step is alone on
its GPU they pay from near 1 on; beside other runs, waiting for the GPU takes a part of the same time."""
WARM_UP, TIMED = 3, 3


def record(
    model: nn.Module, blank: Callable[[], Tensor], accelerator: Accelerator, wanted: CudaGraphs, *, network: str
) -> None:
    """Have `model` replay graphs in training mode, where they are wanted and, unless always, pay.

    model: as accelerate prepared it; its weights and buffers do not change. blank: gives any images in the shape
    and type of a micro-batch. network: name of the network. UsageError: graphs are always wanted, and cannot be had.
    """
    if wanted == "never":
        return
    asked = wanted == "always"
    if (reason := obstacle(accelerator, wanted, network=network)) is not None:
        if asked:
            raise UsageError(f"cuda_graphs is always, and {reason}; auto does without them where that is so")
        return
    image_BCHW = blank()
    with unchanged(model):
        share = _host_share(model, image_BCHW)
        if share < HOST_BOUND and not asked:
            say_once(logger, f"no CUDA graphs: launching kernels takes {share:.0%} of the time", key="no CUDA graphs")
        elif (waits := _waits(model, image_BCHW)) is not None:
            if asked:
                raise UsageError(f"cuda_graphs is always, and {network} waits for the GPU in a step ({waits})")
            logger.info("no CUDA graphs: %s waits for the GPU in a step (%s)", network, waits)
        else:
            _record(model, image_BCHW, network)
            text = f"forward and backward are CUDA graphs: launching their kernels took {share:.0%} of the time"
            say_once(logger, text, key="CUDA graphs")


def _record(model: nn.Module, image_BCHW: Tensor, network: str) -> None:
    """UsageError: it fails, which leaves torch's stream, memory pool and random state as they were while recording."""
    record = torch.cuda.make_graphed_callables
    # Loaders may be at work in other threads, whose calls must not end the recording; torch 2.11 cannot be told so.
    alone: dict[str, Any] = {}
    if "capture_error_mode" in signature(record).parameters:
        alone["capture_error_mode"] = "thread_local"
    try:
        record(model, (image_BCHW,), allow_unused_input=True, **alone)
    except Exception as error:
        cause = str(error.__context__ or error).partition("\n")[0]
        raise UsageError(f"{network} cannot be recorded as CUDA graphs ({cause}); set cuda_graphs to never") from error
    torch.autograd.graph.set_warn_on_accumulate_grad_stream_mismatch(False)  # torch waits where it must
    torch.cuda.empty_cache()  # the graphs have memory of their own


def obstacle(accelerator: Accelerator, wanted: CudaGraphs, *, network: str) -> str | None:
    """Why a run cannot have graphs, or should not unless asked; None: it can.

    Code of the user's own may draw random numbers with Python's generator, or count its calls: a graph would repeat the
    first ones. Gradients of a graph lie where its next replay overwrites them, so that none can be accumulated.
    """
    if accelerator.device.type != "cuda":
        return "there is no NVIDIA GPU"
    if accelerator.num_processes > 1:
        return f"there are {accelerator.num_processes} processes; one can have them"
    if (steps := accelerator.gradient_accumulation_steps) > 1:
        return f"a step accumulates the gradients of {steps} micro-batches"
    if wanted == "auto" and is_code(network):
        return "the network is code of your own"
    return None


@contextmanager
def unchanged(model: nn.Module) -> Iterator[None]:
    """Put a network in training mode; afterwards, restore the mode and the buffers, such as running statistics."""
    was_training, kept = model.training, [buffer.clone() for buffer in model.buffers()]
    model.train()
    try:
        yield
    finally:
        for buffer, value in zip(model.buffers(), kept, strict=True):
            buffer.copy_(value)
        model.train(was_training)


def _host_share(model: nn.Module, image_BCHW: Tensor) -> float:
    """Time until a forward and its backward are launched, over the time until they are done: median of some."""
    shares = []
    for _ in range(WARM_UP + TIMED):
        torch.cuda.synchronize()
        start = time.perf_counter()
        _once(model, image_BCHW)
        launched = time.perf_counter()
        torch.cuda.synchronize()
        shares.append((launched - start) / (time.perf_counter() - start))
    return median(shares[WARM_UP:])


def _waits(model: nn.Module, image_BCHW: Tensor) -> str | None:
    """Why a forward or a backward waits for the GPU, for example to read a value; None: it does not.

    No graph can wait, and a recording that fails leaves torch in a state that a training must not go on in.
    """
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        _once(model, image_BCHW)
    except RuntimeError as error:
        return str(error).partition("\n")[0]
    finally:
        torch.cuda.set_sync_debug_mode(before)
    return None


def _once(model: nn.Module, image_BCHW: Tensor) -> None:
    """A forward and its backward, whose gradients are thrown away."""
    outputs = [leaf for leaf in tree_leaves(model(image_BCHW)) if leaf.requires_grad]
    wanted = [parameter for parameter in model.parameters() if parameter.requires_grad]
    torch.autograd.grad(outputs, wanted, [torch.ones_like(one) for one in outputs], allow_unused=True)
