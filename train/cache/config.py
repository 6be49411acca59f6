"""Config of train.cache. Free of torch, so that --help and config errors answer at once."""

from __future__ import annotations

from dataclasses import dataclass

from configs.errors import require
from train.config import DistillConfig


@dataclass(frozen=True, kw_only=True)
class CacheConfig(DistillConfig):
    """Teacher logits for the views of a distillation, whose config this takes as it is."""

    verify: int = 0
    """Number of cached logits to compare with the teacher's own instead of filling. 0: fill."""
    repair: bool = False
    """Check every byte, and recompute damaged blocks."""
    dry_run: bool = False
    """Print what the cache costs and saves, and do nothing."""

    def __post_init__(self) -> None:
        DistillConfig.__post_init__(self)
        valid = "a folder: the one that training will read, with distill.teacher_logits cached"
        require(bool(self.distill.cache), "distill.cache", self.distill.cache, valid)
        require(self.distill.needs_logits, "distill.alpha", self.distill.alpha, "above 0, or no logits are asked for")
        require(self.verify >= 0, "verify", self.verify, "at least 0")
        require(not (self.verify and self.repair), "repair", True, "left out with verify, which writes nothing")
