"""Networks by name: an architecture, or a saved file."""

from __future__ import annotations

from torch import nn

from configs.errors import InputError, UsageError
from models import artefact
from models.networks import architectures, checks
from models.spec import ModelSpec


def build(spec: ModelSpec, *, num_classes: int, input_CHW: tuple[int, int, int]) -> nn.Module:
    """Build the network of `spec`, in training mode: see `architectures.build`, or load a .safetensors file.

    UsageError: a setting for a file, whose shapes are fixed. InputError: the file has other classes or channels.
    """
    if not spec.name.endswith(".safetensors"):
        return architectures.build(spec, num_classes=num_classes, input_CHW=input_CHW)
    if spec != ModelSpec(name=spec.name, from_scratch=spec.from_scratch):
        raise UsageError(f"{spec.name} takes no further setting, such as depth or widths: its shape is in the file")
    net, card = artefact.redraw(spec.name) if spec.from_scratch else artefact.load(spec.name)
    pairs = (("classes", len(card.classes), num_classes), ("input channels", card.input_CHW[0], input_CHW[0]))
    for what, found, wanted in pairs:
        if found != wanted:
            raise InputError(f"{spec.name} has {found} {what}, but {wanted} are needed here; use another file")
    checks.require_takes(net, card.input_CHW, input_CHW, spec.name)
    return net.train()
