"""What has to be done to an image before a network sees it, in words: the evaluation view."""

from __future__ import annotations

from collections.abc import Sequence

from models.artefact import Card

COLOURS = {1: "grey", 3: "RGB"}
"""Order of the channels, by their number; of other numbers nothing is known."""


def steps(card: Card, *, normalised: bool = True) -> list[str]:
    """Return the steps from a photograph to the input, in order.

    normalised: whether the caller normalises; False: the network takes levels from 0 to 255.
    """
    channels, height, width = card.input_CHW
    share = "" if card.eval_crop == 1 else f"{card.eval_crop:g} times "
    colours = {
        1: ["convert it to grey (0.299 R + 0.587 G + 0.114 B)"],
        3: ["convert it to RGB (a grey image three times)"],
    }
    return [
        "turn the image upright (EXIF orientation)",
        *colours.get(channels, []),
        f"crop its centre: {share}the largest box with the aspect ratio {height}:{width} (height:width) that fits",
        f"resize that to {height} x {width}, bilinear with antialiasing",
        normalisation(card) if normalised else "leave the levels as they are, from 0 to 255",
    ]


def normalisation(card: Card) -> str:
    """Return the normalisation as a step."""
    return (
        f"divide the levels by 255, then subtract the mean {listed(card.mean)} and divide by the standard deviation "
        f"{listed(card.std)}{' of each channel' * (len(card.mean) > 1)}"
    )


def sentence(parts: Sequence[str]) -> str:
    """Join steps into one sentence."""
    joined = "; ".join(parts)
    return f"{joined[0].upper()}{joined[1:]}."


def listed(values: Sequence[float]) -> str:
    """Return numbers with all of their digits, such as 0.485, 0.456, 0.406."""
    return ", ".join(f"{value!r}" for value in values)
