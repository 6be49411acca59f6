"""Cached teacher logits, for exactly the view that the student sees.

N samples, B of a micro-batch, K classes, k of them kept.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor

from configs import resources
from configs.errors import InputError
from data_pipes import plan
from data_pipes.batch import Batch
from data_pipes.executors import build
from data_pipes.executors.choice import Choice
from data_pipes.loader import PlanLoader
from data_pipes.logits.cache import LogitCache
from data_pipes.logits.codec import Codec, Encoded
from data_pipes.sources.split import evenly_spaced
from data_pipes.transfer import to_device
from models import artefact
from models.adopt.conversion import origin_of
from models.artefact import Card
from models.own import registry
from train.cache.filler import Filler, require_close
from train.config import TrainConfig
from train.student import Signals

logger = logging.getLogger(__name__)
MEMORY_SHARE = 0.1
"""Of what is free on the device; views that fit in it together are kept there."""
FEW_VIEWS = 4


@dataclass(frozen=True, slots=True)
class Stored:
    """The logits of one view on the device, a row per sample of the split."""

    value_Nk: Tensor
    index_Nk: Tensor | None
    tail_N: Tensor | None
    classes: int

    @classmethod
    def of(cls, encoded: Encoded, device: torch.device) -> Stored:
        """Move encoded logits to a device."""
        index = None if encoded.index_Nk is None else to_device(encoded.index_Nk.astype(np.int32), device)
        tail = None if encoded.tail_N is None else to_device(encoded.tail_N, device)
        return cls(to_device(encoded.value_Nk, device), index, tail, encoded.classes)

    def logits(self, index_B: Tensor) -> Tensor:
        """Return the logits of some samples, B x K. Classes that top_k left out share the tail evenly."""
        value_Bk = self.value_Nk[index_B].float()
        if self.index_Nk is None or self.tail_N is None:
            return value_Bk
        rest_B = self.tail_N[index_B] - math.log(self.classes - value_Bk.shape[1])
        return rest_B[:, None].repeat(1, self.classes).scatter_(1, self.index_Nk[index_B].long(), value_Bk)


class CachedTeacher:
    """Returns cached logits for a batch. The next view is read in the background."""

    def __init__(
        self,
        cache: LogitCache,
        loader: PlanLoader,
        device: torch.device,
        views: range,
        fill: Callable[[int], int] | None,
    ) -> None:
        """fill: computes a missing view; None: all `views` are in the cache."""
        self.name, self.finite = f"the teacher's logits in {cache.folder}", True  # no others are ever stored
        self._cache, self._loader, self._device, self._views, self._fill = cache, loader, device, views, fill
        self._keep = cache.nbytes_per_view * len(views) <= MEMORY_SHARE * _free_memory(device)
        self._kept: dict[int, Future[Stored]] = {}
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="logits")
        self._current: tuple[int, Stored] | None = None

    def begin(self, epoch: int) -> None:
        """Load the logits of an epoch's view. Every process calls it."""
        view, following = self._loader.views.of(epoch), self._loader.views.of(epoch + 1)
        if self._fill is not None and view not in self._cache.views:
            self._fill(view)
        stored = self._request(view).result()
        self._current = view, stored
        if not self._keep:
            self._kept = {number: kept for number, kept in self._kept.items() if number == view}
        if following in self._views and (self._fill is None or following in self._cache.views):
            self._request(following)

    def __call__(self, batch: Batch, autocast: AbstractContextManager[Any]) -> Signals:
        """Return logits, and no features. They were computed under the teacher's own autocast."""
        assert self._current is not None and self._current[0] == batch.view, "begin was not called for this view"
        return Signals(logits_BK=self._current[1].logits(batch.index_B), features_L=[])

    def close(self) -> None:
        """End the reading thread and release the logits."""
        self._pool.shutdown(cancel_futures=True)
        self._kept.clear()
        self._current = None

    def _request(self, view: int) -> Future[Stored]:
        if view not in self._kept:
            self._kept[view] = self._pool.submit(self._read, view)
        return self._kept[view]

    def _read(self, view: int) -> Stored:
        row_N = plan.pairs(self._loader.plan(view).partner_N)
        position_N = np.empty_like(row_N)
        position_N[row_N] = np.arange(len(row_N))
        return Stored.of(self._cache.read(view).take(position_N), self._device)


