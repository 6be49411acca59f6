"""Groups of a network, from torch-pruning's dependency graph (Fang et al., DepGraph, arXiv:2301.12900).

The graph is traced on a twin without data, with a batch of two: with one image, the library does not see biased
convolutions whose output an in-place ReLU overwrites, and silently finds nothing to prune.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from configs.errors import InputError, UsageError
from models import counting
from models.probe import probe, twin
from models.pruning import attention, carve, dependencies
from models.pruning.groups import KEPT, Group, Kind, Member, Place, Structure

BATCH = 2


@dataclass(frozen=True)
class _Trace:
    """A twin of the network, the trace of its forward, and its dependency graph."""

    twin: nn.Module
    image_BCHW: Tensor
    graph: Any
    names: dict[int, str]
    """Name by id of a layer or parameter."""
    positions: dict[str, int]
    """Number of times that each convolution or linear layer applies its weights per image, by name."""
    classes: int


def trace(net: nn.Module, input_CHW: tuple[int, int, int], ignored_layers: Sequence[str] = ()) -> Structure:
    """Find the groups of a network for images of this size. The network and its mode are not changed.

    The outputs of head and ignored layers are not cut; nor are those that cannot be cut safely: of grouped
    convolutions, tied weights and unknown layers. UsageError: an unknown name. InputError: the network does not take
    such an image, or nothing can be cut.
    """
    seen = _observe(net, input_CHW)
    spared = _heads(seen) | _ignored(seen.twin, ignored_layers)
    with dependencies.followed():
        found = [*_library_groups(seen), *attention.groups(seen.twin)]
    order = {name: place for place, (name, _) in enumerate(seen.twin.named_modules())}
    structure = Structure(
        input_CHW=input_CHW,
        classes=seen.classes,
        groups=tuple(sorted((g for g in found if spared.isdisjoint(g.layers)), key=lambda group: order[group.root])),
        shapes={name: tuple(tensor.shape) for name, tensor in carve.tensors(seen.twin)},
        parameters=frozenset(name for name, _ in seen.twin.named_parameters()),
        uses=_uses(seen),
        other_macs=0,
    )
    structure = _sound(structure, seen)
    if not structure.groups:
        raise InputError("the network has no layer that can be cut, apart from its head and prune.ignored_layers")
    other = counting.measure(net, input_CHW).macs - int(structure.prices.constant_B[1])
    return replace(structure, other_macs=other)


def _observe(net: nn.Module, input_CHW: tuple[int, int, int]) -> _Trace:
    return probe(net, input_CHW, _seen, batch=BATCH, purpose="its layers cannot be followed")


def _seen(net: nn.Module, image_BCHW: Tensor) -> _Trace:
    positions: dict[str, int] = {}
    hooks = [
        layer.register_forward_hook(_counting(name, positions))
        for name, layer in net.named_modules()
        if isinstance(layer, nn.Conv2d | nn.Linear)
    ]
    with torch.no_grad():
        logits_BK = net(image_BCHW)
    for hook in hooks:
        hook.remove()
    for parameter in net.parameters():
        parameter.requires_grad_(parameter.is_floating_point())
    graph = dependencies.build(net, image_BCHW)
    names = {id(item): name for name, item in [*net.named_parameters(), *net.named_modules()]}
    classes = int(logits_BK.shape[1])
    return _Trace(twin=net, image_BCHW=image_BCHW, graph=graph, names=names, positions=positions, classes=classes)


def _counting(name: str, positions: dict[str, int]) -> Callable[..., None]:
    def count(layer: nn.Conv2d | nn.Linear, _: object, output: Tensor) -> None:
        positions[name] = positions.get(name, 0) + output.numel() // len(layer.weight) // BATCH

    return count


def _uses(seen: _Trace) -> tuple[tuple[Place, int], ...]:
    layers = tuple(((f"{name}.weight", -1), count) for name, count in seen.positions.items())
    return layers + attention.products(seen.twin, seen.positions)


def _heads(seen: _Trace) -> frozenset[str]:
    """Return the layers whose outputs reach the logits without passing through another layer's weights."""
    nodes = [node for node in seen.graph.module2node.values() if not node.outputs]
    heads, visited = set(), set()
    while nodes:
        node = nodes.pop()
        if id(node) in visited:
            continue
        visited.add(id(node))
        if isinstance(node.module, nn.Conv2d | nn.Linear):
            heads.add(seen.names[id(node.module)])
        else:
            nodes.extend(node.inputs)
    return frozenset(heads)


