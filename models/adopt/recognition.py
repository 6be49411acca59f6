"""The architecture that tensors belong to: one that was named, or one recognised by names and shapes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from configs.errors import InputError, UserError
from models.adopt import candidates, matching
from models.adopt.matching import Difference
from models.adopt.prefixes import Root, roots
from models.adopt.weight_file import WeightFile
from models.networks.skeletons import skeleton
from models.spec import ModelSpec, Stem

OUTSIDE_SHOWN = 3
HALF_KNOWN = 0.5
AUXILIARY = {"torchvision/googlenet": ("aux1.", "aux2."), "torchvision/inception_v3": ("AuxLogits.",)}
"""Parts of a published network that only its training uses; our networks do not have them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Match:
    """A network, and the part of a file that belongs to it."""

    spec: ModelSpec
    """Its stem, depth and widths are those of the tensors."""
    root: Root
    num_classes: int
    channels: int
    entries: int
    """In the network's state dict."""
    difference: Difference

    @property
    def left_out(self) -> str:
        """What else is in the file, in a few words; empty: nothing."""
        names = self.root.outside
        more = " ..." if len(names) > OUTSIDE_SHOWN else ""
        return f"{len(names)} other tensors are left out ({', '.join(names[:OUTSIDE_SHOWN])}{more})" if names else ""


def recognise(
    file: WeightFile, input_CHW: tuple[int, int, int], spec: ModelSpec | None = None, *, stem: Stem | None = None
) -> Match:
    """Return the network of a file.

    Args:
        file: The tensors, below any prefix.
        input_CHW: The images. If the tensors have another number of channels, that one holds.
        spec: The architecture; None: it is recognised. Its stem auto: the one that fits, the network's own first.
        stem: The stem of a recognised architecture; None: likewise.

    Raises:
        InputError: No architecture fits, or not the one that was named; the message lists names and shapes.
    """
    closest: Match | None = None
    parts = roots(file.tensors)
    for match in _tried(parts, input_CHW, spec, stem or "auto"):
        if match.difference.count == 0:
            return match
        if closest is None or _fitting(match) > _fitting(closest):
            closest = match
    raise _refusal(file, parts, spec, closest)


def _tried(parts: list[Root], input_CHW: tuple[int, int, int], spec: ModelSpec | None, stem: Stem) -> Iterator[Match]:
    entries = 0
    for root in parts:
        if spec is not None and len(root.tensors) < HALF_KNOWN * entries:
            continue
        names: Iterable[str] = candidates.named(root.tensors) if spec is None else (spec.name,)
        for name in names:
            wanted = candidates.spec_of(name, stem) if spec is None else spec
            part = _without_auxiliary(root, name)
            for variant in candidates.variants(wanted, part.tensors):
                match = _match(part, variant, input_CHW, named=spec is not None)
                if match is None:
                    break
                entries = match.entries
                yield match
                if match.difference.missing or match.difference.unexpected:
                    break  # another stem has other shapes, and the same names


def _match(root: Root, spec: ModelSpec, input_CHW: tuple[int, int, int], *, named: bool) -> Match | None:
    """Compare a network with a part of a file; None if the network cannot be built, unless it was named."""
    head = candidates.head(root.tensors)
    if not head:
        return None
    num_classes, channels = int(root.tensors[head].shape[0]), input_CHW[0]
    try:
        network = skeleton(spec, num_classes=num_classes, input_CHW=input_CHW).state_dict()
        theirs = candidates.channels(root.tensors, network, channels)
        if theirs != channels:
            channels, other = theirs, (theirs, *input_CHW[1:])
            network = skeleton(spec, num_classes=num_classes, input_CHW=other).state_dict()
    except (UserError, LookupError, AttributeError, TypeError, ValueError, RuntimeError):
        if named:
            raise
        return None
    difference = matching.compare(root.tensors, network)
    return Match(
        spec=spec,
        root=root,
        num_classes=num_classes,
        channels=channels,
        entries=len(network),
        difference=difference,
    )


def _without_auxiliary(root: Root, name: str) -> Root:
    parts = AUXILIARY.get(name, ())
    inside = {key: tensor for key, tensor in root.tensors.items() if not key.startswith(parts)} if parts else None
    return root if inside is None else replace(root, tensors=inside)


def _fitting(match: Match) -> int:
    wrong = len(match.difference.unexpected) + len(match.difference.shapes)
    return len(match.root.tensors) - wrong - len(match.difference.missing)


def _refusal(file: WeightFile, parts: list[Root], spec: ModelSpec | None, closest: Match | None) -> InputError:
    where = f"{file.path}{f' ({file.entry})' if file.entry else ''}"
    others = f"\nthe file has other entries, which --entry takes: {', '.join(map(repr, file.others))}" * bool(
        file.others
    )
    if closest is not None and (spec is not None or _fitting(closest) > HALF_KNOWN * len(closest.root.tensors)):
        prefix = f" below {closest.root.prefix!r}" if closest.root.prefix else ""
        text = f"the weights in {where}{prefix} do not fit {_described(closest)}"
        return InputError(f"{text}:\n{closest.difference.describe()}{others}")
    names = list(parts[0].tensors)
    return InputError(
        f"{where} has {len(names)} tensors, from {names[0]} to {names[-1]}, of no network that is recognised here; "
        "say which it is, timm/NAME or a class of your own: python -m models.adopt FILE --architecture my_net.py:Net "
        f"--input C H W --output FILE{others}"
    )


def _described(match: Match) -> str:
    spec = match.spec
    stem = f" with stem {spec.stem}" if spec.stem != "auto" else ""
    depth = f" of depth {spec.depth}" if spec.depth else ""
    return f"{spec.name}{depth}{stem} for {match.num_classes} classes and {match.channels} channels"
