"""torch-pruning's dependency graph, with another traversal from one layer to all layers that depend on it.

The library follows every path and keeps each list of indices that it finds. In a network that splits its channels and
concatenates them again in every block, their number is exponential: EfficientFormerV2 took minutes and gigabytes. Its
mappings treat every index separately, so following each index of each layer once is enough. Where the library
computes a wrong offset, as in EfficientViT, indices grow in a cycle; this is detected, and the network is refused.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch_pruning as tp  # type: ignore[import-untyped]
from torch import Tensor, nn
from torch_pruning import _helpers
from torch_pruning.dependency.dependency import Dependency  # type: ignore[import-untyped]
from torch_pruning.pruner import function  # type: ignore[import-untyped]

from configs.errors import InputError

Indices = list[Any]
"""The library's pairs of an index along a dimension of this layer (idx) and that of the root layer (root_idx)."""

BEYOND = 256
"""Concatenated channels that no layer reads as a whole may outnumber those of any tensor, but not by this factor."""


def build(net: nn.Module, image_BCHW: Tensor) -> DependencyGraph:
    """Trace the network on these images. InputError: the library cannot follow it."""
    with followed(), torch.enable_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the library's own use of what torch and Python deprecate
        graph: DependencyGraph = DependencyGraph().build_dependency(net, image_BCHW, verbose=False)
        return graph


@contextmanager
def followed() -> Iterator[None]:
    """Turn any exception of the library into one InputError, with the exception as its cause."""
    try:
        yield
    except Exception as error:  # of many types, for shuffled channels and others
        raise InputError(
            f"torch-pruning cannot follow this network ({error!r}); it can only be masked: prune.kind unstructured"
        ) from error


class DependencyGraph(tp.DependencyGraph):  # type: ignore[misc]
    """The library's graph; its groups have the same layers and indices as the library's own."""

    def get_pruning_group(self, module: nn.Module, pruning_fn: Callable[..., Any], idxs: Sequence[int]) -> Any:
        """Return the list of (dep, idxs), with root_idxs, of all layers that lose channels with these."""
        if isinstance(module, nn.Conv2d) and module.groups == module.out_channels > 1:
            pruning_fn = function.prune_depthwise_conv_out_channels
        root = Dependency(pruning_fn, pruning_fn, source=self.module2node[module], target=self.module2node[module])
        limit = BEYOND * max(size for parameter in self.model.parameters() for size in parameter.shape)
        found = _reached(root, [_helpers._HybridIndex(idx=index, root_idx=index) for index in idxs], limit)
        group = []
        for dep, roots in found:
            item = _helpers.GroupItem(dep, list(roots))
            item.root_idxs = list(roots.values())
            group.append(item)
        return group


def _reached(root: Any, idxs: Indices, limit: int) -> list[tuple[Any, dict[int, int]]]:
    """Return the first dependency that leads to each layer and operation, and its indices with the roots' indices.

    OverflowError: an index reaches the limit; it would grow without end in a cycle.
    """
    roots = {index.idx: index.root_idx for index in idxs}
    found = {(id(root.target), root.handler): (root, roots)}
    stack = [(root, idxs)]
    while stack:
        dep, idxs = stack.pop()
        for further in dep.target.dependencies:
            if not further.is_triggered_by(dep.handler):
                continue
            mapped = _mapped(further, idxs)
            if not mapped:
                continue
            _, roots = found.setdefault((id(further.target), further.handler), (further, {}))
            fresh = _added(mapped, roots, limit)
            if fresh:
                stack.append((further, fresh))
    return list(found.values())


def _added(idxs: Indices, roots: dict[int, int], limit: int) -> Indices:
    """Add the indices to `roots`; return the new ones."""
    fresh = []
    for index in idxs:
        if index.idx not in roots:
            if index.idx >= limit:
                raise OverflowError(f"an index of {index.idx} where no tensor is longer than {limit // BEYOND}")
            roots[index.idx] = index.root_idx
            fresh.append(index)
    return fresh


def _mapped(dep: Any, idxs: Indices) -> Indices:
    for mapping in dep.index_mapping:
        if mapping is not None:
            idxs = mapping(idxs)
    return idxs
