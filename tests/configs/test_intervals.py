"""Intervals against hand, published values and scipy."""

import math

import pytest
from scipy.stats import binomtest, t

from configs.intervals import of_mean, wilson


@pytest.mark.parametrize(
    ("correct", "count", "low", "high"),
    [
        # Newcombe 1998, Statistics in Medicine 17, table I, method 3: 81/263, 15/148, 0/20, 1/29
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_is_the_published_interval(correct, count, low, high):
    assert wilson(correct, count) == pytest.approx((low, high), abs=5.1e-5)


def test_wilson_by_hand_at_the_ends():
    z2 = 1.96**2  # p = 0: centre and half width are both z^2 / 2n over 1 + z^2 / n, so that high = z^2 / (n + z^2)
    assert wilson(0, 10) == pytest.approx((0.0, z2 / (10 + z2)), abs=1e-12)
    assert wilson(10, 10) == pytest.approx((10 / (10 + z2), 1.0), abs=1e-12)
    half = 1.96 * math.sqrt(0.25 / 10 + z2 / 400) / (1 + z2 / 10)
    assert wilson(5, 10) == pytest.approx((0.5 - half, 0.5 + half), abs=1e-12)


@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.999])
@pytest.mark.parametrize(("correct", "count"), [(0, 1), (1, 1), (3, 7), (81, 263), (9_912, 10_000), (10_000, 10_000)])
def test_wilson_is_scipys(correct, count, confidence):
    from scipy.stats import norm

    theirs = binomtest(correct, count).proportion_ci(confidence, method="wilson")
    ours = wilson(correct, count, z=float(norm.ppf(0.5 + confidence / 2)))
    assert ours == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_wilson_never_leaves_the_unit_interval_and_knows_nothing_without_samples():
    for count in (1, 2, 3, 1_000_000):
        for correct in (0, 1, count):
            low, high = wilson(correct, count)
            assert 0 <= low <= correct / count <= high + 1e-15 and high <= 1
    assert wilson(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize("count", [2, 3, 5, 16, 17, 40])
def test_the_interval_of_a_mean_is_scipys(count):
    values = [0.9 + 0.01 * math.sin(i) for i in range(count)]
    mean = sum(values) / count
    deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / (count - 1))
    theirs = t.interval(0.95, count - 1, loc=mean, scale=deviation / math.sqrt(count))
    assert of_mean(values) == pytest.approx(theirs, abs=2e-4 * (theirs[1] - theirs[0]))
    assert of_mean([0.5] * count) == pytest.approx((0.5, 0.5))
