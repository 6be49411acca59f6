"""Counter-based draws: a function of (seed, view, operator, sample), stable for ever, and uniform."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from data_pipes.draws import permutation, raw, uniform
from data_pipes.spec import Operator

RECORDED = [10340895059070635302, 17365925931654206907, 5076905943173857483]


def test_the_bit_stream_is_the_one_on_record():
    assert raw(1, 2, Operator.CROP, 3).tolist() == RECORDED
    assert raw(1, 2, Operator.CROP, 3, attempt=1).tolist() != RECORDED


def test_every_key_has_its_own_stream():
    keys = [
        (s, v, o, a) for s in (0, 1, 2**63) for v in (0, 1, 600, 2**32 - 1) for o in Operator for a in (0, 1, 65535)
    ]
    words = {key: raw(key[0], key[1], key[2], 4, key[3]) for key in keys}
    assert len({word.tobytes() for word in words.values()}) == len(keys) == 3 * 4 * 8 * 3
    assert np.array_equal(words[0, 0, Operator.MIX, 1], raw(0, 0, Operator.MIX, 4, 1))  # and the same one each time


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 50), st.integers(1, 50), st.integers(1, 5), st.integers(0, 2**63))
def test_a_row_does_not_depend_on_how_many_are_drawn(count, other, columns, seed):
    long = uniform(seed, 3, Operator.AFFINE, (max(count, other), columns))
    short = uniform(seed, 3, Operator.AFFINE, (min(count, other), columns))
    assert np.array_equal(long[: len(short)], short)


def test_uniform_is_uniform_and_under_one():
    u = uniform(0, 0, Operator.ERASE, (25_000, 2)).reshape(-1)
    assert u.min() >= 0 and u.max() < 1 and len(np.unique(u)) == len(u)
    assert stats.kstest(u, "uniform").pvalue > 1e-3
    assert stats.kstest(u**1.03, "uniform").pvalue < 1e-3  # control: the test sees a bend of 3 %


def test_streams_are_uncorrelated():
    draws = [uniform(s, v, o, (20_000, 1))[:, 0] for s in (0, 1) for v in (0, 1) for o in Operator]
    correlation = np.corrcoef(draws)[np.triu_indices(len(draws), 1)]
    assert np.abs(correlation).max() < 5 / np.sqrt(20_000)
    lagged = [np.corrcoef(u[1:], u[:-1])[0, 1] for u in draws]
    assert np.abs(lagged).max() < 5 / np.sqrt(20_000)


@pytest.mark.parametrize("count", [0, 1, 2, 17, 1000])
def test_permutation(count):
    assert sorted(permutation(0, 0, Operator.ORDER, count)) == list(range(count))


def test_permutations_favour_no_place():
    places = np.stack([permutation(0, view, Operator.ORDER, 4) for view in range(6000)])
    counts = np.unique(places, axis=0, return_counts=True)[1]
    assert len(counts) == 24 and stats.chisquare(counts).pvalue > 1e-3
    assert not np.array_equal(permutation(0, 0, Operator.ORDER, 50), permutation(1, 0, Operator.ORDER, 50))
