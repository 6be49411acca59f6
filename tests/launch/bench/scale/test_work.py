"""Pieces of work count what they say."""

import pytest

from data_pipes import plan
from data_pipes.loader import Layout
from launch.bench.scale import work


@pytest.mark.parametrize("world", [1, 8])
def test_a_rank_takes_batches_of_its_own_share(monkeypatch, world):
    layouts = []
    monkeypatch.setattr("data_pipes.loader.Layout", lambda **own: layouts.append(own) or Layout(**own))
    monkeypatch.setattr(work, "RANK_STEPS", 2)
    figures = work.rank(4096, 100, world, 2)
    assert figures["first batch"] > 0 and figures["batch"] > 0
    assert layouts == [{"batch_size": 64 * world, "micro_batch_size": 64, "world_size": world, "rank": world - 1}]


def test_every_recipe_is_planned_for_all_samples(monkeypatch):
    planned, training = [], plan.training
    monkeypatch.setattr(plan, "training", lambda *args: planned.append(training(*args)) or planned[-1])
    for recipe in work.RECIPES:
        assert work.epochs(300, recipe, 2)["plan"] > 0
    assert [len(plan_N) for plan_N in planned] == [300] * 4
