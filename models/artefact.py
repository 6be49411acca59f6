"""ONE safetensors file: weights, and a card that says all that is needed to use them. Never pickle.

header   JSON under the key "heartcut": format (a number), card, digest (SHA-256 of card and tensors), and the shapes of
         the tensors that are packed because most of their entries are zero
tensors  the state dict, every entry contiguous and on its own, packed (models/sparse.py) where that is smaller
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from configs.errors import InputError, NonFiniteError, UsageError
from configs.files import write_atomically
from models import architectures, rebuild, sparse, state_dicts
from models.counting import Cost
from models.spec import ModelSpec

FORMAT = 2
"""Raised by one whenever an older Heartcut could no longer read what a newer one writes.

2: the card may say that the network was pruned, and tensors may be packed.
"""


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


@dataclass(frozen=True, kw_only=True)
class Card:
    """What the weights are, how to feed them, and where they come from."""

    model: ModelSpec
    """The architecture; never a .safetensors name, or the file would need another file."""
    classes: tuple[str, ...]
    """Class names in the order of the logits."""
    input_CHW: tuple[int, int, int]
    mean: tuple[float, ...]
    """Subtracted from pixels in [0, 1], per channel: this network's own normalisation."""
    std: tuple[float, ...]
    eval_crop: float
    """Side of the central evaluation crop over the side of the image, in (0, 1]."""
    scores: Mapping[str, Score] = field(default_factory=dict)
    """By split, such as validation; each split is recorded once."""
    cost: Cost
    lineage: Mapping[str, str] = field(default_factory=dict)
    """Where it comes from: teacher (its sha256), config, commit, ..."""
    pruned: bool = False
    """Channels were cut from `model`: the shapes are those of the tensors."""
    attributes: rebuild.Attributes = field(default_factory=dict)
    """By layer, what the shapes of a pruned network do not tell, such as num_heads; `save` finds it."""

    def __post_init__(self) -> None:
        if self.attributes and not self.pruned:
            raise UsageError("the card has attributes of layers, but pruned is False; only a pruned network has them")
        if self.model.name.endswith(".safetensors"):
            raise UsageError(f"the card's model is {self.model.name}; take model = read_card(that file).model")
        if not self.classes:
            raise UsageError("the card has no classes; name one for each logit")
        if not len(self.mean) == len(self.std) == self.input_CHW[0]:
            raise UsageError(
                f"the card has {len(self.mean)} means and {len(self.std)} deviations for {self.input_CHW[0]} channels"
            )
        if not all(map(math.isfinite, (*self.mean, *self.std))) or min(self.std) <= 0 or not 0 < self.eval_crop <= 1:
            raise UsageError(
                "the card needs finite means, std > 0 and eval_crop in (0, 1], "
                f"not {self.mean}, {self.std}, {self.eval_crop}"
            )


def save(path: str | Path, module: nn.Module, card: Card) -> None:
    """Write the file whole or not at all; what was there before stays until then.

    UsageError: the card does not rebuild this module, so the file could never be loaded. NonFiniteError: a NaN.
    """
    path = Path(path)
    # On its own, each: tied weights and slices would be refused by the format. Loading ties them again.
    tensors = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in module.state_dict().items()}
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and tensor.isnan().any():
            raise NonFiniteError(f"{path} is not written: {name} has a NaN")
    try:
        if card.pruned:
            bare = _skeleton(replace(card, attributes={}), tensors)
            card = replace(card, attributes=rebuild.differences(module, bare))
        again = _filled(card, tensors)
    except InputError as error:
        raise UsageError(f"{path}: the card's model {card.model} does not rebuild this network: {error}") from error
    if card.pruned and not rebuild.same_outputs(module, again, card.input_CHW):
        raise UsageError(f"{path}: {card.model} in these shapes gives other outputs than this network; was it changed?")
    fields = asdict(card)
    stored, packed = sparse.pack(tensors)
    header = {"format": FORMAT, "card": fields, "digest": _digest(fields, tensors), "packed": packed}
    # One key only: safetensors writes several in random order, and equal networks should give equal files.
    metadata = {"heartcut": json.dumps(header, sort_keys=True, allow_nan=False)}
    write_atomically(path, safetensors.torch.save(stored, metadata=metadata))