def identity(config: TrainConfig, loader: PlanLoader, chosen: Choice) -> dict[str, Any]:
    """Return all that a teacher's logits depend on, as fields to compare. InputError: no such teacher."""
    data, samples, teacher = config.data, loader.dataset, config.teacher_file
    assert teacher is not None
    card = artefact.read_card(teacher)
    resized = config.loss.teacher_size == "own" and card.input_CHW[1:] != data.image_size
    return {
        "plan": {
            "seed": loader.views.seed,
            "augment": asdict(data.augment),
            "image_size": data.image_size,
            "probe_crc": loader.plan(0).crc(),
        },
        "data": {"samples": samples.fingerprint, "mean": data.mean, "std": data.std, "classes": samples.classes},
        "pixels": build.fingerprint(data, chosen),
        "teacher": {
            "model": card.model.name,
            "sha256": _weights(teacher, card),
            "mean": card.mean,
            "std": card.std,
            "precision": config.precision,
        }
        | ({"size": card.input_CHW[1:]} if resized else {})
        | ({"code_sha256": registry.find(card.model.name, card.code_sha256).sha256} if card.code_sha256 else {}),
    }


def _weights(teacher: str, card: Card) -> str:
    """Return what tells a teacher's weights from others.

    A file that was adopted on the way differs from run to run in the accuracy that was measured; what it was made from
    and the network do not.
    """
    if origin := origin_of(card):
        return hashlib.sha256(json.dumps([origin, asdict(card.model), card.input_CHW]).encode()).hexdigest()
    return artefact.sha256(teacher)


def open_cache(config: TrainConfig, loader: PlanLoader, chosen: Choice, *, to_fill: bool) -> LogitCache:
    """Open the cache of a config, or create it if `to_fill`. InputError: it is missing, or of another config."""
    distill, samples = config.loss, loader.dataset
    assert distill.cache is not None
    folder, wanted = Path(distill.cache), identity(config, loader, chosen)
    codec = Codec.choose(len(samples.classes), distill.store)
    if to_fill:
        count, classes = len(samples), len(samples.classes)
        return LogitCache.create(folder, wanted, samples=count, classes=classes, codec=codec)
    cache = LogitCache.open(folder, wanted)
    kind = cache.layout.codec.kind
    if distill.store not in ("auto", kind):
        raise InputError(
            f"{folder} stores {kind}; distill.store is {distill.store}: leave it out, or fill another folder"
        )
    return cache


def open_for_training(config: TrainConfig, filler: Filler, views: range) -> CachedTeacher:
    """Open the verified cached teacher of a run. InputError: the cache does not match, is damaged, or lacks a view."""
    cache, folder = filler.cache, config.loss.cache
    lacking = sorted(set(views) - set(cache.views))
    if config.loss.teacher_logits == "cached" and lacking:
        raise InputError(
            f"{folder} has no view {', '.join(map(str, lacking[:5]))}{' ...' * (len(lacking) > 5)} of the {len(views)} "
            "that this run shows: fill it with `python -m train.cache`, or take distill.teacher_logits write_through"
        )
    there = [view for view in views if view in cache.views]
    _require_sound(cache, there, filler.accelerator)
    if config.loss.verify and there:
        few = [there[i] for i in evenly_spaced(len(there), FEW_VIEWS)]
        difference = filler.compare(few, config.loss.verify, seed=config.seed)
        require_close(difference, folder)
        logger.info(
            "teacher logits: %d of %s are the teacher's own, to %.2g", difference.samples, folder, difference.largest
        )
    fill = filler.fill if config.loss.teacher_logits == "write_through" else None
    return CachedTeacher(cache, filler.loader, filler.accelerator.device, views, fill)


def _require_sound(cache: LogitCache, views: list[int], accelerator: Accelerator) -> None:
    """InputError, on all processes, if any byte of these views is wrong. Each process reads its share of them."""
    # Before the first step rather than when a view is due, hours later: one pass over the files.
    own = views[accelerator.process_index :: accelerator.num_processes]
    found = gather_object(list(cache.damage(own).items()))
    cache.refuse(dict(sorted(found, key=lambda fault: fault[0].view)))


def _free_memory(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return resources.available_memory() or 0
