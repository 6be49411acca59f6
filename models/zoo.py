"""Networks by name: an architecture, or a saved file."""

from __future__ import annotations

from torch import nn

from configs.errors import InputError, UsageError
from models import artefact, state_dicts
from models.adopt import conversion, weight_file
from models.adopt.conversion import Wanted
from models.networks import architectures, checks
from models.own import registry
from models.own.code import is_code
from models.spec import ModelSpec, names_file


def build(spec: ModelSpec, *, num_classes: int, input_CHW: tuple[int, int, int]) -> nn.Module:
    """Build the network of `spec`, in training mode: see `architectures.build`, or load a file of weights.

    UsageError: a setting for a file, whose shapes are fixed. InputError: the file has other classes or channels, or
    a weight that is not finite.
    """
    if is_code(spec.name):
        registry.register(spec.name)  # a spec to build is the user's; those of saved files do not come here
    if not names_file(spec.name):
        return architectures.build(spec, num_classes=num_classes, input_CHW=input_CHW)
    ours = weight_file.is_ours(spec.name)
    if spec != ModelSpec(name=spec.name, from_scratch=spec.from_scratch, stem="auto" if ours else spec.stem):
        raise UsageError(
            f"{spec.name} takes no further setting, such as depth or widths: its shape is in the file; "
            "set to null what the config says of another network (depth: null, widths: null)"
        )
    if not ours:
        net, card = conversion.starting_weights(spec, Wanted(input_CHW=input_CHW))
    elif spec.from_scratch:
        net, card = artefact.redraw(spec.name)
    else:
        net, card = artefact.load(spec.name)
    state_dicts.require_finite(net, spec.name)
    pairs = (("classes", len(card.classes), num_classes), ("input channels", card.input_CHW[0], input_CHW[0]))
    for what, found, wanted in pairs:
        if found != wanted:
            raise InputError(f"{spec.name} has {found} {what}, but {wanted} are needed here; use another file")
    checks.require_takes(net, card.input_CHW, input_CHW, spec.name)
    return net.train()
