"""Shades are read by day and in the dark."""

from __future__ import annotations

import pytest

from train.report import shades


def luminance(colour: str) -> float:
    """Of WCAG 2.2."""
    shares = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize(("pairs", "sign"), [(shades.BY_DAY, -1), (shades.IN_THE_DARK, 1)])
def test_ink_is_read_on_its_shade_and_more_is_further_from_the_page(pairs, sign) -> None:
    for background, ink in pairs:
        low, high = sorted((luminance(background), luminance(ink)))
        assert (high + 0.05) / (low + 0.05) >= 4.5, (background, ink)
    steps = [sign * luminance(background) for background, _ in pairs]
    assert steps == sorted(steps) and len(shades.BY_DAY) == len(shades.IN_THE_DARK)
