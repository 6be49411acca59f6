"""State dicts inside a state dict: names without the prefix that a wrapper gave them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

COMPILED = "_orig_mod."
MOST = 12


@dataclass(frozen=True, slots=True)
class Root:
    """The part of a state dict below a prefix."""

    prefix: str
    """Such as `module.` or `model.resnet50.`; empty: all of it."""
    tensors: dict[str, Tensor]
    """By name without the prefix."""
    outside: tuple[str, ...]
    """Names that do not have the prefix."""


def roots(tensors: Mapping[str, Tensor]) -> list[Root]:
    """Return the parts that may be a network: everything first, then those below a prefix, the largest first.

    torch.compile's `_orig_mod.` is taken out wherever it is.
    """
    plain = {name.replace(COMPILED, ""): tensor for name, tensor in tensors.items()}
    counted: Counter[str] = Counter()
    for name in plain:
        parts = name.split(".")[:-1]
        counted.update(".".join(parts[: depth + 1]) + "." for depth in range(len(parts)))
    # Of prefixes with equally many names the longest: the shorter ones only wrap it.
    order = sorted(counted, key=lambda prefix: (-counted[prefix], prefix.count("."), prefix))
    return [_below("", plain), *(_below(prefix, plain) for prefix in order[:MOST] if counted[prefix] > 1)]


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> Root:
    inside = {name[len(prefix) :]: tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    return Root(prefix, inside, tuple(name for name in tensors if not name.startswith(prefix)))
