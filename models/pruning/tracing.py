"""Groups of a network: its channels are followed through a forward, on the meta device where it allows that."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from configs.errors import InputError, UsageError
from models import counting
from models.probe import probe
from models.pruning import attention, carve
from models.pruning.flow import units
from models.pruning.flow.labels import STAYS, Atoms
from models.pruning.flow.run import Flow, follow
from models.pruning.flow.soundness import Trial
from models.pruning.flow.units import LAYERS, TRANSPOSED
from models.pruning.groups import IGNORED, Group, Place, Structure

BATCH = 2


@dataclass(frozen=True)
class _Trace:
    """A twin of the network, and what its forward showed."""

    twin: nn.Module
    image_BCHW: Tensor
    flow: Flow
    component: Atoms
    positions: dict[str, int]
    """Number of times that each convolution or linear layer applies its weights per image, by name."""
    lengths: dict[str, int]
    """Positions next to each other in what a layer reads: the tokens of one sequence for a linear layer."""
    classes: int
    tied: frozenset[str]
    """The parameters that several layers share, by all of their names."""


def trace(
    net: nn.Module,
    input_CHW: tuple[int, int, int],
    ignored_layers: Sequence[str] = (),
    *,
    roots: Collection[str] | None = None,
) -> Structure:
    """Find the groups of a network for images of this size. The network and its mode are not changed.

    `roots` are those of the groups to be cut, where that is decided: others are then not tried, which takes most of the
    time. The outputs of head and ignored layers are not cut; nor are those that cannot be cut safely, such as those of
    tied weights and unknown layers. UsageError: an unknown name. InputError: the network does not take such an image,
    its output is not logits, or nothing can be cut.
    """
    seen = probe(net, input_CHW, _seen, batch=BATCH, purpose="its layers cannot be followed")
    spared = _ignored(seen.twin, ignored_layers)
    found = [group for group in _groups(seen) if spared.isdisjoint(group.layers)]
    order = {name: place for place, (name, _) in enumerate(seen.twin.named_modules())}
    structure = Structure(
        input_CHW=input_CHW,
        classes=seen.classes,
        groups=tuple(sorted(found, key=lambda group: order[group.root])),
        shapes={name: tuple(tensor.shape) for name, tensor in carve.tensors(seen.twin)},
        parameters=frozenset(name for name, _ in seen.twin.named_parameters()),
        uses=_uses(seen),
        other_macs=0,
        transposed=frozenset(name for name, layer in seen.twin.named_modules() if isinstance(layer, TRANSPOSED)),
    )
    with torch.random.fork_rng(devices=[]):
        structure = Trial(seen.twin, seen.image_BCHW, structure, seen.flow.ledger, seen.component).sound(roots)
    structure = replace(structure, whole=_whole(seen, structure, spared))
    if not structure.groups:
        raise InputError(
            f"the network has no layer that can be cut, apart from its head and prune.ignored_layers"
            f"{structure.excuse}; prune.kind unstructured masks single weights instead"
        )
    other = counting.measure(net, input_CHW).macs - int(structure.prices.constant_B[1])
    return replace(structure, other_macs=other)


def _seen(net: nn.Module, image_BCHW: Tensor) -> _Trace:
    positions: dict[str, int] = {}
    lengths: dict[str, int] = {}
    hooks = [
        layer.register_forward_hook(_counting(name, positions, lengths))
        for name, layer in net.named_modules()
        if isinstance(layer, LAYERS)
    ]
    flow = follow(net, image_BCHW, carve.tensors(net))
    for hook in hooks:
        hook.remove()
    if flow.error is not None:
        raise flow.error
    output = flow.output
    if not isinstance(output, Tensor) or output.dim() != 2:
        raise InputError(
            f"the network's output is {_described(output)}, but logits of shape (batch, classes) are needed; wrap it "
            "in a module whose forward returns the logits alone"
        )
    classes = int(output.shape[1])
    component = flow.ledger.components()
    return _Trace(net, image_BCHW, flow, component, positions, lengths, classes, _tied(net))


def _described(output: object) -> str:
    if isinstance(output, Tensor):
        return f"a tensor of shape {tuple(output.shape)}"
    if isinstance(output, Mapping):
        return f"a {type(output).__name__} with {', '.join(map(str, output))}"
    return f"a {type(output).__name__}"


def _counting(name: str, positions: dict[str, int], lengths: dict[str, int]) -> Callable[..., None]:
    def count(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        weight = layer.weight
        assert isinstance(weight, Tensor)
        first = inputs[0] if inputs else output  # which may be given by name
        read = first if isinstance(layer, TRANSPOSED) else output
        lengths[name] = first.shape[-2] if first.dim() > 1 else 1
        positions[name] = positions.get(name, 0) + read.numel() // len(weight) // BATCH

    return count


def _uses(seen: _Trace) -> tuple[tuple[Place, int], ...]:
    own = {name for name, _ in carve.tensors(seen.twin)}
    layers = tuple(((f"{name}.weight", -1), n) for name, n in seen.positions.items() if f"{name}.weight" in own)
    return layers + attention.products(seen.twin, seen.positions, seen.lengths)


def _ignored(twin: nn.Module, names: Sequence[str]) -> frozenset[str]:
    layers = [name for name, layer in twin.named_modules() if isinstance(layer, LAYERS)]
    ignored: set[str] = set()
    for name in names:
        inside = [layer for layer in layers if layer == name or layer.startswith(f"{name}.")]
        if not inside:
            close = difflib.get_close_matches(name, layers, n=3)
            hint = f"did you mean {' or '.join(close)}? " if close else ""
            raise UsageError(f"prune.ignored_layers names {name!r}; {hint}the layers are {', '.join(layers)}")
        ignored.update(inside)
    return frozenset(ignored)


def _groups(seen: _Trace) -> Iterator[Group]:
    own = attention.places(seen.twin)
    barred = dict.fromkeys(seen.tied, "its weight is tied to another layer's")
    barred |= dict.fromkeys(seen.flow.unread, "the forward does not use it")
    for group in units.groups(seen.twin, seen.flow.ledger, seen.component, barred):
        if not any(member.place in own for member in group.members):
            yield group
    yield from attention.groups(seen.twin)


def _tied(net: nn.Module) -> frozenset[str]:
    owners = Counter(id(own) for layer in net.modules() for own in layer.parameters(recurse=False))
    named = net.named_parameters(remove_duplicate=False)
    return frozenset(name for name, parameter in named if owners[id(parameter)] > 1)


def _whole(seen: _Trace, structure: Structure, spared: frozenset[str]) -> dict[str, str]:
    """Return why each layer that no group cuts is not cut, the largest layer first."""
    ledger = seen.flow.ledger
    reasons, starts = ledger.reasons(), {place: start for place, start, _ in ledger.places}
    cut = {layer for group in structure.groups for layer in group.layers}
    found: dict[str, tuple[int, str]] = {}
    for name, layer in seen.twin.named_modules():
        size = sum(parameter.numel() for parameter in layer.parameters(recurse=False))
        start = starts.get((f"{name}.weight", int(name in structure.transposed)), STAYS)
        if not size or name in cut or units.follows(layer):
            continue
        if name in spared:
            why = IGNORED
        elif not isinstance(layer, LAYERS):
            why = f"{type(layer).__name__} is not cut"
        elif (
            set(dict(layer.named_parameters(recurse=False))) - {"weight", "bias"}
            or f"{name}.weight" not in structure.shapes
        ):
            why = "its weight is computed from other tensors"
        else:
            why = reasons.get(start, "a forward has its width in the code")
        found[name] = size, why
    return {name: found[name][1] for name in sorted(found, key=lambda name: -found[name][0])}
