"""One operation of a forward, and what every rule needs of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from models.pruning.flow.labels import FIXED, Labels, Ledger

Arguments = Mapping[str, Any]


@dataclass(frozen=True)
class Call:
    """One operation of the forward."""

    ledger: Ledger
    labels_of: Callable[[Tensor], Labels]
    arguments: Arguments
    """By the names of the operation's schema."""
    out: tuple[Tensor, ...]
    name: str
    where: str
    """The layer or operation, for messages."""

    def of(self, name: str) -> Labels | None:
        """Return the labels of an argument; None if it was not given."""
        value = self.arguments.get(name)
        return self.labels_of(value) if isinstance(value, Tensor) else None

    @property
    def image(self) -> Tensor:
        """The first tensor among the arguments."""
        return next(self.tensors())

    def tensors(self) -> Iterator[Tensor]:
        """Yield the tensors among the arguments."""
        for value in self.arguments.values():
            yield from (item for item in listed(value) if isinstance(item, Tensor))

    def dim(self, name: str = "dim") -> int:
        """Return a dimension of the first tensor, counted from the front."""
        return int(self.arguments[name]) % max(self.image.dim(), 1)


Rule = Callable[[Call], Sequence[Labels]]


def listed(value: Any) -> Sequence[Any]:
    """Return a list as it is, and anything else as the one entry of a list."""
    return value if isinstance(value, list | tuple) else [value]


def unknown(call: Call) -> Sequence[Labels]:
    """Keep every channel of an operation that has no rule."""
    stop_all(call, call.tensors())
    return [(FIXED,) * tensor.dim() for tensor in call.out]


def stop_all(call: Call, tensors: Iterator[Tensor] | Sequence[Tensor]) -> None:
    """Note that every channel of these tensors stays."""
    for tensor in tensors:
        for label in call.labels_of(tensor):
            call.ledger.stop(label, f"{call.where} computes {call.name}, which cannot be followed")
