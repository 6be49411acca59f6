"""What a network and its teacher answer on validation images: counts by class, mistakes, disagreements, thumbnails.

B images of a micro-batch, N in all, K classes, R thumbnails, H x W pixels, C channels.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from configs import reader
from data_pipes import contact_sheet
from data_pipes.executors import build
from data_pipes.loader import Layout, PlanLoader
from data_pipes.sources.samples import Samples
from data_pipes.spec import DataSpec
from models import artefact, state_dicts
from models.artefact import Card
from train import guards, live_teacher, saved
from train.evaluate.config import EvaluateConfig
from train.evaluate.subject import labelled
from train.live_teacher import LiveTeacher
from train.loaders import FEW_IMAGES
from train.report.networks import Network, Subject
from train.run_folder import own_code, own_config, split_record

IMAGES = 3000
"""Validation images at most."""
BATCH = 64
SHOWN = 9
"""Mistakes, and disagreements, that are shown at most."""
BEST = 3
THUMBNAIL, SMALL = 112, 48
"""Pixels of the longer side of a thumbnail; images of a network for at most SMALL pixels are shown as it sees them."""
QUALITY = 80


@dataclass(frozen=True, kw_only=True, slots=True)
class Answers:
    """All answers: what report.json records, and the thumbnails by the images' names."""

    record: dict[str, Any]
    thumbnails: dict[str, tuple[bytes, int, int]]
    """JPEG or PNG, width, height."""


def ask(subject: Subject) -> Answers:
    """Ask the network of a run, and its teacher if there is one, on a CPU.

    InputError, UsageError: weights, images or the code of a network are missing, or do not fit.
    """
    own_code.register_run(str(subject.folder.path))
    net, card = artefact.load(subject.final.file)
    state_dicts.require_finite(net, subject.final.file)
    spec = replace(saved.shown(data_of(subject), card), executor="host")
    whole = validation(subject, spec, card)
    guards.require_classes(card.classes, whole.classes, f"the network {subject.final.file}")
    samples = few(whole, IMAGES)
    teacher = _teacher(subject.teacher, spec, samples.classes, str(subject.folder.path))
    own_NK, theirs_NK = _probabilities(net, teacher, samples, spec)
    found = _record(samples, own_NK, theirs_NK) | {"of": len(whole)}
    rows = sorted({shown["row"] for key in ("mistakes", "disagreements") for shown in found[key]})
    return Answers(record=found, thumbnails=_thumbnails(samples, spec, np.array(rows, np.int64)))


def validation(subject: Subject, spec: DataSpec, card: Card) -> Samples:
    """Load the images that a run validated on, as train.evaluate does."""
    record = split_record.read(subject.folder.path)
    return labelled(spec, "validation", own=True, trained_on=card.lineage.get("data"), record=record)


def few(samples: Samples, count: int) -> Samples:
    """Return at most `count` samples, spread over all."""
    return samples.select(samples.spread(count))


def data_of(subject: Subject) -> DataSpec:
    """Return the data of a run's config. UsageError: the config does not hold. InputError: it is missing."""
    path = subject.folder.path
    words = own_config.with_own_config(["--run_dir", str(path)])
    return reader.read(EvaluateConfig, words, prog="train.report", description="", other_sections=True).data


def _teacher(network: Network | None, spec: DataSpec, classes: tuple[str, ...], run: str) -> LiveTeacher | None:
    if network is None or not Path(network.file).is_file():
        return None
    if network.folder is not None:
        own_code.register_run(str(network.folder.path))
    size = saved.teacher_size(run)
    live_teacher.require_fit(str(network.file), spec, size)
    return LiveTeacher.load(str(network.file), spec, classes, size=size)


@torch.no_grad()
def _probabilities(
    net: torch.nn.Module, teacher: LiveTeacher | None, samples: Samples, spec: DataSpec
) -> tuple[Tensor, Tensor | None]:
    """Return the network's and the teacher's probabilities, N x K each, in the order of the samples."""
    own, theirs = [], []
    loader = batches(samples, spec)
    for batch in loader.epoch(0):
        own.append(net(batch.image_BCHW).softmax(dim=1)[: batch.real])
        if teacher is not None:
            theirs.append(teacher(batch, nullcontext()).logits_BK.softmax(dim=1)[: batch.real])
    loader.close()
    return torch.cat(own), torch.cat(theirs) if theirs else None


