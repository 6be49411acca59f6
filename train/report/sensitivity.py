"""What each layer is worth: accuracy when a fifth of its channels leaves, and nothing else changes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from data_pipes.sources.samples import Samples
from data_pipes.spec import DataSpec
from models import artefact
from models.probe import duplicate
from models.pruning import carve
from models.pruning.groups import Structure
from models.pruning.importance import scores
from models.pruning.spec import Budget, PruneSpec
from models.pruning.tracing import trace
from train import saved
from train.report.answers import batches, data_of, few, validation
from train.report.networks import Network, Subject
from train.run_folder import own_code

IMAGES = 1000
"""Validation images at most."""
SHARE = 5
"""One of so many channels leaves."""


def measure(subject: Subject) -> dict[str, Any]:
    """Return what report.json records: of the network before the cuts where it is there, or else of the run's own.

    UsageError, InputError: weights or images are missing, or nothing in the network can be cut.
    """
    network = _chosen(subject)
    own_code.register_run(str(subject.folder.path))
    net, card = artefact.load(network.file)
    spec = replace(saved.shown(data_of(subject), card), executor="host")
    samples = few(validation(subject, spec, card), IMAGES)
    structure = trace(net, card.input_CHW)
    layers = [
        {"layer": root, "channels": units, "removed": len(gone), "accuracy": _accuracy(twin, samples, spec)}
        for root, units, gone, twin in _cuts(net, structure)
    ]
    return {
        "network": network.name,
        "file": str(network.file),
        "samples": len(samples),
        "accuracy": _accuracy(net, samples, spec),
        "layers": layers,
    }


def _chosen(subject: Subject) -> Network:
    student = subject.student
    return student if student is not None and Path(student.file).is_file() else subject.final


def _cuts(net: nn.Module, structure: Structure) -> Iterator[tuple[str, int, list[int], nn.Module]]:
    """Give root layer, units, the units that leave, and a copy without them, of each group of channels."""
    budget = Budget(parameters=1)  # only the scores are used
    for group, score_U in zip(structure.groups, scores(net, structure, PruneSpec(budget=budget)), strict=True):
        if score_U is None or group.units < 2:
            continue
        gone = score_U.argsort(kind="stable")[: max(group.units // SHARE, 1)].tolist()
        twin = duplicate(net).eval()
        carve.carve(twin, structure.kept({group.root: gone}))
        yield group.root, group.units, gone, twin


@torch.no_grad()
def _accuracy(net: nn.Module, samples: Samples, spec: DataSpec) -> float:
    correct, loader = 0, batches(samples, spec)
    for batch in loader.epoch(0):
        right_B = net(batch.image_BCHW).argmax(dim=1) == batch.label_B
        correct += int(right_B[: batch.real].sum())
    loader.close()
    return correct / len(samples)
