"""Bounds on the network that a card asks for, checked before its memory is touched."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from configs.errors import InputError

# The uncut network of a pruned file is larger than its tensors, and some networks are built up to three times.
UNCUT_FACTOR, UNCUT_SPARE = 1000, 2**27
FACTOR, SPARE = 4, 2**24
TENSORS_SPARE = 4096


@contextmanager
def within_reach(tensors: Mapping[str, Tensor], *, pruned: bool) -> Iterator[None]:
    """Let this thread build a network no larger than one that a file with these tensors can hold.

    InputError: a parameter beyond that. Its memory is reserved by then, but neither filled nor used.
    """
    factor, spare = (UNCUT_FACTOR, UNCUT_SPARE) if pruned else (FACTOR, SPARE)
    entries = factor * sum(tensor.numel() for tensor in tensors.values()) + spare
    budget = [entries, FACTOR * len(tensors) + TENSORS_SPARE]
    thread = threading.get_ident()

    def count(_layer: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        if parameter is None or threading.get_ident() != thread:
            return
        budget[0] -= math.prod(parameter.shape)
        budget[1] -= 1
        if min(budget) < 0:
            raise InputError(
                f"it is far larger than the {len(tensors)} tensors of the file (at a {name} of "
                f"{' x '.join(map(str, parameter.shape))})"
            )

    handle = register_module_parameter_registration_hook(count)
    try:
        yield
    except RuntimeError as error:
        if "allocate memory" not in str(error):
            raise
        raise InputError(f"it is far larger than the {len(tensors)} tensors of the file: {error}") from error
    finally:
        handle.remove()
