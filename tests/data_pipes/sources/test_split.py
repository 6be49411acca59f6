from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from data_pipes.sources.split import evenly_spaced, stratified

labels = st.lists(st.integers(0, 5), min_size=1, max_size=200).map(lambda values: np.array(values, np.int64))
fractions = st.floats(0.01, 0.99)


@given(labels, fractions, st.integers(-(2**63), 2**64))
@settings(max_examples=100, deadline=None)
def test_parts_are_disjoint_complete_and_ascending(label_N, fraction, seed):
    train_rows, validation_rows = stratified(label_N, fraction, seed)
    assert (np.diff(train_rows) > 0).all() and (np.diff(validation_rows) > 0).all()
    assert train_rows.dtype == validation_rows.dtype == np.int64
    assert sorted([*train_rows, *validation_rows]) == list(range(len(label_N)))


@given(labels, fractions)
@settings(max_examples=100, deadline=None)
def test_every_class_is_cut_in_proportion_and_stays_in_both_parts(label_N, fraction):
    train_rows, validation_rows = stratified(label_N, fraction, 0)
    for label in np.unique(label_N):
        train, validation = (label_N[train_rows] == label).sum(), (label_N[validation_rows] == label).sum()
        if train + validation >= 2:
            assert train >= 1 and validation >= 1
            assert abs(validation - fraction * (train + validation)) <= 1
        else:
            assert validation == 0


def test_the_seed_fixes_the_cut():
    label_N = np.arange(1000, dtype=np.int64) % 10
    first, again, other = (stratified(label_N, 0.1, seed)[1] for seed in (0, 0, 1))
    assert (first == again).all() and len(first) == 100
    assert len(np.intersect1d(first, other)) < 40  # by chance about 10


def test_the_cut_is_the_recorded_one():
    """Written down once with NumPy 2.4: a change here means that everyone's validation split changes."""
    assert stratified(np.arange(20, dtype=np.int64) % 2, 0.3, 0)[1].tolist() == [2, 8, 13, 15, 16, 17]


@given(st.integers(0, 3000), st.integers(0, 3000))
@settings(max_examples=200, deadline=None)
def test_positions_are_spread_over_the_whole_range(length, count):
    position = evenly_spaced(length, count)
    assert position.dtype == np.int64 and len(position) == min(length, count)
    steps = np.diff(position)
    assert (steps >= 1).all() and (len(steps) == 0 or steps.max() - steps.min() <= 1)
    if len(position) > 1:
        assert (position[0], position[-1]) == (0, length - 1)


def test_a_few_positions():
    assert evenly_spaced(30, 4).tolist() == [0, 9, 19, 29] and evenly_spaced(30, 1).tolist() == [0]