def batches(samples: Samples, spec: DataSpec) -> PlanLoader:
    """Load fixed views of some samples, in their order, by the host executor on a CPU."""
    cpu, micro = torch.device("cpu"), max(min(BATCH, len(samples)), 1)
    executor = build.build(FEW_IMAGES, spec, samples, cpu, torch.float32)
    layout = Layout(batch_size=micro, micro_batch_size=micro)
    return PlanLoader(samples, spec, layout, executor, seed=None, device=cpu, dtype=torch.float32)


def _record(samples: Samples, own_NK: Tensor, theirs_NK: Tensor | None) -> dict[str, Any]:
    label_N = torch.from_numpy(samples.label_N)
    found: dict[str, Any] = {
        "split": samples.split,
        "samples": len(samples),
        "classes": list(samples.classes),
        "data": samples.fingerprint,
        "network": _counts(label_N, own_NK),
        "teacher": None if theirs_NK is None else _counts(label_N, theirs_NK),
    }
    wrong_N = own_NK.argmax(dim=1) != label_N
    found["mistakes"] = _shown(samples, wrong_N, own_NK, theirs_NK)
    if theirs_NK is not None:
        apart_N = own_NK.argmax(dim=1) != theirs_NK.argmax(dim=1)
        found["agreed"] = int((~apart_N).sum())
        already = {shown["row"] for shown in found["mistakes"]}
        apart_N[list(already)] = False
        found["disagreements"] = _shown(samples, apart_N, own_NK, theirs_NK)
    return {"agreed": None, "disagreements": [], **found}


def _counts(label_N: Tensor, probability_NK: Tensor) -> dict[str, Any]:
    classes = probability_NK.shape[1]
    cell_N = label_N * classes + probability_NK.argmax(dim=1)
    confusion_KK = torch.bincount(cell_N, minlength=classes * classes).view(classes, classes)
    return {
        "correct": int(confusion_KK.diagonal().sum()),
        "confusion": confusion_KK.tolist(),
        "per_class": [{"correct": int(row[i]), "samples": int(row.sum())} for i, row in enumerate(confusion_KK)],
    }


def _shown(samples: Samples, chosen_N: Tensor, own_NK: Tensor, theirs_NK: Tensor | None) -> list[dict[str, Any]]:
    """Describe the chosen images of which the network is most certain."""
    rows = chosen_N.nonzero()[:, 0]
    order = own_NK[rows].max(dim=1).values.argsort(descending=True, stable=True)
    found = []
    for row in rows[order][:SHOWN].tolist():
        label = samples.classes[int(samples.label_N[row])]
        top = {"network": _top(own_NK[row], samples.classes)}
        if theirs_NK is not None:
            top["teacher"] = _top(theirs_NK[row], samples.classes)
        found.append({"row": row, "image": samples.key_N[row], "label": label, **top})
    return found


def _top(probability_K: Tensor, classes: Sequence[str]) -> list[dict[str, Any]]:
    best = probability_K.topk(min(BEST, len(classes)))
    pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
    return [{"class": classes[number], "probability": round(value, 6)} for number, value in pairs]


def _thumbnails(samples: Samples, spec: DataSpec, rows: npt.NDArray[np.int64]) -> dict[str, tuple[bytes, int, int]]:
    """Draw evaluation views, larger than the network sees them where it sees photographs in small."""
    if not len(rows):
        return {}
    height, width = spec.image_size
    if max(height, width) > SMALL:
        scale = THUMBNAIL / max(height, width)
        spec = replace(spec, image_size=(max(round(height * scale), 1), max(round(width * scale), 1)))
    (tile_RHWC,) = contact_sheet.tiles(spec, samples, rows, 0, 0)
    return {samples.key_N[int(row)]: _encoded(tile) for row, tile in zip(rows, tile_RHWC, strict=True)}


def _encoded(tile_HWC: npt.NDArray[np.uint8]) -> tuple[bytes, int, int]:
    """Encode small images without loss."""
    picture, content = Image.fromarray(tile_HWC if tile_HWC.shape[2] == 3 else tile_HWC[:, :, 0]), io.BytesIO()
    small = max(picture.size) <= SMALL
    picture.save(content, format="png") if small else picture.save(content, format="jpeg", quality=QUALITY)
    return content.getvalue(), *picture.size
