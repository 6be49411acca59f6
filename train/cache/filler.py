"""Teacher logits of whole views: computed and stored, or compared with stored ones.

A cache has a row for each sample, in the order of `plan.pairs`: mixed samples are neighbours. R rows, K classes.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from accelerate import Accelerator

from configs import stopping
from configs.errors import InputError
from data_pipes import plan
from data_pipes.loader import PlanLoader
from data_pipes.logits.cache import LogitCache
from data_pipes.mixing import Rows
from train.live_teacher import LiveTeacher

logger = logging.getLogger(__name__)
WAIT_SECONDS = 0.5
FAR = 0.25
"""Cached logits of a sample may be this far from the teacher's own, in units of how far samples are from each other.
float16 and bfloat16 gave up to 0.01; another view, teacher or sample gives about 1."""
Logits = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """How far cached logits are from the teacher's own."""

    samples: int
    largest: float
    """Largest difference of two logits."""
    relative: float
    """Largest root mean square of a sample's differences, over that of what the samples differ by."""
    where: str
    """The view and the sample that it was found at."""


@dataclass(frozen=True, slots=True)
class Filler:
    """Fills a cache, together with other processes and jobs that fill it."""

    cache: LogitCache
    loader: PlanLoader
    teacher: LiveTeacher
    accelerator: Accelerator

    def fill(self, view: int) -> int:
        """Compute the missing blocks of a view; return the number of samples that this process computed.

        Return when the view is complete, including blocks of other processes. InputError: logits are not finite, or
        blocks are damaged.
        """
        row_N, done = self.rows(view), 0
        while missing := self.cache.missing(view):
            before = done
            for block in self._in_turn(missing):
                stopping.heed()
                with self.cache.claim(view, block) as ours:
                    if ours:
                        row_R = row_N[self.cache.blocks[block]]
                        self.cache.write(view, block, self.logits(view, row_R))
                        done += len(row_R)
            if done == before:
                time.sleep(WAIT_SECONDS)  # other processes are at the rest
        if view not in self.cache.views and not self.cache.finish(view):
            raise InputError(
                f"{self.cache.folder}: view {view} is damaged; `python -m train.cache ... --repair` mends it"
            )
        return done

    def _in_turn(self, missing: list[int]) -> list[int]:
        """The blocks in the order in which this process takes them: where files cannot be locked, as on some network
        file systems, processes that begin at different blocks still share the work."""
        first = len(missing) * self.accelerator.process_index // self.accelerator.num_processes
        return missing[first:] + missing[:first]

    def rows(self, view: int) -> Rows:
        """Return the sample of each row of the cache."""
        return plan.pairs(self.loader.plan(view).partner_N)

    def logits(self, view: int, row_R: Rows) -> Logits:
        """Compute the teacher's logits, R x K. InputError names a sample with logits that are not finite."""
        parts: list[torch.Tensor] = []
        for batch in self.loader.part(view, row_R):
            logits_BK = self.teacher(batch, self.accelerator.autocast()).logits_BK
            parts.append(logits_BK[: batch.real].float())
        logits_RK = torch.cat(parts).cpu().numpy()
        wrong = row_R[~np.isfinite(logits_RK).all(axis=1)]
        if len(wrong):
            key = self.loader.dataset.key_N[wrong[0]]
            raise InputError(
                f"{self.teacher.name}: its logits are NaN or infinite for {len(wrong)} samples of view {view}: {key}"
            )
        return logits_RK

    def compare(self, views: Sequence[int], count: int, *, seed: int) -> Difference:
        """Compare about `count` cached rows with the teacher's, of views and samples drawn by a seed."""
        draw = np.random.default_rng(seed)
        chosen = np.unique(draw.choice(views, count), return_counts=True)
        found = [self._compare(int(view), int(rows), draw) for view, rows in zip(*chosen, strict=True)]
        worst = max(found, key=lambda difference: difference.relative)
        return Difference(
            samples=sum(difference.samples for difference in found),
            largest=max(difference.largest for difference in found),
            relative=worst.relative,
            where=worst.where,
        )

    def _compare(self, view: int, count: int, draw: np.random.Generator) -> Difference:
        row_N = self.rows(view)
        # Whole pairs, and more than one of them: what samples differ by is the unit.
        there = -(-len(row_N) // 2)
        pairs = draw.choice(there, min(max(-(-count // 2), 8), there), replace=False)
        position_R = np.sort(np.concatenate([2 * pairs, 2 * pairs + 1]))
        position_R = position_R[position_R < len(row_N)]
        codec, classes = self.cache.layout.codec, self.cache.layout.classes
        ours = codec.decode(codec.encode(self.logits(view, row_N[position_R])), len(position_R), classes).dense()
        gap_RK = self.cache.read(view).take(position_R).dense() - ours
        unit = float(np.sqrt(np.square(ours - ours.mean(axis=0)).mean())) or 1.0
        relative_R = np.sqrt(np.square(gap_RK).mean(axis=1)) / unit
        worst = self.loader.dataset.key_N[row_N[position_R[relative_R.argmax()]]]
        return Difference(
            samples=len(position_R),
            largest=float(np.abs(gap_RK).max()),
            relative=float(relative_R.max()),
            where=f"view {view}, sample {worst}",
        )


def require_close(difference: Difference, folder: Any) -> None:
    """InputError if cached logits are not the teacher's for these views."""
    if not difference.relative <= FAR:
        raise InputError(
            f"{folder}: cached logits differ from the teacher's own by up to {difference.largest:.3g}, "
            f"{difference.relative:.2f} times what samples differ by ({difference.where}): the cache is not of these "
            "views, in spite of its manifest. Delete it and make it anew with `python -m train.cache`"
        )