def load(path: str | Path, *, device: str | torch.device = "cpu") -> tuple[nn.Module, Card]:
    """Rebuild the network in evaluation mode, bit for bit, with its card.

    InputError: the file is missing, damaged, foreign, of a newer format, or does not fit the network it names.
    """
    path = Path(path)
    with _opened(path) as file:
        header = _header(path, file.metadata() or {})
        stored = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    card = _card(path, header)
    tensors = _unpacked(path, stored, header)
    if _digest(header["card"], tensors) != header.get("digest"):
        raise InputError(f"{path} is damaged: its contents do not match its digest; copy or train it again")
    try:
        module = _filled(card, tensors)
    except InputError as error:
        raise InputError(f"{path} does not fit the network it names, {card.model}: {error}") from error
    return module.to(device).eval(), card


def redraw(path: str | Path) -> tuple[nn.Module, Card]:
    """Build the network of a file with new weights, from torch's generator. InputError as for `load`.

    What was pruned is drawn as its architecture draws it whole, cut to the first channels of every layer.
    """
    kept, card = load(path)
    return _bare(card, kept.state_dict()).eval(), card


def read_card(path: str | Path) -> Card:
    """Read the header only. InputError as for `load`, except that weights are not checked."""
    path = Path(path)
    with _opened(path) as file:
        header = _header(path, file.metadata() or {})
    return _card(path, header)


def sha256(path: str | Path) -> str:
    """Return the file's SHA-256 in hexadecimal, as a lineage records it. InputError: it cannot be read."""
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error


def _header(path: Path, metadata: Mapping[str, str]) -> dict[str, Any]:
    """Return the format, card and digest that a file of ours carries, once the format is one we read."""
    if "heartcut" not in metadata:
        keys = ", ".join(sorted(metadata)) or "no metadata"
        raise InputError(f"{path} is not a Heartcut file (it has {keys}); save it with models.artefact.save")
    try:
        header: dict[str, Any] = json.loads(metadata["heartcut"])
        found = int(header["format"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} is damaged: its header is unreadable ({error}); copy or train it again") from error
    if found > FORMAT:
        raise InputError(f"{path} has format {found}, but this Heartcut reads up to {FORMAT}; update Heartcut")
    return header


def _card(path: Path, header: Mapping[str, Any]) -> Card:
    """Undo JSON: lists to tuples, objects to our dataclasses. InputError: a field is missing, unknown or impossible."""
    try:
        fields = dict(header["card"])
        model, scores, cost = fields.pop("model"), fields.pop("scores"), fields.pop("cost")
        attributes = fields.pop("attributes", {})  # format 1 had none
        return Card(
            model=ModelSpec(**_tupled(model)),
            scores={split: Score(**score) for split, score in scores.items()},
            cost=Cost(**cost),
            attributes={layer: dict(numbers) for layer, numbers in attributes.items()},
            **_tupled(fields),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path} is damaged: its card is unreadable ({error}); copy or train it again") from error


def _tupled(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}


def _unpacked(path: Path, stored: Mapping[str, Tensor], header: Mapping[str, Any]) -> dict[str, Tensor]:
    try:
        return sparse.unpack(stored, dict(header.get("packed", {})))
    except (InputError, TypeError, ValueError) as error:
        raise InputError(f"{path} is damaged: {error}; copy or train it again") from error


def _filled(card: Card, tensors: Mapping[str, Tensor]) -> nn.Module:
    """Build what the card names, in evaluation mode, and load the tensors; InputError if they do not fit."""
    module = _skeleton(card, tensors)
    rebuild.require_match(module.state_dict(), tensors)
    state_dicts.load(module, tensors)
    if card.pruned:
        rebuild.require_forward(module, card.input_CHW, len(card.classes))
    return module.eval()


def _skeleton(card: Card, tensors: Mapping[str, Tensor]) -> nn.Module:
    """Build the architecture, leaving the caller's random state alone; its weights are of no use."""
    with torch.random.fork_rng(devices=[]):
        return _bare(card, tensors)


def _bare(card: Card, tensors: Mapping[str, Tensor]) -> nn.Module:
    """Build the architecture with weights as it draws them, never pretrained.

    Its shapes are its own, or those of `tensors` if the card says that it was pruned.
    """
    spec = replace(card.model, pretrained=False)
    module = architectures.build(spec, num_classes=len(card.classes), input_CHW=card.input_CHW)
    if card.pruned:
        rebuild.reshape(module, {name: tuple(tensor.shape) for name, tensor in tensors.items()})
        rebuild.set_attributes(module, card.attributes)
    return module


def _digest(card: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(json.dumps(card, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    if not path.is_file():
        raise InputError(f"there is no file {path}; give the path of a saved .safetensors file")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            yield file
    except (safetensors.SafetensorError, OSError) as error:
        raise InputError(f"{path} is damaged, cut short, or not a safetensors file: {error}") from error
