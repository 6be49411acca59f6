"""From weights of elsewhere to a network and its card."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from configs.errors import InputError, UsageError
from configs.figures import percent
from models import artefact, counting, state_dicts
from models.adopt import candidates, class_order, hub, matching, normalisation, pretrained, weight_file
from models.adopt.options import SIZE_NEEDED, Options
from models.adopt.recognition import Match, recognise
from models.adopt.weight_file import WeightFile
from models.artefact import Card
from models.networks import architectures
from models.networks.blank import blank
from models.own import registry
from models.own.code import is_code
from models.spec import ModelSpec, Stem, names_file, names_pretrained

logger = logging.getLogger(__name__)
STAGE, ORIGIN, ORIGIN_SHA = "adopt", "adopted_from", "adopted_sha256"
"""What the lineage of an adopted file says about the one that it was made from."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """What is known about a network before its weights are read."""

    input_CHW: tuple[int, int, int]
    """Its images; where the weights have another number of channels, that one holds."""
    mean: tuple[float, ...] | None = None
    """None, as in std: ImageNet's for colour, 0.5 for grey."""
    std: tuple[float, ...] | None = None
    eval_crop: float = 1.0
    model: ModelSpec | None = None
    """Its architecture; None: it is recognised."""
    stem: Stem | None = None
    """Its stem, where the architecture is recognised; None: the one that fits."""
    entry: str | None = None
    """The entry of a checkpoint to take; None: the usual one."""
    classes: tuple[str, ...] | None = None
    """Names of its classes; None: their numbers."""
    new_head: bool = False
    """Whether a last layer of another number of classes is drawn anew rather than refused."""


def adopt(path: str | Path, wanted: Wanted) -> tuple[nn.Module, Card]:
    """Return the network of a file in evaluation mode, and its card, without scores. The random state is not changed.

    InputError: the file cannot be read safely, or does not fit what is wanted. UsageError: no such network or entry.
    """
    file = weight_file.read(path, entry=wanted.entry)
    if wanted.classes is not None and not wanted.new_head:
        require_classes(file, wanted.classes)
    match = recognise(file, wanted.input_CHW, wanted.model, stem=wanted.stem)
    _announce(file, match)
    net = network(match, wanted)
    state_dicts.require_finite(net, path)
    card = card_of(net, match.spec, match.channels, wanted, len(wanted.classes or range(match.num_classes)))
    lineage = {"stage": STAGE, ORIGIN: Path(path).name, ORIGIN_SHA: artefact.sha256(path)}
    return net, replace(card, lineage=lineage)


def from_options(asked: Options, data: Wanted | None = None) -> tuple[nn.Module, Card]:
    """Return the network that a command line names, and its card, without scores.

    data: what a data set says; what the command line says comes first, except that logits get the data set's order.
    InputError and UsageError as for `adopt` and `published`.
    """
    classes = data.classes if data else None
    if classes is not None and asked.classes is not None:
        class_order.require_same(asked.classes, classes)
    net, card = _named(asked, data)
    return net, card if classes is None else class_order.reorder(net, card, classes)


def _named(asked: Options, data: Wanted | None) -> tuple[nn.Module, Card]:
    if names_pretrained(asked.source):
        if asked.model is not None or asked.entry is not None:
            raise UsageError(f"{asked.source} is published weights; --architecture and --entry are for files")
        return published(asked.source, asked, classes=asked.classes or (data.classes if data else None))
    input_CHW = asked.input_CHW or (data.input_CHW if data else None)
    if input_CHW is None:
        raise UsageError(SIZE_NEEDED)
    if asked.model is not None and is_code(asked.model.name):
        registry.register(asked.model.name)
    known = data or Wanted(input_CHW=input_CHW)
    wanted = Wanted(
        input_CHW=input_CHW,
        mean=asked.mean or known.mean,
        std=asked.std or known.std,
        eval_crop=asked.eval_crop or known.eval_crop,
        model=asked.model,
        entry=asked.entry,
        classes=asked.classes or known.classes,
    )
    return adopt(asked.source, wanted)


def starting_weights(spec: ModelSpec, wanted: Wanted) -> tuple[nn.Module, Card]:
    """Return a network with weights from elsewhere to start training from: a file, or a name on the hub.

    The last layer is drawn anew where the weights are for another number of classes than are wanted.
    """
    if names_file(spec.name):
        stem = None if spec.stem == "auto" else spec.stem
        return adopt(spec.name, replace(wanted, new_head=True, stem=stem))
    if (path := hub.find(spec.name)) is not None:
        return _ours(spec.name, path, None, wanted.classes)
    found = pretrained.load(spec.name, num_classes=len(wanted.classes or ()), channels=wanted.input_CHW[0])
    card = card_of(found.net, found.spec, wanted.input_CHW[0], wanted, found.num_classes)
    return found.net, replace(card, lineage={"stage": STAGE, ORIGIN: spec.name})


def published(
    name: str, asked: Options | None = None, *, classes: tuple[str, ...] | None = None
) -> tuple[nn.Module, Card]:
    """Return a network with published weights and its card, with the size and normalisation that it was trained with.

    InputError: the weights cannot be had, or are for another number of classes. UsageError: no such network.
    """
    if (path := hub.find(name)) is not None:
        return _ours(name, path, asked, classes)
    if classes is not None:
        pretrained.require_classes(name, len(classes))
    found = pretrained.load(name)
    _, height, width = (asked.input_CHW if asked else None) or found.input_CHW
    wanted = Wanted(
        input_CHW=(found.input_CHW[0], height, width),
        mean=(asked.mean if asked else None) or found.mean,
        std=(asked.std if asked else None) or found.std,
        eval_crop=(asked.eval_crop if asked else None) or found.eval_crop,
        classes=classes,
    )
    card = card_of(found.net, found.spec, found.input_CHW[0], wanted, found.num_classes)
    return found.net, replace(card, lineage={"stage": STAGE, ORIGIN: name})


