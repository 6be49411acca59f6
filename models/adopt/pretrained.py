"""Networks with the weights that torchvision, timm or the Hugging Face hub publish, with their own last layer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from configs.errors import InputError
from models import rebuild, state_dicts
from models.networks import architectures, published, sizes
from models.networks.blank import blank
from models.spec import HUB, ModelSpec

FEWEST = 1000
"""Classes of the smallest classifier that torchvision or timm publish weights of."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Published:
    """A network with its weights, and how its images are prepared."""

    net: nn.Module
    spec: ModelSpec
    """Rebuilds the network without its weights."""
    num_classes: int
    input_CHW: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    eval_crop: float


def require_classes(name: str, count: int) -> None:
    """Check the number of classes of published weights without loading them; the hub's is known only afterwards.

    Fewer classes than any library publishes weights for are refused without importing the library, which takes longer
    than a refusal may. UsageError: no such network. InputError: no weights of it, or for another number of classes.
    """
    if name.startswith(("torchvision/", "timm/")) and count < FEWEST:
        raise InputError(
            f"published weights such as those of {name} know ImageNet's {FEWEST:,} classes or more, and the data set "
            f"has {count}: {_train_first(name)}"
        )
    if name.startswith("torchvision/"):
        own = len(_torchvision_weights(name).meta["categories"])
    elif name.startswith("timm/"):
        own = int(_timm_config(name).num_classes)
    else:
        return
    if own != count:
        raise InputError(
            f"the published weights of {name} know {own:,} classes, and the data set has {count}: {_train_first(name)}"
        )


def _train_first(name: str) -> str:
    return (
        f"train it on these first, with `python -m train.teacher --model.name {name} --model.pretrained true ...`, and "
        "take what comes of it as the teacher"
    )


def load(name: str, **changes: int) -> Published:
    """Load published weights, from the cache or the network. InputError: neither has them; the message says what to do.

    changes: num_classes and channels other than their own, for timm's and the hub's. UsageError: no such network.
    """
    return _torchvision(name) if name.startswith("torchvision/") else _timm(name, **changes)


def _torchvision(name: str) -> Published:
    weights = _torchvision_weights(name)
    shown, spec = weights.transforms(), ModelSpec(name=name, stem="keep")
    size, count = shown.crop_size[0], len(weights.meta["categories"])
    input_CHW = (3, size, size)
    net = architectures.build(replace(spec, pretrained=True), num_classes=count, input_CHW=input_CHW)
    # These two map the usual normalisation to this one in their forward, a part that ours do not have.
    plain = name.endswith(("/googlenet", "/inception_v3"))
    return Published(
        net=net.eval(),
        spec=spec,
        num_classes=count,
        input_CHW=input_CHW,
        mean=(0.5, 0.5, 0.5) if plain else tuple(shown.mean),
        std=(0.5, 0.5, 0.5) if plain else tuple(shown.std),
        eval_crop=min(1.0, size / shown.resize_size[0]),
    )


def _torchvision_weights(name: str) -> Any:
    import torchvision

    architectures.require_known(name)
    try:
        return torchvision.models.get_model_weights(name.partition("/")[2]).DEFAULT
    except AttributeError as error:
        raise InputError(f"torchvision has no weights of {name}") from error


def _timm_config(name: str) -> Any:
    architectures.require_known(name)
    config = sizes.timm_config(name.partition("/")[2])
    if config is None or not config.has_weights:
        raise InputError(f"timm has no weights of {name}; timm.list_pretrained() lists those that it has")
    return config


def _timm(name: str, num_classes: int | None = None, channels: int = 3) -> Published:
    import timm

    hub = name.startswith(HUB)
    if not hub:
        _timm_config(name)
    try:
        with published.quickly(name):
            bare = name if hub else name.partition("/")[2]
            net = timm.create_model(bare, pretrained=True, num_classes=num_classes, in_chans=channels)
    except Exception as error:  # whatever a library, a network or a damaged file raises
        raise InputError(published.missing(name, error)) from error
    config = net.pretrained_cfg
    found = Published(
        net=net.eval(),
        spec=ModelSpec(name=f"timm/{config['architecture']}", stem="keep"),
        num_classes=int(net.num_classes),
        input_CHW=(channels, *config["input_size"][1:]),
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        eval_crop=float(config["crop_pct"]),
    )
    if hub:
        _require_rebuilt(name, found)
    return found


def _require_rebuilt(name: str, found: Published) -> None:
    """InputError unless the spec alone gives this network: a repository may build it with arguments of its own."""
    with blank():
        again = architectures.build(found.spec, num_classes=found.num_classes, input_CHW=found.input_CHW)
    try:
        state_dicts.load(again, found.net.state_dict())
        alike = rebuild.same_outputs(found.net, again, found.input_CHW)
    except RuntimeError:  # other names or shapes
        alike = False
    if not alike:
        raise InputError(
            f"{name} is not {found.spec.name} as the library builds it: model_args in its config.json, such as "
            "act_layer or global_pool, make it another network. Write a function that builds that one into a file of "
            "your own, and adopt the weights with python -m models.adopt FILE --architecture my_net.py:net"
        )
