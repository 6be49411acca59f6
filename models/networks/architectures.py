"""Untrained networks by name: our own, and those of torchvision and timm.

A new network needs a file of its own here, an entry in OWN, and its name in the help of models/spec.py.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable
from functools import partial

from torch import nn

from configs.errors import UsageError
from models.networks import ensemble, library
from models.networks.alexnet import alexnet_small
from models.networks.depthwise import depthwise, depthwise_v2
from models.networks.nin import nin
from models.networks.resnet import resnet_small
from models.networks.resnet_cifar import resnet_cifar
from models.own import network as own_network
from models.own import registry
from models.own.code import is_code
from models.spec import ENSEMBLE, ModelSpec

Builder = Callable[..., nn.Module]

OWN: dict[str, Builder] = {
    "depthwise": depthwise,
    "depthwise_v2": depthwise_v2,
    "nin": nin,
    "alexnet_small": alexnet_small,
    "resnet_small": resnet_small,
    "resnet_cifar": resnet_cifar,
}
SHAPE = ("widths", "depth", "dropout", "pretrained", "stem")
"""Fields of a ModelSpec that not every network has."""


def build(
    spec: ModelSpec, *, num_classes: int, input_CHW: tuple[int, int, int], code_sha256: str | None = None
) -> nn.Module:
    """Build the network of `spec`, in training mode, on the default device.

    A name is one of our own, torchvision/NAME, timm/NAME or a bare NAME (looked up in that order), or one of the user's
    own code that `registry` knows; code_sha256 is its hash where an artefact records it. UsageError: an unknown name, a
    setting that the network does not have, an image that it cannot take, or an exception of the user's code.
    InputError: pretrained weights that cannot be loaded. NotNamedError: code that the user has not named.
    """
    if num_classes < 1 or min(input_CHW) < 1:
        raise UsageError(f"a network needs classes, channels and pixels; got {num_classes} classes and {input_CHW}")
    asked = {field: getattr(spec, field) for field in SHAPE}
    given = {
        field: value for field, value in asked.items() if value is not None and value is not False and value != "auto"
    }
    if is_code(spec.name):
        _refuse_settings(spec.name, given)
        code = registry.find(spec.name, code_sha256)
        return own_network.build(code, spec.kwargs, num_classes=num_classes, input_CHW=input_CHW)
    if spec.name == ENSEMBLE:
        if given:
            raise UsageError(f"{ENSEMBLE} has no {', '.join(given)}: its members have settings of their own")
        members = [build(one, num_classes=num_classes, input_CHW=input_CHW) for one in ensemble.specs(spec.kwargs)]
        return ensemble.Ensemble(members)
    builder = _builder(spec.name)
    _refuse_foreign(spec.name, builder, given)
    return builder(num_classes=num_classes, input_CHW=input_CHW, **given)


def require_known(name: str) -> None:
    """UsageError, with close names, unless `build` knows this name."""
    _builder(name)


def _builder(name: str) -> Builder:
    if name in OWN:
        return OWN[name]
    family, _, bare = name.rpartition("/")
    if family in ("", "torchvision") and bare in library.torchvision_names():
        return partial(library.torchvision_net, bare)
    if family in ("", "timm") and bare.split(".")[0] in library.timm_names():
        _require_tag(name, bare)
        return partial(library.timm_net, bare)
    raise UsageError(f"there is no network {name!r}; {_suggestion(name)}")


def _require_tag(name: str, bare: str) -> None:
    """UsageError for weights that timm does not know."""
    architecture, dot, tag = bare.partition(".")
    tags = library.timm_tags(architecture) if dot else ()
    if dot and tag not in tags:
        close = difflib.get_close_matches(tag, tags, n=3)
        listed = ", ".join(f"{architecture}.{known}" for known in close or tags[:10])
        raise UsageError(f"{name}: {architecture} of timm has no weights {tag!r}; there are {listed}")


def _suggestion(name: str) -> str:
    families = {"torchvision/": library.torchvision_names(), "timm/": library.timm_names()}
    known = dict.fromkeys(OWN)  # ordered and unique
    for prefix, members in families.items():
        known |= dict.fromkeys((prefix + member for member in members) if name.startswith(prefix) else members)
    close = difflib.get_close_matches(name, known, n=3)
    others = "others are torchvision/NAME, timm/NAME, a file of weights or my_net.py:StudentNet"
    own = f"our own are {', '.join(OWN)}; {others}"
    return f"did you mean {' or '.join(close)}? {own}" if close else own


def _refuse_foreign(name: str, builder: Builder, given: dict[str, object]) -> None:
    takes = [field for field in SHAPE if field in inspect.signature(builder).parameters]
    if foreign := [field for field in given if field not in takes]:
        nulls = [field for field in foreign if field not in ("pretrained", "stem")]
        mend = f"; set {' and '.join(nulls)} to null" if nulls else ""
        found = f"{name} does not take {' and '.join(foreign)}"
        raise UsageError(f"{found}; it takes {', '.join(takes) or 'no further setting'}{mend}")


def _refuse_settings(name: str, given: dict[str, object]) -> None:
    for field in given:
        raise UsageError(
            f"{name} is a network of your own and takes its settings as kwargs, such as {{width: 16}}, not as {field}; "
            f"leave {field} out" + ("" if field == "pretrained" else ", or set it to null where a config file has it")
        )
