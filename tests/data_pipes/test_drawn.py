"""Epochs before they are shared out: padded to whole steps, and the same drawn ahead as drawn when they are needed."""

from __future__ import annotations

from threading import current_thread

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import reference
from data_pipes.drawn import Drawing, Drawn, Views, pad
from data_pipes.spec import AugmentSpec, DataSpec

SAMPLES = reference.in_memory(np.stack([reference.noise(6, 5, 1, seed) for seed in range(11)]), 3)
SPEC = DataSpec(
    source="digits", image_size=(6, 5), mean=(0.4,), std=(0.3,), augment=AugmentSpec(rotation=20, mixup=0.5)
)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 80), st.integers(0, 80), st.booleans())
def test_padding_repeats_the_start_of_the_order(count, extra, paired):
    if paired and (count + extra) % 2:
        extra += 1
    order_N = np.random.default_rng(count).permutation(count).astype(np.int64)
    padded = pad(order_N, count + extra, paired=paired)
    assert len(padded) == count + extra and np.array_equal(padded[:count], order_N)
    lone = paired and count % 2 == 1 and count > 1
    if extra and lone:  # the sample without a partner fills up its own pair first
        assert padded[count] == order_N[-1]
        assert np.array_equal(padded[count + 1 :], np.resize(order_N[:-1], extra - 1))
    elif count > 1 or not paired:
        assert np.array_equal(padded[count:], np.resize(order_N, extra))


@given(st.integers(0, 2**63), st.integers(0, 500), st.integers(0, 500), st.none() | st.integers(1, 40))
def test_views_go_on_behind_those_before_and_come_again_after_so_many(seed, first, epoch, count):
    views = Views(seed=seed, count=count, first=first)
    assert views.of(epoch) == (first + epoch if count is None else (first + epoch) % count)
    assert Views(seed=seed, count=count).of(first + epoch) == views.of(epoch)
    assert count is None or (0 <= views.of(epoch) < count and views.of(epoch + count) == views.of(epoch))


@pytest.fixture
def drawing():
    made = Drawing(SAMPLES, SPEC, Views(seed=7), seed=8, length=12)
    yield made
    made.close()


def key(drawn: Drawn) -> tuple[int, bytes]:
    return drawn.plan_N.crc(), drawn.row_E.tobytes()


def test_an_epoch_that_is_drawn_ahead_is_the_one_that_would_be_drawn(drawing, monkeypatch):
    alone = [key(drawing.take(number)) for number in range(3)]
    assert len(set(alone)) == 3
    threads, real = [], drawing._draw
    monkeypatch.setattr(drawing, "_draw", lambda number: threads.append(current_thread().name) or real(number))
    drawing.prepare(1)
    assert key(drawing.take(0)) == alone[0]
    assert key(drawing.take(1)) == alone[1]
    assert sorted(name.startswith("plan") for name in threads) == [False, True]
    drawing.prepare(1)
    drawing.prepare(2)  # in place of 1
    assert [key(drawing.take(number)) for number in (2, 1)] == [alone[2], alone[1]]


def test_an_error_of_the_thread_is_raised_where_the_epoch_is_needed(drawing, monkeypatch):
    monkeypatch.setattr(drawing, "_draw", lambda number: 1 // 0)
    drawing.prepare(0)
    with pytest.raises(ZeroDivisionError):
        drawing.take(0)


def test_the_evaluation_view_comes_in_order():
    fixed = Drawing(SAMPLES, SPEC, Views(seed=0), seed=None, length=12)
    assert fixed.take(0).row_E.tolist() == [*range(11), 0]
    assert fixed.plan(-1).crc() == fixed.take(3).plan_N.crc()
    fixed.close()
