"""Tensors of a file from elsewhere: a state dict, bare or inside a checkpoint, or a plain .safetensors file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
from torch import Tensor

from configs.errors import InputError, UsageError
from models.adopt import pickles

ENTRIES = ("state_dict", "model_state_dict", "model", "net", "network", "module", "weights", "params", "ema")
"""Where checkpoints keep a state dict; the first of these that holds tensors is taken."""
DEEPEST = 3


@dataclass(frozen=True, kw_only=True)
class WeightFile:
    """The tensors of a file."""

    path: Path
    tensors: Mapping[str, Tensor]
    """The state dict as it is in the file, with any prefix that its names have."""
    entry: str = ""
    """Where in the checkpoint it was, such as model_state_dict; empty: it is bare."""
    others: tuple[str, ...] = ()
    """Other entries that hold state dicts too."""


def is_ours(path: str | Path) -> bool:
    """Whether a file is one of our own. InputError: a .safetensors file that cannot be read."""
    return Path(path).suffix == ".safetensors" and "heartcut" in (_opened(Path(path)).metadata() or {})


def read(path: str | Path, *, entry: str | None = None) -> WeightFile:
    """Read a file safely: no code of it runs.

    Args:
        path: A .safetensors file, or one of torch.save.
        entry: The entry of the checkpoint to take; None: the first of the usual ones.

    Raises:
        InputError: The file is missing, damaged, a pickled module, TorchScript, or holds no state dict.
        UsageError: It has no such entry.
    """
    path = Path(path)
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise InputError(f"{path} {what}; give a file of weights (.pth, .pt, .ckpt, .th, .bin or .safetensors)")
    if path.suffix == ".safetensors":
        file = _opened(path)
        return WeightFile(path=path, tensors={name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    return _chosen(path, pickles.load(path), entry)


def _opened(path: Path) -> Any:
    if not path.is_file():
        raise InputError(f"there is no file {path}; give the path of a file of weights")
    try:
        return safetensors.safe_open(path, framework="pt")
    except (safetensors.SafetensorError, OSError) as error:
        raise InputError(f"{path} is damaged, cut short, or not a safetensors file: {error}") from error


def _chosen(path: Path, content: Any, entry: str | None) -> WeightFile:
    if pickles.is_inert(content):
        raise InputError(pickles.whole_model(path))
    found = dict(_state_dicts(content))
    if entry is not None and entry not in found:
        raise UsageError(f"{path} has no state dict {entry!r}; it has {', '.join(map(repr, found)) or 'none'}")
    if not found:
        raise _without(path, content)
    name = entry if entry is not None else min(found, key=_rank)
    others = tuple(other for other in found if other != name)
    return WeightFile(path=path, tensors=found[name], entry=name, others=others)


def _state_dicts(content: Any, at: str = "", depth: int = 0) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Yield each mapping with weights, by where it is, and those in it, beside which a matrix may lie."""
    if not isinstance(content, Mapping) or depth > DEEPEST:
        return
    tensors = {name: value for name, value in content.items() if isinstance(name, str) and isinstance(value, Tensor)}
    if any(tensor.dim() > 1 for tensor in tensors.values()):
        yield at, {name: tensor.detach() for name, tensor in tensors.items()}
    for name, value in content.items():
        if isinstance(name, str) and not name.startswith("optimizer"):
            yield from _state_dicts(value, f"{at}.{name}" if at else name, depth + 1)


def _rank(name: str) -> int:
    """Order of preference; the order in the file decides among others."""
    last = name.rpartition(".")[2]
    return ENTRIES.index(last) if last in ENTRIES else len(ENTRIES)


def _without(path: Path, content: Any) -> InputError:
    if isinstance(content, Mapping):
        pickled = [name for name, value in content.items() if pickles.is_inert(value)]
        likely = [name for name in ENTRIES if name in pickled]
        if likely:
            return InputError(pickles.whole_model(path, likely[0]))
        keys = ", ".join(repr(name) for name in list(content)[:8])
        return InputError(f"{path} holds no state dict; its entries are {keys or 'none'}")
    return InputError(f"{path} holds a {type(content).__name__} rather than a state dict")
