"""Means and deviations for other numbers of channels."""

import pytest

from configs.errors import UsageError
from models.adopt.normalisation import for_channels, usual


def test_grey_is_repeated_and_colour_is_weighted():
    assert for_channels((0.5,), 3) == (0.5, 0.5, 0.5)
    assert for_channels((0.1, 0.2, 0.3), 3) == (0.1, 0.2, 0.3)
    assert for_channels((0.2, 0.4, 0.6), 1) == pytest.approx((0.299 * 0.2 + 0.587 * 0.4 + 0.114 * 0.6,))
    with pytest.raises(UsageError, match="takes 4 channels; images have 1 or 3"):
        for_channels((0.5,), 4)


def test_the_usual_ones():
    assert usual(3)[0] == (0.485, 0.456, 0.406) and usual(1) == ((0.5,), (0.5,))
