from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from data_pipes.sources.split import by_content, evenly_spaced, stratified

labels = st.lists(st.integers(0, 5), min_size=1, max_size=200).map(lambda values: np.array(values, np.int64))
fractions = st.floats(0.01, 0.99)
RECORDED = [0, 1, 2, 5, 6, 9, 13, 17, 18]


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


# ---- by content


def images(count: int, classes: int = 5, seed: int = 0):
    """(labels, contents) of different images."""
    drawn = np.random.default_rng(seed).choice(2**32, count, replace=False)
    return np.arange(count, dtype=np.int64) % classes, [(int(crc), 1000 + i) for i, crc in enumerate(drawn)]


def validated(label_N, content_N, fraction=0.1, seed=0) -> set:
    train_rows, rows = by_content(label_N, content_N, fraction, seed)
    assert sorted([*train_rows, *rows]) == list(range(len(label_N))) and (np.diff(rows) > 0).all()
    return {content_N[row] for row in rows}


@given(st.lists(st.booleans(), min_size=400, max_size=400))
@settings(max_examples=30, deadline=None)
def test_images_that_come_and_go_let_no_other_change_sides(kept):
    label_N, content_N = images(400)
    rows = [row for row, keep in enumerate(kept) if keep]
    there = [content_N[row] for row in rows]
    some = validated(label_N[rows], there) if rows else set()
    sides = {content: content in validated(label_N, content_N) for content in there}
    sparse = [label for label in range(5) if sum(int(label_N[row]) == label for row in rows) < 60]
    for row in rows:
        if label_N[row] not in sparse:  # a class of 60 has hashes enough
            assert (content_N[row] in some) is sides[content_N[row]]


def test_by_position_they_would_and_the_share_is_about_the_one_asked_for():
    """The control, and the price: the cut of a fraction is not exact."""
    label_N, content_N = images(400)
    before, after = ({content_N[first:][row] for row in stratified(label_N[first:], 0.1, 0)[1]} for first in (0, 1))
    assert len(before - after) > 10
    counts = [len(validated(*images(2000, seed=seed))) for seed in range(20)]
    assert min(counts) > 150 and max(counts) < 250 and abs(np.mean(counts) - 200) < 10


@given(st.integers(1, 12), fractions, st.integers(0, 2**63 - 1))
@settings(max_examples=100, deadline=None)
def test_a_class_of_two_images_or_more_is_in_both_parts(count, fraction, seed):
    label_N, content_N = images(count * 3, 3, seed % 1000)
    rows = {content_N[row]: int(label_N[row]) for row in range(len(label_N))}
    found = [rows[content] for content in validated(label_N, content_N, fraction, seed)]
    for label in range(3):
        assert (0 < found.count(label) < count) if count > 1 else found.count(label) == 0


def test_equal_images_are_on_one_side_and_only_equal_ones_are_trained_on():
    label_N, content_N = images(300)
    twice = [*content_N, *content_N]
    train_rows, rows = by_content(np.concatenate([label_N, label_N]), twice, 0.3, 0)
    assert not {twice[row] for row in train_rows} & {twice[row] for row in rows} and len(rows) % 2 == 0
    assert validated(np.zeros(4, np.int64), [(7, 7)] * 4, 0.5) == set()


def test_the_seed_fixes_the_cut_by_content_which_is_the_recorded_one():
    label_N, content_N = images(1000)
    first, again, other = (validated(label_N, content_N, seed=seed) for seed in (0, 0, 1))
    assert first == again and len(first & other) < 40
    assert by_content(np.zeros(20, np.int64), [(n, n) for n in range(20)], 0.3, 0)[1].tolist() == RECORDED


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
