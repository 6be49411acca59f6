"""The file that a run will write, tried before its first step: a network that cannot be saved is not trained."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import nn

from configs.errors import UsageError, UserError
from data_pipes.sources.samples import Samples
from models import artefact, counting, rebuild
from models.artefact import Card
from models.networks import skeletons
from models.spec import ModelSpec
from train.config import TrainConfig
from train.run_folder.extension import Extension
from train.run_folder.run_dir import RunDir
from train.run_folder.version import commit


def card(
    config: TrainConfig, net: nn.Module, *, classes: tuple[str, ...], lineage: Mapping[str, str] | None = None
) -> Card:
    """Return the card of the network that a run trains, without scores. InputError: it does not take such images."""
    data = config.data
    input_CHW = (data.channels, *data.image_size)
    model, pruned = _architecture(config.trained, input_CHW)
    made = Card(
        model=model,
        pruned=pruned,
        classes=classes,
        input_CHW=input_CHW,
        mean=data.mean,
        std=data.std,
        eval_crop=data.eval_crop,
        cost=counting.measure(net, input_CHW),
        lineage=lineage or {},
    )
    return artefact.with_code(made)


def lineage(config: TrainConfig, samples: Samples, stage: str, extensions: Sequence[Extension] = ()) -> dict[str, str]:
    """Return the origin of a run's network: stage, commit, data, teacher. InputError: the teacher's file is gone."""
    known = {"stage": stage, "commit": commit() or "unknown", "source": config.data.source, "data": samples.fingerprint}
    if config.teacher_file is not None:
        known |= {"teacher": config.teacher_file, "teacher_sha256": artefact.sha256(config.teacher_file)}
    if extensions:
        known["extended"] = "; ".join(one.summary for one in extensions)
    return known


def require_saveable(net: nn.Module, card: Card, folder: RunDir) -> None:
    """Save and load a network in memory; neither it nor the random state changes.

    UsageError: it cannot be saved or loaded, or has other outputs afterwards. NonFiniteError: it has a NaN.
    """
    copied = copy.deepcopy(net).to("cpu", torch.float32, memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    try:
        _, again = artefact.encode(folder.weights, copied, card)
        alike = rebuild.same_outputs(copied, again, card.input_CHW)
    except UserError:
        raise
    except Exception as error:  # whatever a foreign network raises
        why = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        raise UsageError(
            f"{card.model.name} cannot be saved and loaded ({why}). Nothing was trained; take another network"
        ) from error
    if not alike:
        raise UsageError(
            f"{card.model.name} gives other logits once it is saved and loaded: something of it is not in its state "
            "dict. Nothing was trained; take another network"
        )


def _architecture(spec: ModelSpec, input_CHW: tuple[int, int, int]) -> tuple[ModelSpec, bool]:
    """Return the spec that rebuilds the network, and whether channels of it were cut."""
    if spec.name.endswith(".safetensors"):
        known = artefact.read_card(spec.name)
        return known.model, known.pruned
    return skeletons.settled(replace(spec, pretrained=False, from_scratch=False), input_CHW), False
