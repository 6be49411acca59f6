"""Points with several seeds."""

import pytest

from configs.errors import UsageError
from launch.points import seeds
from launch.points.grid import Point

POINTS = [Point.of({"optim.lr": 1}), Point.of({"optim.lr": 2})]


def test_each_point_has_each_seed_and_an_id_of_its_own():
    found = seeds.times(POINTS, 3)
    assert [dict(point.overrides) for point in found] == [
        {"optim.lr": str(rate), "seed": str(seed)} for rate in (1, 2) for seed in range(3)
    ]
    assert len({point.id for point in (*found, *POINTS)}) == 8


def test_more_seeds_add_points_and_change_none():
    few, many = seeds.times(POINTS, 3), seeds.times(POINTS, 5)
    assert {point.id: point for point in few}.items() <= {point.id: point for point in many}.items()
    assert [point.id for point in seeds.times(POINTS[1:], 1)] == [few[3].id]


@pytest.mark.parametrize("number", [0, -1, 5001])
def test_a_number_that_makes_no_sense_is_refused(number):
    with pytest.raises(UsageError, match=rf"--seeds is {number}; it must be at least 1, and 10,000 runs at most"):
        seeds.times(POINTS, number)


@pytest.mark.parametrize("words", [["--epochs", "2", "--seed", "3"], ["--seed=3"]])
def test_a_seed_beside_them_is_refused(words):
    with pytest.raises(UsageError, match="--seed and --seeds are both given; leave one out"):
        seeds.require_free(words, POINTS, None)
    seeds.require_free(["--view_seed", "3", "--data.split_seed=1"], POINTS, None)  # are other seeds


def test_a_sweep_of_seeds_is_refused_with_its_place():
    with pytest.raises(UsageError, match=r"s\.yaml, line 6: the sweep sets seed, and --seeds is given; leave one out"):
        seeds.require_free([], [Point.of({"seed": 1})], "s.yaml, line 6")