def _ignored(twin: nn.Module, names: Sequence[str]) -> frozenset[str]:
    layers = [name for name, layer in twin.named_modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    ignored: set[str] = set()
    for name in names:
        inside = [layer for layer in layers if layer == name or layer.startswith(f"{name}.")]
        if not inside:
            close = difflib.get_close_matches(name, layers, n=3)
            hint = f"did you mean {' or '.join(close)}? " if close else ""
            raise UsageError(f"prune.ignored_layers names {name!r}; {hint}the layers are {', '.join(layers)}")
        ignored.update(inside)
    return frozenset(ignored)


def _library_groups(seen: _Trace) -> Iterator[Group]:
    own = attention.places(seen.twin)
    ids = Counter(id(p) for _, p in seen.twin.named_parameters(remove_duplicate=False))
    tied = {name for name, p in seen.twin.named_parameters(remove_duplicate=False) if ids[id(p)] > 1}
    for found in seen.graph.get_all_groups(ignored_layers=[], root_module_types=[nn.Conv2d, nn.Linear]):
        members = _members(seen, found)
        if members is None or any(member.place in own or member.tensor in tied for member in members):
            continue
        if _independent(seen, found) and all(_even(member) for member in members):
            yield _group(seen, members)


def _group(seen: _Trace, members: list[Member]) -> Group:
    order = {name: place for place, (name, _) in enumerate(carve.tensors(seen.twin))}
    members = sorted(members, key=lambda member: (order[member.tensor], member.dim))
    outputs = [m for m in members if m.kind == "weight" and m.dim == 0]
    root = next(m for m in outputs if m.per_unit == 1 and len(m.owner_I) == m.owner_I.max() + 1)
    layers = tuple(m.tensor.removesuffix(".weight") for m in outputs)
    return Group(
        root=root.tensor.removesuffix(".weight"),
        layers=layers,
        units=int(root.owner_I.max()) + 1,
        members=tuple(members),
        signature=tuple(
            f"{m.kind} {m.dim} {len(seen.twin.get_parameter(m.tensor).shape)}" for m in members if m.kind != "statistic"
        ),
    )


def _members(seen: _Trace, found: Any) -> list[Member] | None:
    """Translate the library's list of (layer, operation, indices); None if a part of it cannot be cut safely."""
    members: dict[Place, Member] = {}
    for item in found:
        touched = _touched(item.dep.target, item.dep.handler.__name__)
        if touched is None or any(root is None for root in item.root_idxs):
            return None
        name = seen.names.get(id(item.dep.target.module), "")
        for attribute, dim, kind in touched:
            tensor = f"{name}.{attribute}" if attribute else name
            shape = carve.tensor(seen.twin, tensor).shape
            if max(item.idxs) >= shape[dim]:
                return None  # the library took another axis for channels, such as tokens
            owner_I = members[tensor, dim].owner_I if (tensor, dim) in members else np.full(shape[dim], KEPT)
            owner_I[list(item.idxs)] = list(item.root_idxs)
            members[tensor, dim] = Member(tensor, dim, kind, owner_I)
    return list(members.values())


def _touched(node: Any, handler: str) -> list[tuple[str, int, Kind]] | None:
    """Return the dimensions to cut of a layer: (attribute, dimension, kind); None if it cannot be cut safely."""
    layer = node.module
    if isinstance(layer, nn.Parameter):
        return [("", node.pruning_dim % layer.dim(), "parameter")]
    reads = handler == "prune_in_channels"
    if isinstance(layer, nn.Conv2d | nn.Linear):
        groups = getattr(layer, "groups", 1)
        if groups > 1 and not groups == layer.in_channels == layer.out_channels:
            return None
        if reads and groups == 1:
            return [("weight", 1, "weight")]
        return [("weight", 0, "weight"), *_present(layer, ("bias", "bias"))]
    if isinstance(layer, nn.modules.batchnorm._BatchNorm):
        norm = _present(layer, ("weight", "batch_norm"), ("bias", "bias"))
        return norm + _present(layer, ("running_mean", "statistic"), ("running_var", "statistic"))
    if isinstance(layer, nn.LayerNorm) and len(layer.normalized_shape) == 1:
        return _present(layer, ("weight", "layer_norm"), ("bias", "bias"))
    if isinstance(layer, nn.PReLU):
        return [("weight", 0, "parameter")] if layer.num_parameters > 1 else []
    return None if carve.tensors(layer) else []


def _present(layer: nn.Module, *pairs: tuple[str, Kind]) -> list[tuple[str, int, Kind]]:
    return [(name, 0, kind) for name, kind in pairs if getattr(layer, name) is not None]


def _even(member: Member) -> bool:
    counts = np.bincount(member.owner_I[member.owner_I != KEPT])
    return len(counts) > 0 and bool((counts == counts[0]).all())


def _independent(seen: _Trace, found: Any) -> bool:
    """Whether one channel alone removes what the group says; not so where the library merges tied channels."""
    root = found[0]
    for unit in {0, len(root.idxs) // 2, len(root.idxs) - 1}:
        alone = seen.graph.get_pruning_group(root.dep.target.module, root.dep.handler, [unit])
        if len(alone) != len(found):
            return False
        for item, whole in zip(alone, found, strict=True):
            expected = {i for i, owner in zip(whole.idxs, whole.root_idxs, strict=True) if owner == unit}
            if set(item.idxs) != expected or item.dep.target is not whole.dep.target:
                return False
    return True


def _sound(structure: Structure, seen: _Trace) -> Structure:
    """Leave out every group where removing one unit breaks the forward, such as one with shapes in its code."""

    def survives(groups: Sequence[Group]) -> bool:
        trial = twin(seen.twin, seen.image_BCHW.device.type)
        try:
            carve.carve(trial, structure.kept({group.root: (0,) for group in groups}))
            with torch.no_grad():
                output = trial(seen.image_BCHW)
            return tuple(output.shape) == (BATCH, structure.classes)
        except Exception:  # any exception: the forward is not ours
            return False

    if survives(structure.groups):
        return structure
    return replace(structure, groups=tuple(group for group in structure.groups if survives([group])))
