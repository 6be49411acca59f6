"""Networks of torchvision and timm, for any input channels and number of classes, with stems for small images.

For images more than 64 pixels high, architectures are unchanged. Both libraries take seconds to import, so each is
imported where it is first needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import cache, partial

import torch
from torch import nn

from configs.errors import InputError, UsageError, UserError
from models.networks import published, sizes
from models.networks.checks import SMALL
from models.networks.stems import for_small_images, parallel_branches, set_channels
from models.probe import run_once
from models.spec import Stem

Build = Callable[[], nn.Module]


@cache
def torchvision_names() -> tuple[str, ...]:
    """Return the image classifiers of torchvision."""
    import torchvision

    return tuple(torchvision.models.list_models(module=torchvision.models))


@cache
def timm_names() -> tuple[str, ...]:
    """Return the architectures of timm, without their weight tags."""
    import timm

    return tuple(timm.list_models())


def timm_tags(architecture: str) -> tuple[str, ...]:
    """Return the tags of an architecture's weights."""
    from timm.models import get_arch_pretrained_cfgs

    return tuple(name.partition(".")[2] for name in get_arch_pretrained_cfgs(architecture))


def torchvision_net(
    name: str,
    *,
    num_classes: int,
    input_CHW: tuple[int, int, int],
    dropout: float | None = None,
    pretrained: bool = False,
    stem: Stem = "auto",
) -> nn.Module:
    """Build a torchvision classifier; `dropout` applies to all of its dropout layers.

    UsageError: it cannot take this image, or has no dropout. InputError: its weights cannot be loaded.
    """
    build = _torchvision_build(name, num_classes, input_CHW, dropout=dropout, pretrained=pretrained)
    return _first_that_runs(f"torchvision/{name}", _stems(build, input_CHW, pretrained, stem), input_CHW, pretrained)


def timm_net(
    name: str,
    *,
    num_classes: int,
    input_CHW: tuple[int, int, int],
    dropout: float | None = None,
    pretrained: bool = False,
    stem: Stem = "auto",
) -> nn.Module:
    """Build a timm classifier, by architecture or by architecture.tag; `dropout` is timm's drop_rate.

    UsageError: it cannot take this image. InputError: its weights cannot be loaded.
    """
    ways = _timm_builds(name, num_classes, input_CHW, dropout=dropout, pretrained=pretrained, stem=stem)
    return _first_that_runs(f"timm/{name}", ways, input_CHW, pretrained)


def unrun(name: str, *, num_classes: int, input_CHW: tuple[int, int, int], stem: Stem) -> nn.Module:
    """Build torchvision/NAME or timm/NAME on the default device without trying an image, for its names and shapes.

    The stem is the preferred one, even if it turned out not to take the image. Raises what the library raises.
    """
    family, _, bare = name.rpartition("/")
    if family == "timm":
        return _timm_builds(bare, num_classes, input_CHW, dropout=None, pretrained=False, stem=stem)[0]()
    build = _torchvision_build(bare, num_classes, input_CHW, dropout=None, pretrained=False)
    return _stems(build, input_CHW, False, stem)[0]()


def _torchvision_build(
    name: str, num_classes: int, input_CHW: tuple[int, int, int], *, dropout: float | None, pretrained: bool
) -> Build:
    import torchvision

    options = sizes.torchvision_size(name, input_CHW)
    options |= {"weights": "DEFAULT"} if pretrained else {"num_classes": num_classes}
    if name in ("googlenet", "inception_v3") and not pretrained:
        options |= {"aux_logits": False, "init_weights": True}

    def build() -> nn.Module:
        net: nn.Module = torchvision.models.get_model(name, **options)
        if pretrained:
            _fit_head(net, num_classes)
        _plain_forward(net)
        set_channels(net, input_CHW[0], keep_weights=pretrained)
        if dropout is not None:
            _set_dropout(name, net, dropout)
        return net

    return build


