"""Our own executors and our own decoder as variants of the loader's bench. B samples of a batch, N of a pass."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np

from configs.errors import UsageError
from data_pipes import plan
from data_pipes.executors import build, choice
from data_pipes.executors.build import Pending
from data_pipes.mixing import Rows
from data_pipes.plan import Plan
from data_pipes.spec import AugmentSpec, DataSpec
from launch.bench.rounds import Lap, Stopwatch, Variant
from launch.bench.work import CPU_CANVAS, LeftOut, Work, throwaway_cache

CHUNK = 8  # images that a decoding thread takes at a time


class Planned:
    """An executor that carries out the plans of successive views."""

    def __init__(self, work: Work, spec: DataSpec) -> None:
        self._work, self._spec = work, spec
        self._view = 0
        chosen = build.choose(spec, work.samples, work.device)
        with throwaway_cache():
            self._executor = build.build(chosen, spec, work.samples, work.device)

    def lap(self, images: int) -> Lap:
        """See `Variant.lap`. As in training, a view is planned just before its first batch."""
        watch = Stopwatch(self._work.settle)
        flying: deque[Pending] = deque()
        for row_B, plan_B in self._batches(images):
            if len(flying) == self._spec.prefetch:
                flying.popleft().result()
            flying.append(self._executor.submit(row_B, plan_B))
        while flying:
            flying.popleft().result()
        return watch.lap(images)

    def close(self) -> None:
        """End the executor."""
        self._executor.close()

    def _batches(self, images: int) -> Iterator[tuple[Rows, Plan]]:
        seed, size_N2 = self._work.seed, self._work.samples.size_N2
        for _ in range(images // len(size_N2)):
            plan_N = plan.training(seed, self._view, self._spec.augment, size_N2, self._spec.image_size)
            order_N = plan.order(seed, self._view, plan_N.partner_N)
            for row_B in order_N.reshape(-1, self._work.batch_size):
                yield row_B, plan_N.take(row_B)
            self._view += 1


class Decode:
    """Our decoder on whole images, with as many threads as the executors have."""

    def __init__(self, work: Work) -> None:
        assert work.files, "LeftOut was raised"
        self._work = work
        self._pool = ThreadPoolExecutor(work.spec.thread_count, thread_name_prefix="decode")

    def lap(self, images: int) -> Lap:
        """See `Variant.lap`."""
        row_N = np.resize(np.arange(len(self._work.samples)), images)
        watch = Stopwatch(self._work.settle)
        for _ in self._pool.map(self._read, np.array_split(row_N, -(-images // CHUNK))):
            pass
        return watch.lap(images)

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()

    def _read(self, row_B: Rows) -> None:
        for row in row_B:
            self._work.samples.read(int(row), channels=3)


def planned(work: Work, **changes: Any) -> Planned:
    """Build an executor for this spec with changes. LeftOut: it is not available here."""
    try:
        return Planned(work, replace(work.spec, **changes))
    except UsageError as error:
        raise LeftOut(str(error)) from error


def dali_plan(work: Work) -> Planned:
    """DALI on files, following the plan."""
    assert work.files, "LeftOut was raised"
    return planned(work, executor="dali", dali=replace(work.spec.dali, feed="files"))


def dali_canvas(work: Work) -> Planned:
    """DALI on decoded images, following the plan."""
    if work.device.type == "cpu":
        raise LeftOut(CPU_CANVAS)
    return planned(work, executor="dali", dali=replace(work.spec.dali, feed="canvas"))


def dali_decode(work: Work) -> Variant:
    """DALI's decoder alone."""
    _require_dali(work)
    if work.device.type != "cuda":
        raise LeftOut("there is no NVIDIA GPU; on a CPU, decode is the ceiling")
    from launch.bench.dali import DaliLoader, whole

    return DaliLoader(work, whole, deliver=False)


def dali_random(work: Work) -> Variant:
    """DALI's own random operators."""
    _require_dali(work)
    from launch.bench.dali import DaliLoader, augmented

    return DaliLoader(work, augmented, deliver=True)


def _require_dali(work: Work) -> None:
    assert work.files, "LeftOut was raised"
    if not choice.dali_installed():
        raise LeftOut("NVIDIA DALI is not installed: pip install nvidia-dali-cuda120 (Linux)")


def crop_flip_erase(spec: AugmentSpec) -> AugmentSpec:
    """The config's crop, or a usual one, both flips, and RandomErasing of half of the images."""
    usual = (0.7, 1.0) if spec.crop_padding == 0 else None
    return AugmentSpec(
        crop_scale=spec.crop_scale or usual,
        crop_ratio=spec.crop_ratio,
        crop_padding=spec.crop_padding,
        horizontal_flip=0.5,
        vertical_flip=0.5,
        erase=0.5,
    )
