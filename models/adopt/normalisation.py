"""Means and deviations for another number of channels."""

from __future__ import annotations

from configs.errors import UsageError

LUMINANCE = (0.299, 0.587, 0.114)
"""Shares of red, green and blue in the brightness of a pixel (ITU-R BT.601)."""
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
Values = tuple[float, ...]


def usual(channels: int) -> tuple[Values, Values]:
    """Return mean and deviation where nothing else says: ImageNet's for colour, 0.5 for grey."""
    return (IMAGENET_MEAN, IMAGENET_STD) if channels == 3 else ((0.5,), (0.5,))


def for_channels(values: Values, channels: int) -> Values:
    """Return a mean or deviation per channel: grey is repeated, colours are weighted to a grey.

    UsageError: other numbers of channels than one and three, which no image here has.
    """
    if len(values) == channels:
        return values
    if len(values) == 1 and channels == 3:
        return values * 3
    if len(values) == 3 and channels == 1:
        return (sum(share * value for share, value in zip(LUMINANCE, values, strict=True)),)
    raise UsageError(f"the network takes {channels} channels; images have 1 or 3")
