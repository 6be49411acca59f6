"""How torchvision's and timm's networks are told the size of images, and whether their stems are changed for it."""

from __future__ import annotations

import re
from math import gcd
from typing import Any

from configs.errors import UsageError
from models.networks.checks import SMALL
from models.spec import Stem


def is_small(stem: Stem, height: int) -> bool:
    """Whether first layers are changed for images of this height."""
    return stem == "small" or (stem == "auto" and height <= SMALL)


def timm_config(name: str) -> Any:
    """Return timm's settings of a network's published weights; None: it has none. UsageError: no such tag."""
    from timm.models import get_pretrained_cfg

    try:
        return get_pretrained_cfg(name)
    except RuntimeError as error:
        bare = name.partition(".")[0]
        raise UsageError(f"timm/{name}: {error} timm.list_pretrained('{bare}.*') lists its weights") from error


def torchvision_size(name: str, input_CHW: tuple[int, int, int]) -> dict[str, object]:
    """Return options for our image size. UsageError: a ViT that cannot take it."""
    _, height, width = input_CHW
    if name == "maxvit_t":
        return {"input_size": (height, width)}
    if not name.startswith("vit_") or (height, width) == (224, 224):
        return {}
    if height <= SMALL or height != width:
        raise UsageError(
            f"torchvision/{name} has fixed, large patches and square images, not {height} x {width}; "
            "use a timm ViT such as timm/vit_tiny_patch16_224, whose patches follow the image"
        )
    return {"image_size": height}


def timm_sizes(name: str, input_CHW: tuple[int, int, int], stem: Stem) -> list[dict[str, object]]:
    """Return options for our image size, the best first; none for a network that takes images of any size."""
    config = timm_config(name)
    height, width = input_CHW[1:]
    if config is None or not config.fixed_input_size:
        return []
    own_size = tuple(config.input_size[1:]) == (height, width)
    sizes: list[dict[str, object]] = [{}] if own_size else [{"img_size": (height, width)}, {}]
    patch = re.search(r"patch(\d+)", name)
    if patch and is_small(stem, height):
        sizes.insert(0, {**sizes[0], "patch_size": _small_patch(int(patch[1]), height, width)})
    return sizes


def _small_patch(own: int, height: int, width: int) -> int:
    """Halve the patch of a hierarchical network (swin); a plain ViT gets at least 7 patches per side."""
    if own < 8:
        return max(1, own // 2)
    common = gcd(height, width)
    fitting = (size for size in range(1, common + 1) if common % size == 0 and min(height, width) >= 7 * size)
    return max(fitting, default=1)
