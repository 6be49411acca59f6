"""Networks for their names, shapes and costs alone: nothing is computed, and where possible no memory is taken."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from models import counting
from models.networks import architectures, library, sizes
from models.networks.blank import blank
from models.networks.checks import SMALL
from models.own.code import is_code
from models.spec import ModelSpec, Stem, names_file


def skeleton(spec: ModelSpec, *, num_classes: int, input_CHW: tuple[int, int, int]) -> nn.Module:
    """Build a network on the meta device, or on the CPU if its constructor reads values or is the user's own.

    A torchvision or timm network is not tried with an image. The random state is not changed. Raises what the
    constructor raises.
    """

    def build() -> nn.Module:
        if spec.name.startswith(("torchvision/", "timm/")):
            return library.unrun(spec.name, num_classes=num_classes, input_CHW=input_CHW, stem=spec.stem)
        return architectures.build(spec, num_classes=num_classes, input_CHW=input_CHW)

    with blank():
        if is_code(spec.name):  # its file is executed once, and what it computes then has to be real
            return build()
        try:
            with torch.device("meta"):
                return build()
        except (NotImplementedError, RuntimeError):  # its initialisation reads values, as torchvision's RegNet does
            return build()


def settled(spec: ModelSpec, input_CHW: tuple[int, int, int]) -> ModelSpec:
    """Return the spec with the stem that auto means for these images, for a header that says what was built."""
    if spec.name in architectures.OWN or names_file(spec.name) or is_code(spec.name):
        return spec
    return replace(spec, stem="small" if sizes.is_small(spec.stem, input_CHW[1]) else "keep")


def stem_costs(spec: ModelSpec, *, num_classes: int, input_CHW: tuple[int, int, int], key: str) -> str | None:
    """Return what stem auto chose and what each stem costs, as one line; None where there is nothing to choose.

    key: the option that names the other stem, such as student.stem. Images of more than twice the height at which auto
    changes are not spoken of.
    """
    height, width = input_CHW[1:]
    if spec.stem != "auto" or settled(spec, input_CHW).stem == "auto" or height > 2 * SMALL:
        return None
    try:
        macs = {stem: _macs(replace(spec, stem=stem), num_classes, input_CHW) for stem in _STEMS}
    except Exception:  # whatever a library or a forward raises: the other stem may not take the image
        return None
    chosen: Stem = "small" if sizes.is_small("auto", height) else "keep"
    other: Stem = "keep" if chosen == "small" else "small"
    if macs[chosen] == macs[other]:
        return None
    why = f"as for all images {'up to' if chosen == 'small' else 'above'} {SMALL} pixels high"
    return (
        f"stem {chosen} for {height} x {width} images, {why}: {_short(macs[chosen])} MACs; "
        f"--{key} {other}: {_short(macs[other])}"
    )


_STEMS: tuple[Stem, ...] = ("keep", "small")


def _macs(spec: ModelSpec, num_classes: int, input_CHW: tuple[int, int, int]) -> int:
    return counting.macs(skeleton(spec, num_classes=num_classes, input_CHW=input_CHW), input_CHW)


def _short(count: int) -> str:
    return f"{count / 1e9:.2f} G" if count >= 1e8 else f"{count / 1e6:.2f} M"
