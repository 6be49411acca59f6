"""Configs of the command and of one part. Free of torch, so that --help and config errors answer at once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from configs.errors import require
from launch.bench.gpu.order import NAMES


@dataclass(frozen=True, kw_only=True, slots=True)
class GpuConfig:
    """What is run, where, and where the figures go."""

    output: str = "docs/gpu.md"
    """The document; its figures are beside it as JSON (gpu.json). Without a GPU both stay as they are."""
    folder: str = "runs/gpu"
    """Folder for the output of each part (NAME.log), and for report.md and report.json of this call alone."""
    parts: tuple[str, ...] = ()
    """Which parts to run, for example [exif, pixels]; the document keeps the others. Empty: all."""
    device: Literal["auto", "cuda", "cpu"] = "auto"
    """auto: the GPU where there is one. cpu: each part in a small form, to try the command."""
    data: str | None = None
    """Folder with fashion_mnist/ and food10/, as HEARTCUT_DATA names it. Where one of them is missing, and always on a
    CPU, images are generated. null: $HEARTCUT_DATA."""
    minutes: float = 25.0
    """Parts that have not begun by then are left out, and the last one is ended."""
    json: bool = False
    """Print one JSON object and nothing else."""

    def __post_init__(self) -> None:
        unknown = [name for name in self.parts if name not in NAMES]
        require(not unknown, "parts", ", ".join(unknown), f"some of {', '.join(NAMES)}")
        require(self.minutes > 0, "minutes", self.minutes, "positive")
        require(Path(self.output).suffix == ".md", "output", self.output, "a file that ends in .md")
        data = self.data
        require(data is None or Path(data).is_dir(), "data", data, "a folder that exists, or null")


@dataclass(frozen=True, kw_only=True, slots=True)
class PartConfig:
    """What one part is told."""

    device: Literal["cuda", "cpu"]
    """Where it runs; on the CPU in a small form."""
    work: str
    """Folder for generated images, runs and caches, which the parts share."""
    answer: str
    """File that receives the result as JSON."""
    data: str | None = None
    """Folder with the user's data sets; null: images are generated."""

    @property
    def small(self) -> bool:
        """Whether this is a trial of the command rather than a measurement."""
        return self.device == "cpu"

    @property
    def folder(self) -> Path:
        """`work` as a path."""
        return Path(self.work)
