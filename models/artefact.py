"""One safetensors file per network: weights, and a card with everything needed to use them."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from configs.errors import InputError, NonFiniteError, UsageError
from configs.files import write_atomically
from configs.intervals import wilson
from configs.values import coerce
from models import artefact_file, limits, rebuild, state_dicts
from models.counting import Cost
from models.networks import architectures
from models.networks.blank import blank
from models.own import registry
from models.own.code import is_code, short
from models.own.registry import NotNamedError
from models.spec import ModelSpec, from_plain

LARGEST_IMAGE = 2**26  # channels x pixels


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """Counts, not a fraction: an interval needs both."""

    correct: int
    total: int

    def __post_init__(self) -> None:
        if not 0 <= self.correct <= self.total or self.total == 0:
            raise UsageError(f"a score of {self.correct} correct of {self.total} samples is impossible")

    @property
    def accuracy(self) -> float:
        """The fraction of correct samples."""
        return self.correct / self.total

    @property
    def interval(self) -> tuple[float, float]:
        """Its 95 % interval."""
        return wilson(self.correct, self.total)


@dataclass(frozen=True, kw_only=True)
class Card:
    """What the network is, its input, and its origin."""

    model: ModelSpec
    """The architecture; never a .safetensors name, or the file would need another file."""
    classes: tuple[str, ...]
    """Class names in the order of the logits."""
    input_CHW: tuple[int, int, int]
    mean: tuple[float, ...]
    """Mean per channel of the normalisation, for pixels in [0, 1]."""
    std: tuple[float, ...]
    """Standard deviation per channel, likewise."""
    eval_crop: float
    """Side of the central evaluation crop, as a share of the largest of the input's aspect ratio, in (0, 1]."""
    scores: Mapping[str, Score] = field(default_factory=dict)
    """By split, such as validation."""
    cost: Cost
    lineage: Mapping[str, str] = field(default_factory=dict)
    """Origin: teacher (its SHA-256), config, commit, ..."""
    pruned: bool = False
    """Whether channels were cut from `model`; shapes are then those of the tensors."""
    attributes: rebuild.Attributes = field(default_factory=dict)
    """Numbers by layer that shapes of a pruned network do not determine, such as num_heads; set by `save`."""
    code_sha256: str | None = None
    """SHA-256 of the source file of a network of the user's own; set by `save`."""

    def __post_init__(self) -> None:
        if self.attributes and not self.pruned:
            raise UsageError("the card has attributes of layers, but pruned is False; only a pruned network has them")
        if self.model.name.endswith(".safetensors"):
            raise UsageError(f"the card's model is {self.model.name}; take model = read_card(that file).model")
        if not self.classes:
            raise UsageError("the card has no classes; name one for each logit")
        if not (min(self.input_CHW) >= 1 and math.prod(self.input_CHW) <= LARGEST_IMAGE):
            raise UsageError(f"the card's input_CHW is {self.input_CHW}; it must have 1 to {LARGEST_IMAGE:,} entries")
        if not len(self.mean) == len(self.std) == self.input_CHW[0]:
            raise UsageError(
                f"the card has {len(self.mean)} means and {len(self.std)} deviations for {self.input_CHW[0]} channels"
            )
        if not all(map(math.isfinite, (*self.mean, *self.std))) or min(self.std) <= 0 or not 0 < self.eval_crop <= 1:
            raise UsageError(
                "the card needs finite means, std > 0 and eval_crop in (0, 1], "
                f"not {self.mean}, {self.std}, {self.eval_crop}"
            )


FIELDS = {
    "classes": tuple[str, ...],
    "input_CHW": tuple[int, int, int],
    "mean": tuple[float, ...],
    "std": tuple[float, ...],
    "eval_crop": float,
    "lineage": dict[str, Any],
    "pruned": bool,
}
"""Fields of a card in JSON that need no constructor, with their types."""


def save(path: str | Path, module: nn.Module, card: Card) -> None:
    """Write the file atomically.

    UsageError: the card does not rebuild this module, so the file could never be loaded. NonFiniteError: a NaN.
    """
    write_atomically(Path(path), encode(path, module, card)[0])


