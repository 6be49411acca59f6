"""What fits between the tensors of a file and those of a network, and what does not, in few words."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

COUNTER = "num_batches_tracked"
SHOWN = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """Names that only one side has, and names of tensors of different shapes."""

    missing: tuple[str, ...]
    """In the network and not in the file."""
    unexpected: tuple[str, ...]
    """In the file and not in the network."""
    shapes: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...]
    """Name, shape in the file, shape in the network."""

    @property
    def count(self) -> int:
        """Names that do not fit."""
        return len(self.missing) + len(self.unexpected) + len(self.shapes)

    def describe(self) -> str:
        """Return a line for each kind, with at most four names, and for missing ones the closest of the file."""
        lines = [
            _line("missing in the file", [self._with_closest(name) for name in self.missing]),
            _line("unexpected in the file", self.unexpected),
            _line(
                "of another shape", [f"{name} {list(own)} in place of {list(want)}" for name, own, want in self.shapes]
            ),
        ]
        return "\n".join(line for line in lines if line)

    def _with_closest(self, name: str) -> str:
        close = difflib.get_close_matches(name, self.unexpected[:500], n=1, cutoff=0.6)
        return f"{name} (the file has {close[0]})" if close else name


def compare(file: Mapping[str, Tensor], network: Mapping[str, Tensor]) -> Difference:
    """Compare two state dicts by name and shape. BatchNorm's counters may be missing, as in files of old versions."""
    shapes = [(name, tuple(file[name].shape), tuple(network[name].shape)) for name in network if name in file]
    return Difference(
        missing=tuple(name for name in network if name not in file and name.rpartition(".")[2] != COUNTER),
        unexpected=tuple(name for name in file if name not in network),
        shapes=tuple(entry for entry in shapes if entry[1] != entry[2]),
    )


def filled(file: Mapping[str, Tensor], network: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the file's tensors in the network's order and types; counters that the file lacks are the network's.

    Weights are kept as float32 where the file has half precision.
    """
    return {name: file[name].to(own.dtype) if name in file else own for name, own in network.items()}


def _line(what: str, names: Sequence[str]) -> str:
    if not names:
        return ""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"  {what}: {', '.join(names[:SHOWN])}{more}"