def _timm_builds(
    name: str,
    num_classes: int,
    input_CHW: tuple[int, int, int],
    *,
    dropout: float | None,
    pretrained: bool,
    stem: Stem,
) -> list[Build]:
    import timm

    def build(size: Mapping[str, object]) -> nn.Module:
        options = dict(size) if dropout is None else {**size, "drop_rate": dropout}
        net: nn.Module = timm.create_model(
            name, pretrained=pretrained, num_classes=num_classes, in_chans=input_CHW[0], **options
        )
        return net

    shapes = sizes.timm_sizes(name, input_CHW, stem)
    return [partial(build, size) for size in shapes] or _stems(partial(build, {}), input_CHW, pretrained, stem)


def _stems(build: Build, input_CHW: tuple[int, int, int], pretrained: bool, stem: Stem) -> list[Build]:
    """Return builders by preference: with a changed first layer, with changed parallel branches too, or unchanged."""

    def first_layer() -> nn.Module:
        net = build()
        for_small_images(net, keep_weights=pretrained)
        return net

    def branches() -> nn.Module:
        net = build()
        for_small_images(net, keep_weights=pretrained, beside=parallel_branches(net, input_CHW))
        return net

    return [first_layer, branches, build] if sizes.is_small(stem, input_CHW[1]) else [build]


def _first_that_runs(name: str, ways: Sequence[Build], input_CHW: tuple[int, int, int], pretrained: bool) -> nn.Module:
    """Return the first network that takes the image, in training mode. UsageError: none does, with the first reason.

    The choice depends on name, classes and image only, so that a saved file rebuilds the same network.
    """
    refused: list[UsageError] = []
    for way in ways:
        try:
            return _running(name, way, input_CHW, pretrained)
        except UsageError as error:
            refused.append(error)
    raise refused[0]


def _fit_head(net: nn.Module, num_classes: int) -> None:
    """Give a network with ImageNet weights a new last layer, unless its own has as many outputs."""
    layers = [(name, layer) for name, layer in net.named_modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
    name, head = layers[-1]
    if head.weight.shape[0] == num_classes:
        return
    if isinstance(head, nn.Linear):
        net.set_submodule(name, nn.Linear(head.in_features, num_classes))
    else:  # squeezenet
        net.set_submodule(name, nn.Conv2d(head.in_channels, num_classes, head.kernel_size))  # type: ignore[arg-type]


def _plain_forward(net: nn.Module) -> None:
    """Remove parts that GoogLeNet and Inception have only with ImageNet weights, so that saved files rebuild them."""
    if hasattr(net, "transform_input"):
        net.transform_input = False  # type: ignore[assignment]
        net.aux_logits = False  # type: ignore[assignment]
        for name in ("aux1", "aux2", "AuxLogits"):
            if hasattr(net, name):
                setattr(net, name, None)


def _set_dropout(name: str, net: nn.Module, dropout: float) -> None:
    layers = [layer for layer in net.modules() if isinstance(layer, nn.Dropout)]
    if not layers:
        raise UsageError(f"torchvision/{name} has no dropout layer; leave model.dropout out")
    for layer in layers:
        layer.p = dropout


def _running(name: str, build: Build, input_CHW: tuple[int, int, int], pretrained: bool) -> nn.Module:
    """Build a network and run it: some cannot take a small image, which only their forward shows."""
    with _explained(name, input_CHW, pretrained), published.quickly(name) if pretrained else nullcontext():
        net = build()
    with _explained(name, input_CHW, pretrained=False):
        if input_CHW[1] <= SMALL:
            with torch.no_grad():
                net.eval()(torch.zeros(1, *input_CHW))
        else:  # shapes only: a large image takes seconds
            run_once(net, input_CHW)
    return net.train()


@contextmanager
def _explained(name: str, input_CHW: tuple[int, int, int], pretrained: bool) -> Iterator[None]:
    """Turn any exception of a library into a user error of one line, with the exception as its cause."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if pretrained:
            raise InputError(f"{published.missing(name, error)}; or set pretrained: false") from error
        why = repr(error).partition("\\n")[0]
        size = " x ".join(map(str, input_CHW))
        raise UsageError(f"{name} cannot take images of {size} ({why}); use another size or network") from error