def encode(path: str | Path, module: nn.Module, card: Card) -> tuple[bytes, nn.Module]:
    """Return the contents of the file, and the network that loading it gives. Errors as for `save`."""
    path, card = Path(path), with_code(card)
    # Copies, since the format refuses tied weights and slices. Loading ties them again.
    tensors = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in module.state_dict().items()}
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and tensor.isnan().any():
            raise NonFiniteError(f"{path} is not written: {name} has a NaN")
    try:
        if card.pruned:
            bare = _skeleton(replace(card, attributes={}), tensors)
            card = replace(card, attributes=rebuild.differences(module, bare))
        content = artefact_file.compose(asdict(card), tensors)
        found = artefact_file.parse(path, content)
        found.require_intact(path)
        again = _filled(_card(path, found.card), found.tensors)
    except InputError as error:
        raise UsageError(f"{path}: the card's model {card.model} does not rebuild this network: {error}") from error
    if card.pruned and not rebuild.same_outputs(module, again, card.input_CHW):
        raise UsageError(f"{path}: {card.model} in these shapes gives other outputs than this network; was it changed?")
    return content, again


def load(path: str | Path, *, device: str | torch.device = "cpu") -> tuple[nn.Module, Card]:
    """Rebuild the network in evaluation mode, bit for bit, with its card; weights of half precision become float32.

    InputError: the file is missing, damaged, foreign, of a newer format, or does not fit the network it names.
    NotNamedError: it holds a network of the user's own code, which `registry` does not know; nothing is executed.
    """
    path = Path(path)
    found = artefact_file.read(path)
    card = _card(path, found.card)
    found.require_intact(path)
    try:
        module = _filled(card, found.tensors)
    except NotNamedError as error:
        raise NotNamedError(f"{path} {error}") from error
    except InputError as error:
        raise InputError(f"{path} does not fit the network it names, {card.model}: {error}") from error
    return module.to(device).eval(), card


def redraw(path: str | Path) -> tuple[nn.Module, Card]:
    """Build the network of a file with new weights, from torch's generator. InputError as for `load`.

    The weights of a pruned network are those of the first channels of every layer of its unpruned architecture.
    """
    kept, card = load(path)
    return _bare(card, kept.state_dict()).eval(), card


def read_card(path: str | Path) -> Card:
    """Read the card only. InputError as for `load`, except that weights are not checked."""
    return _card(Path(path), artefact_file.read_card(Path(path)))


def sha256(path: str | Path) -> str:
    """Return the file's SHA-256 in hexadecimal, as a lineage records it. InputError: it cannot be read."""
    try:
        artefact_file.require_file(Path(path))
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error


def with_code(card: Card) -> Card:
    """Record the code that a network of the user's own is built from now. NotNamedError: it is not known."""
    if not is_code(card.model.name):
        return card
    code = registry.find(card.model.name, card.code_sha256)
    return replace(card, model=replace(card.model, name=short(card.model.name)), code_sha256=code.sha256)


def _card(path: Path, fields: Mapping[str, Any]) -> Card:
    """Rebuild a card from its JSON fields. InputError: a field is missing, unknown or impossible."""
    try:
        fields = dict(fields)
        fields |= {name: coerce(hint, fields[name]) for name, hint in FIELDS.items() if name in fields}
        model, scores, cost = fields.pop("model"), fields.pop("scores"), fields.pop("cost")
        attributes = fields.pop("attributes", {})  # format 1 has none
        return Card(
            model=from_plain(model),
            scores={split: Score(**score) for split, score in scores.items()},
            cost=Cost(**coerce(dict[str, int], cost)),
            attributes={layer: dict(numbers) for layer, numbers in attributes.items()},
            **fields,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path} is damaged: its card is unreadable ({error}); copy or train it again") from error


def _filled(card: Card, tensors: Mapping[str, Tensor]) -> nn.Module:
    """Build the network of a card, in evaluation mode, with these tensors. InputError: they do not fit."""
    module = _skeleton(card, tensors)
    tensors = state_dicts.widened(tensors)
    rebuild.require_match(module.state_dict(), tensors)
    state_dicts.load(module, tensors)
    if card.pruned:
        rebuild.require_forward(module, card.input_CHW, len(card.classes))
    return module.eval()


def _skeleton(card: Card, tensors: Mapping[str, Tensor]) -> nn.Module:
    """Build the architecture; its weights are to be replaced."""
    with blank():
        return _bare(card, tensors)


def _bare(card: Card, tensors: Mapping[str, Tensor]) -> nn.Module:
    """Build the architecture with its initial weights, never pretrained.

    Its shapes are its own, or those of `tensors` if it was pruned.
    """
    spec = replace(card.model, pretrained=False)
    classes, sha256 = len(card.classes), card.code_sha256
    with limits.within_reach(tensors, pruned=card.pruned):
        module = architectures.build(spec, num_classes=classes, input_CHW=card.input_CHW, code_sha256=sha256)
    if card.pruned:
        rebuild.reshape(module, {name: tuple(tensor.shape) for name, tensor in tensors.items()})
        rebuild.set_attributes(module, card.attributes)
    return module
