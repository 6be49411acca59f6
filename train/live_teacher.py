"""A live teacher network: frozen, in eval mode, without gradients, with its own normalisation.

B samples, C channels, H x W pixels, K classes, L layer pairs.
"""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from configs.errors import InputError
from data_pipes.batch import Batch
from data_pipes.spec import DataSpec
from models import artefact, state_dicts
from models.adopt.normalisation import LUMINANCE
from models.artefact import Card
from models.networks import checks
from models.taps import Taps
from train import guards
from train.loss.config import TeacherSize
from train.student import Signals

logger = logging.getLogger(__name__)


class Renormalise(nn.Module):
    """Converts images from the student's normalisation and channels to the teacher's: ((x s + m) - m') / s'.

    A teacher of three channels sees a grey image three times; one of one channel sees the luminance of colours.
    """

    scale_C11: Tensor
    shift_C11: Tensor

    def __init__(self, data: DataSpec, card: Card) -> None:
        super().__init__()
        if not {len(card.mean), data.channels} <= {1, 3}:
            raise InputError(f"the teacher takes {len(card.mean)} channels, and images have {data.channels}")
        self.to_grey = data.channels > len(card.mean)
        mean, std, own_mean, own_std = (
            torch.tensor(v, dtype=torch.float64)[:, None, None] for v in (data.mean, data.std, card.mean, card.std)
        )
        if self.to_grey:
            share = torch.tensor(LUMINANCE, dtype=torch.float64)[:, None, None]
            mean, std = (share * mean).sum(0, keepdim=True), share * std
        self.register_buffer("scale_C11", (std / own_std).float())
        self.register_buffer("shift_C11", ((mean - own_mean) / own_std).float())

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """image_BCHW -> image_BCHW with the teacher's channels."""
        if self.to_grey:
            return (image_BCHW * self.scale_C11).sum(1, keepdim=True) + self.shift_C11
        return image_BCHW * self.scale_C11 + self.shift_C11  # one channel becomes three where the buffers have three


class Resize(nn.Module):
    """Resizes images: bilinear, with antialiasing where they shrink."""

    def __init__(self, size_HW: tuple[int, int]) -> None:
        super().__init__()
        self.size_HW = size_HW

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """image_BCHW -> image_BCHW of the other size."""
        return F.interpolate(image_BCHW, self.size_HW, mode="bilinear", antialias=True)


class Teacher(Protocol):
    """Anything that returns teacher logits for a batch: a live network or a cache."""

    @property
    def name(self) -> str:
        """What messages call it, with its file."""
        ...

    @property
    def finite(self) -> Tensor | bool:
        """Whether all logits so far were finite numbers; on the device."""
        ...

    def begin(self, epoch: int) -> None:
        """Prepare for an epoch. Every process calls it before the first batch."""

    def __call__(self, batch: Batch, autocast: AbstractContextManager[Any]) -> Signals:
        """Return logits, and features where the loss compares them."""
        ...

    def close(self) -> None:
        """Release threads."""


class LiveTeacher:
    """Computes logits and features on exactly the view that the student sees, mixed pairs included.

    It is not prepared by accelerate (there is nothing to reduce) and never saved with the student.
    """

    def __init__(
        self,
        net: nn.Module,
        card: Card,
        data: DataSpec,
        *,
        layers: tuple[str, ...] = (),
        size: TeacherSize = "own",
        name: str = "the teacher",
    ) -> None:
        """Raises InputError if the teacher takes other numbers of channels than one and three."""
        self.card, self.net, self.name = card, net, name
        self.finite: Tensor | bool = True
        self.input_CHW = (card.input_CHW[0], *_seen(card, data, size))
        resized = [Resize(self.input_CHW[1:])] if self.input_CHW[1:] != data.image_size else []
        self.model = nn.Sequential(Renormalise(data, card), *resized, net).eval().requires_grad_(False)
        self._layers = layers
        self._taps = Taps(net, layers)
        self._checked = False

    @classmethod
    def load(
        cls,
        path: str,
        data: DataSpec,
        classes: tuple[str, ...],
        *,
        layers: tuple[str, ...] = (),
        size: TeacherSize = "own",
    ) -> LiveTeacher:
        """Load a teacher from its file. InputError: it was trained for other classes, or a weight is not finite."""
        net, card = artefact.load(path)
        state_dicts.require_finite(net, path)
        name = f"the teacher {path}"
        guards.require_classes(card.classes, classes, name)
        if card.input_CHW[1:] != data.image_size:
            sizes = [" x ".join(map(str, size)) for size in (card.input_CHW[1:], data.image_size)]
            if size == "own":
                logger.info("the teacher sees its own %s pixels, resized from %s", *sizes)
            else:
                logger.warning("the teacher was trained on %s pixels and will see %s", *sizes)
        return cls(net, card, data, layers=layers, size=size, name=name)

    def to(self, device: torch.device, dtype: torch.dtype) -> LiveTeacher:
        """Move the teacher to a device and type; return it."""
        self.model.to(device=device, dtype=dtype).to(memory_format=torch.channels_last)
        return self

    def begin(self, epoch: int) -> None:
        """Check that nothing has woken the teacher. InputError as in `guards.require_frozen`."""
        guards.require_frozen(self.model)
        self._checked = True

    def close(self) -> None:
        """Do nothing: a live teacher has no threads."""

    @torch.no_grad()
    def __call__(self, batch: Batch, autocast: AbstractContextManager[Any]) -> Signals:
        """Return logits and tapped features."""
        if not self._checked:
            self.begin(0)
        with autocast:
            logits_BK = self.model(batch.image_BCHW)
        self.finite = self.finite & (logits_BK.isfinite().all(dim=1) | (batch.weight_B == 0)).all()
        features = self._taps.take()
        return Signals(logits_BK=_wide(logits_BK), features_L=[features[name] for name in self._layers])


def require_fit(path: str, data: DataSpec, size: TeacherSize, *, key: str = "distill.teacher_size") -> None:
    """Raise InputError if the teacher in a file cannot take the images of a data set; no image is read.

    key: the option that lets the teacher see its own size, for the message.
    """
    card = artefact.read_card(path)
    Renormalise(data, card)
    seen_CHW = (card.input_CHW[0], *_seen(card, data, size))
    if seen_CHW != card.input_CHW:
        way = f"{key} own resizes what it sees"
        checks.require_takes(artefact.load(path)[0], card.input_CHW, seen_CHW, f"the teacher {path}", way)


def _seen(card: Card, data: DataSpec, size: TeacherSize) -> tuple[int, int]:
    """Return height and width of the images that a teacher sees."""
    return card.input_CHW[1:] if size == "own" else data.image_size


def _wide(x: Tensor) -> Tensor:
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
