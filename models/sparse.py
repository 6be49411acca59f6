"""Tensors with many zeros, stored as one bit per entry and the entries that are not zero.

name:bits    uint8, the entries in order, the first in the highest bit of the first byte; padded with zeros
name:values  the entries whose bit is set, in order
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from configs.errors import InputError

WORTH = 256
"""Bytes that packing must save: the two entries in the file's header take about as many."""
_BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def pack(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, list[int]]]:
    """Return the tensors to store and, by name, the shapes of packed ones. The tensors must be contiguous.

    Zero means that all bits are zero: -0.0 is kept as a value, so that tensors are restored bit for bit.
    """
    stored: dict[str, Tensor] = {}
    shapes: dict[str, list[int]] = {}
    for name, tensor in tensors.items():
        flat = tensor.reshape(-1)
        kept = flat.view(_BITS[flat.element_size()]) != 0
        saved = int((~kept).sum()) * flat.element_size() - math.ceil(len(flat) / 8)
        if saved < WORTH:
            stored[name] = tensor
            continue
        stored[f"{name}:bits"] = torch.from_numpy(np.packbits(kept.numpy()))
        stored[f"{name}:values"] = flat[kept]
        shapes[name] = list(tensor.shape)
    return stored, shapes


def unpack(stored: Mapping[str, Tensor], shapes: Mapping[str, Sequence[int]]) -> dict[str, Tensor]:
    """Undo `pack`. InputError: bits, values and shape do not match.

    A tensor has at most 8 entries per stored byte, so a small file cannot claim much memory.
    """
    tensors = dict(stored)
    for name, shape in shapes.items():
        try:
            bits, values = tensors.pop(f"{name}:bits"), tensors.pop(f"{name}:values")
            tensors[name] = _unpacked(bits, values, tuple(shape))
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise InputError(f"the packed tensor {name} is unreadable ({error})") from error
    return tensors


def _unpacked(bits: Tensor, values: Tensor, shape: tuple[int, ...]) -> Tensor:
    count = math.prod(shape)
    if bits.dtype != torch.uint8 or bits.dim() != 1 or len(bits) != math.ceil(count / 8):
        raise ValueError(f"{list(bits.shape)} {bits.dtype} bits cannot be a tensor of {list(shape)}")
    kept = torch.from_numpy(np.unpackbits(bits.numpy(), count=count)).bool()
    if values.shape != (int(kept.sum()),):
        raise ValueError(f"{list(values.shape)} values for {int(kept.sum())} bits")
    flat = torch.zeros(count, dtype=values.dtype)
    flat[kept] = values
    return flat.reshape(shape)
