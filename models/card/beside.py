"""Files beside a saved network that were exported from it."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configs.files import read_regular

SOURCE_SHA256 = re.compile(r"^ARTEFACT_SHA256 = '([0-9a-f]{64})'$", re.MULTILINE)
"""What models.export writes into plain PyTorch."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Onnx:
    """An .onnx file."""

    name: str
    uint8_input: bool
    """Whether its normalisation is inside."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Beside:
    """Files of a folder by what they are; names only."""

    weights: str | None = None
    """The saved network itself; None: it is elsewhere."""
    onnx: tuple[Onnx, ...] = ()
    sources: tuple[str, ...] = ()
    """Plain PyTorch: NAME.py, each with NAME.pt beside it."""
    others: tuple[str, ...] = ()
    """Exports of another network than this one, or unreadable."""

    @property
    def names(self) -> list[str]:
        """Every file that belongs to the network."""
        pairs = [name for source in self.sources for name in (source, str(Path(source).with_suffix(".pt")))]
        return [*([self.weights] if self.weights else []), *(file.name for file in self.onnx), *pairs]


def find(folder: Path, sha256: str, *, weights: Path | None = None) -> Beside:
    """Return what a folder holds of the network whose file has this SHA-256.

    Without the package onnx, .onnx files cannot be told apart, and count as others.
    """
    graphs = {path.name: _onnx_properties(path) for path in _files(folder, ".onnx")}
    sources = {path.name: found for path in _files(folder, ".py") if (found := _source_sha256(path)) is not None}
    mine = [name for name, told in graphs.items() if told.get("artefact_sha256", "").strip('"') == sha256]
    own = [name for name, found in sources.items() if found == sha256]
    inside = weights is not None and weights.resolve().parent == folder.resolve()
    return Beside(
        weights=weights.name if weights is not None and inside else None,
        onnx=tuple(Onnx(name=name, uint8_input=graphs[name].get("input", "").startswith("uint8")) for name in mine),
        sources=tuple(own),
        others=tuple(name for name in [*graphs, *sources] if name not in {*mine, *own}),
    )


def _files(folder: Path, ending: str) -> Iterator[Path]:
    return (path for path in sorted(folder.glob(f"*{ending}")) if path.is_file() and not path.name.startswith("."))


def _source_sha256(path: Path) -> str | None:
    """Return the SHA-256 of the network that a source and the state dict beside it were written from, if any."""
    try:
        found = SOURCE_SHA256.search(read_regular(path).decode("utf-8", "replace"))
    except OSError:
        return None
    return found[1] if found and path.with_suffix(".pt").is_file() else None


def _onnx_properties(path: Path) -> dict[str, str]:
    """Return metadata_props; nothing if the file cannot be read."""
    if importlib.util.find_spec("onnx") is None:
        return {}
    import onnx
    from google.protobuf.message import DecodeError

    try:
        proto: Any = onnx.load_from_string(read_regular(path, 2**31))
    except (OSError, DecodeError):
        return {}
    return {entry.key: entry.value for entry in proto.metadata_props}
