"""Augmentation in words, for people who look at its pictures. Free of torch."""

from __future__ import annotations

from collections.abc import Iterator

from data_pipes.spec import AugmentSpec


def augmentations(spec: AugmentSpec) -> str:
    """Return what is done to training images, such as `crop 50 to 100 % of the area, flip left-right (50 %)`."""
    return ", ".join(_steps(spec)) or "no augmentation"


def _steps(spec: AugmentSpec) -> Iterator[str]:
    if spec.crop_scale is not None:
        low, high = spec.crop_scale
        yield f"crop {100 * low:g} to {100 * high:g} % of the area"
    if spec.crop_padding:
        yield f"shift up to {spec.crop_padding} px"
    if spec.horizontal_flip:
        yield f"flip left-right ({100 * spec.horizontal_flip:g} %)"
    if spec.vertical_flip:
        yield f"flip upside-down ({100 * spec.vertical_flip:g} %)"
    if spec.rotation:
        yield f"rotate ±{spec.rotation:g}°"
    if spec.affine_step:
        yield _affine(spec)
    if spec.erase:
        yield f"erase a box ({100 * spec.erase:g} %)"
    if spec.mixes:
        kinds = [name for name in ("mixup", "cutmix") if getattr(spec, name)]
        yield f"{' or '.join(kinds)} ({100 * spec.mix_probability:g} %)"


def _affine(spec: AugmentSpec) -> str:
    parts = [f"rotate ±{spec.affine:g}°"] if spec.affine else []
    if any(spec.translate):
        parts.append("shift " + " x ".join(f"{100 * share:g} %" for share in spec.translate))
    if spec.zoom != (1.0, 1.0):
        parts.append(f"zoom {spec.zoom[0]:g} to {spec.zoom[1]:g}")
    if spec.shear:
        parts.append(f"shear ±{spec.shear:g}°")
    return f"affine: {', '.join(parts)}"
