"""Bytes of an artefact: a JSON header and the tensors, in the safetensors format.

header   JSON under the key "heartcut": format (a number), card, digest (SHA-256 of card and tensors), and the shapes of
         the tensors that are packed because most of their entries are zero
tensors  the state dict, every entry contiguous and copied, packed (models/sparse.py) where that is smaller
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from configs.errors import InputError
from models import sparse

FORMAT = 2
"""Version of the format, raised when an older Heartcut cannot read new files.

2: the card may say that the network was pruned, and tensors may be packed.
"""
LARGEST = 2**34  # bytes
Fields = Mapping[str, Any]
Tensors = dict[str, Tensor]


class Contents(NamedTuple):
    """Contents of a file, not yet checked against the digest."""

    card: Fields
    tensors: Tensors
    digest: object

    def require_intact(self, path: Path) -> None:
        """InputError unless card and tensors match the digest."""
        if digest(self.card, self.tensors) != self.digest:
            raise InputError(f"{path} is damaged: its contents do not match its digest; copy or train it again")


def compose(card: Fields, tensors: Mapping[str, Tensor]) -> bytes:
    """Return the bytes of a file; equal cards and tensors give equal bytes. The tensors must be contiguous."""
    stored, packed = sparse.pack(tensors)
    header = {"format": FORMAT, "card": card, "digest": digest(card, tensors), "packed": packed}
    # One key only: safetensors writes several keys in random order, and equal networks should give equal files.
    metadata = {"heartcut": json.dumps(header, sort_keys=True, allow_nan=False)}
    content: bytes = safetensors.torch.save(stored, metadata=metadata)
    return content


def parse(path: Path, content: bytes) -> Contents:
    """Parse the output of `compose`, as `read` does from `path`. InputError as for `read`."""
    length = int.from_bytes(content[:8], "little")
    metadata = json.loads(content[8 : 8 + length])["__metadata__"]
    return _contents(path, _header(path, metadata), safetensors.torch.load(content))


def read(path: Path) -> Contents:
    """Return the contents of a file. InputError: it is missing, damaged, foreign, or of a newer format."""
    metadata, stored = _opened(path, with_tensors=True)
    return _contents(path, _header(path, metadata), stored)


def read_card(path: Path) -> Fields:
    """Return the card alone. InputError as for `read`."""
    return _card(path, _header(path, _opened(path, with_tensors=False)[0]))


def digest(card: Fields, tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of a card and tensors, independent of their order."""
    found = hashlib.sha256(json.dumps(card, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        found.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        found.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def require_file(path: Path) -> None:
    """InputError for what is no regular file, or larger than any network of ours."""
    if not path.is_file():
        raise InputError(f"there is no file {path}; give the path of a saved .safetensors file")
    if (size := path.stat().st_size) > LARGEST:
        raise InputError(f"{path} has {size:,} bytes; a network has at most {LARGEST:,}")


def _opened(path: Path, *, with_tensors: bool) -> tuple[dict[str, str], Tensors]:
    require_file(path)
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            names = file.keys() if with_tensors else ()
            return file.metadata() or {}, {name: file.get_tensor(name) for name in names}
    except (safetensors.SafetensorError, OSError) as error:
        raise InputError(f"{path} is damaged, cut short, or not a safetensors file: {error}") from error


def _header(path: Path, metadata: Mapping[str, str]) -> dict[str, Any]:
    """Return the header. InputError: not a Heartcut file, or a newer format."""
    if "heartcut" not in metadata:
        keys = ", ".join(sorted(metadata)) or "no metadata"
        raise InputError(f"{path} is not a Heartcut file (it has {keys}); python -m models.adopt makes it one")
    try:
        header: dict[str, Any] = json.loads(metadata["heartcut"])
        found = int(header["format"])
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InputError(f"{path} is damaged: its header is unreadable ({error}); copy or train it again") from error
    if found > FORMAT:
        raise InputError(f"{path} has format {found}, but this Heartcut reads up to {FORMAT}; update Heartcut")
    return header


def _card(path: Path, header: Mapping[str, Any]) -> Fields:
    if not isinstance(card := header.get("card"), dict):
        raise InputError(f"{path} is damaged: its card is unreadable ({card!r}); copy or train it again")
    return card


def _contents(path: Path, header: Mapping[str, Any], stored: Tensors) -> Contents:
    try:
        tensors = sparse.unpack(stored, dict(header.get("packed", {})))
    except (InputError, TypeError, ValueError) as error:
        raise InputError(f"{path} is damaged: {error}; copy or train it again") from error
    return Contents(_card(path, header), tensors, header.get("digest"))