def _ours(name: str, path: Path, asked: Options | None, classes: tuple[str, ...] | None) -> tuple[nn.Module, Card]:
    """Return a network of ours on the hub and its card; its scores are of other images, and are left out."""
    if asked and any((asked.input_CHW, asked.mean, asked.std, asked.eval_crop)):
        raise UsageError(
            f"{name} is a file of Heartcut, which tells its size, crop and normalisation; leave out --input, --mean, "
            "--std and --eval_crop"
        )
    net, card = artefact.load(path)
    if classes is not None and classes != card.classes:
        raise InputError(
            f"{name} knows the classes {class_order.some(card.classes)}, and the data set has "
            f"{class_order.some(classes)}"
        )
    trained_on = {key: card.lineage[key] for key in ("source", "data") if key in card.lineage}
    return net, replace(card, scores={}, lineage={"stage": STAGE, ORIGIN: name, **trained_on})


def summary(path: str, card: Card) -> str:
    """Return what was written, in a few lines."""
    scores = "".join(
        f"\n{split} accuracy {percent(score.accuracy)} of {score.total:,}" for split, score in card.scores.items()
    )
    numbers = card.classes == tuple(map(str, range(len(card.classes))))
    hint = "" if card.scores else " (--classes names them)"  # where a data set was named, it names them
    names = f", named by number{hint}" if numbers else f": {', '.join(card.classes[:4])} ..."
    size = " x ".join(map(str, card.input_CHW))
    stem = f", stem {card.model.stem}" if card.model.stem != "auto" else ""
    return (
        f"{path}: {card.model.name}{stem}, {card.cost.parameters:,} parameters, {card.cost.macs:,} MACs at {size}\n"
        f"{len(card.classes)} classes{names}\n"
        f"normalisation: mean {_listed(card.mean)}, std {_listed(card.std)}; eval_crop {card.eval_crop:.4g}{scores}"
    )


def _listed(values: tuple[float, ...]) -> str:
    return " ".join(f"{value:.4g}" for value in values)


def origin_of(card: Card) -> str | None:
    """Return the SHA-256 of the file that a network was adopted from; None: it was trained or cut since, or never."""
    return (
        card.lineage.get(ORIGIN_SHA) if card.lineage.get("stage") == STAGE and "cut_from" not in card.lineage else None
    )


def require_classes(file: WeightFile, classes: tuple[str, ...]) -> None:
    """InputError if no layer can give one logit for each class; no network is built."""
    head = candidates.head(file.tensors)
    if head and not any(tensor.dim() > 1 and tensor.shape[0] == len(classes) for tensor in file.tensors.values()):
        shape = list(file.tensors[head].shape)
        raise InputError(
            f"{file.path} is for {shape[0]} classes (its {head} is {shape}), and there are {len(classes)}: "
            f"{class_order.some(classes)}; take weights that were trained on these"
        )


def network(match: Match, wanted: Wanted) -> nn.Module:
    """Build a recognised network with its weights, in evaluation mode; its last layer may be new."""
    count = match.num_classes if wanted.classes is None else len(wanted.classes)
    input_CHW = (match.channels, *wanted.input_CHW[1:])
    if count != match.num_classes and not wanted.new_head:
        raise InputError(f"the weights are for {match.num_classes} classes, and {count} are named")
    with torch.random.fork_rng(devices=[]) if count != match.num_classes else blank():  # a new head needs its weights
        net = architectures.build(match.spec, num_classes=count, input_CHW=input_CHW)
    tensors = dict(match.root.tensors)
    if count != match.num_classes:
        head = candidates.head(tensors).removesuffix("weight")
        tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith(head)}
        logger.info("the last layer, of %d classes, is replaced by a new one of %d", match.num_classes, count)
        tensors |= {name: own for name, own in net.state_dict().items() if name.startswith(head)}
    _fill(net, tensors)
    return net.eval()


def card_of(net: nn.Module, spec: ModelSpec, channels: int, wanted: Wanted, count: int) -> Card:
    """Return the card of a network. UsageError: means or classes that it does not have."""
    classes = wanted.classes or tuple(map(str, range(count)))
    if len(classes) != count:
        raise UsageError(f"{len(classes)} classes are named, and the network has {count}")
    input_CHW = (channels, *wanted.input_CHW[1:])
    mean, std = normalisation.usual(channels)
    return Card(
        model=spec,
        classes=classes,
        input_CHW=input_CHW,
        mean=normalisation.for_channels(wanted.mean or mean, channels),
        std=normalisation.for_channels(wanted.std or std, channels),
        eval_crop=wanted.eval_crop,
        cost=counting.measure(net, input_CHW),
    )


def _fill(net: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    own = net.state_dict()
    difference = matching.compare(tensors, own)
    if difference.count:  # shapes agreed on the meta device, so the stem that was tried first did not take the image
        raise InputError(f"the weights do not fit the network that takes these images:\n{difference.describe()}")
    state_dicts.load(net, matching.filled(tensors, own))


def _announce(file: WeightFile, match: Match) -> None:
    spec = match.spec
    stem = f", stem {spec.stem}" if spec.stem != "auto" else ""
    inside = f", entry {file.entry}" if file.entry else ""
    below = f", below {match.root.prefix}" if match.root.prefix else ""
    logger.info(
        "%s%s%s: %s%s, %d classes, %d channels",
        *(file.path, inside, below, spec.name, stem, match.num_classes, match.channels),
    )
    for text in (match.left_out, f"entries not taken: {', '.join(map(repr, file.others))}" if file.others else ""):
        if text:
            logger.info("%s: %s", file.path, text)
