"""ONE safetensors file: weights, and a card that says all that is needed to use them. Never pickle.

header   JSON under the key "heartcut": format (a number), card, digest (SHA-256 of card and tensors)
tensors  the state dict, every entry contiguous and on its own
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

from configs.errors import InputError, UsageError
from configs.files import write_atomically
from models import architectures
from models.counting import Cost
from models.spec import ModelSpec

FORMAT = 1
"""Raised by one whenever an older Heartcut could no longer read what a newer one writes."""


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

    def __post_init__(self) -> None:
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

    UsageError: the card does not rebuild this module, so the file could never be loaded.
    """
    path = Path(path)
    # On its own, each: tied weights and slices would be refused by the format. Loading ties them again.
    tensors = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in module.state_dict().items()}
    problem = _mismatch(_skeleton(card).state_dict(), tensors)
    if problem:
        raise UsageError(f"{path}: the card's model {card.model} does not rebuild this network: {problem}")
    fields = asdict(card)
    header = {"format": FORMAT, "card": fields, "digest": _digest(fields, tensors)}
    # One key only: safetensors writes several in random order, and equal networks should give equal files.
    metadata = {"heartcut": json.dumps(header, sort_keys=True, allow_nan=False)}
    write_atomically(path, safetensors.torch.save(tensors, metadata=metadata))


def load(path: str | Path, *, device: str | torch.device = "cpu") -> tuple[nn.Module, Card]:
    """Rebuild the network in evaluation mode, bit for bit, with its card.

    InputError: the file is missing, damaged, foreign, of a newer format, or does not fit the network it names.
    """
    path = Path(path)
    with _opened(path) as file:
        header = _header(path, file.metadata() or {})
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    card = _card(path, header)
    if _digest(header["card"], tensors) != header.get("digest"):
        raise InputError(f"{path} is damaged: its contents do not match its digest; copy or train it again")
    module = _skeleton(card)
    problem = _mismatch(module.state_dict(), tensors)
    if problem:
        raise InputError(f"{path} does not fit the network it names, {card.model}: {problem}")
    module.load_state_dict(tensors, strict=True)
    return module.to(device).eval(), card


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
        return Card(
            model=ModelSpec(**_tupled(model)),
            scores={split: Score(**score) for split, score in scores.items()},
            cost=Cost(**cost),
            **_tupled(fields),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path} is damaged: its card is unreadable ({error}); copy or train it again") from error


def _tupled(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}


def _skeleton(card: Card) -> nn.Module:
    """Build the architecture without pretrained weights, leaving the caller's random state alone."""
    with torch.random.fork_rng(devices=[]):
        spec = replace(card.model, pretrained=False)
        return architectures.build(spec, num_classes=len(card.classes), input_CHW=card.input_CHW)


def _mismatch(wanted: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> str:
    """Say how two state dicts differ in names, shapes or types; nothing if they do not."""
    for what, names in (("lacks", wanted.keys() - found.keys()), ("has the unknown", found.keys() - wanted.keys())):
        if names:
            return f"it {what} {', '.join(sorted(names)[:4])} ({len(names)} in all)"
    for name, tensor in wanted.items():
        other = found[name]
        if (tensor.shape, tensor.dtype) != (other.shape, other.dtype):
            return f"{name} is {list(other.shape)} {other.dtype}, not {list(tensor.shape)} {tensor.dtype}"
    return ""


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
