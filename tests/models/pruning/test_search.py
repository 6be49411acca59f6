import itertools

import numpy as np
import pytest
import torch

from configs.errors import UsageError
from models.networks.resnet import resnet_small
from models.pruning.importance import scores
from models.pruning.search import Problem, fill, greedy, require_reachable
from models.pruning.spec import Budget, PruneSpec
from models.pruning.tracing import trace

SIZE = (1, 8, 8)


def problem(widths=(4, 4, 5), **options):
    torch.manual_seed(0)
    net = resnet_small(num_classes=10, input_CHW=SIZE, depth=8, widths=widths)
    spec = PruneSpec(budget=Budget(parameters=1), **options)
    structure = trace(net, SIZE)
    return Problem(structure=structure, spec=spec, start=structure.widths, scores=scores(net, structure, spec))


def all_counts(task):
    states = itertools.product(*(range(top + 1) for top in task.tops))
    return sorted({task.count(np.array(state))[0] for state in states if any(state)})


def test_the_search_finds_the_best_of_all_states_where_they_can_all_be_tried():
    task = problem()
    counts = all_counts(task)
    for target in (900, 1000, 1100, 1200):
        budget = Budget(parameters=target)
        found = task.count(fill(task, greedy(task, budget), budget))[0]
        best = max(count for count in counts if count <= target)
        assert found <= target
        assert found >= 0.99 * best


def test_filling_never_exceeds_and_never_loses():
    task = problem((16, 32, 64))
    for target in range(20_000, 70_000, 7_001):
        budget = Budget(parameters=target)
        level_G = greedy(task, budget)
        before, after = task.count(level_G)[0], task.count(fill(task, level_G, budget))[0]
        assert before <= after <= target
        assert after >= 0.999 * target


def test_a_cut_is_never_empty_even_if_the_target_is_met():
    task = problem()
    whole = task.count(np.zeros(len(task.tops), dtype=np.int64))[0]
    budget = Budget(parameters=whole * 2)
    level_G = greedy(task, budget)
    assert level_G.sum() == 1
    assert fill(task, level_G, budget).any()


def test_within_a_layer_the_least_important_leave_first_and_ties_by_channel():
    task = problem(ranking="global")
    units = task.units(greedy(task, Budget(parameters=1000)))
    for group, score_U in zip(task.structure.groups, task.scores, strict=True):
        gone = units.get(group.root, np.array([], dtype=np.int64)).tolist()
        assert gone == sorted(np.argsort(score_U, kind="stable")[: len(gone)].tolist())


def test_levels_are_multiples_and_stop_at_the_floor():
    task = problem((9, 16, 30), round_to=4, floor=0.4)
    widths = [
        (g.units - ladder.removed).tolist() for g, ladder in zip(task.structure.groups, task.ladders, strict=True)
    ]
    assert widths[0] == [9, 8, 4]
    assert widths[2] == [16, 12, 8]
    assert widths[4] == [30, 28, 24, 20, 16, 12]


def test_the_smallest_is_named():
    task = problem()
    smallest = all_counts(task)[0]
    require_reachable(task, Budget(parameters=smallest))
    with pytest.raises(UsageError, match=f"the smallest that can be reached is {smallest}"):
        greedy(task, Budget(parameters=smallest - 1))


def test_many_equal_scores_keep_the_order_of_channels():
    task = problem((16, 32, 256), importance="bn_scale")  # untrained scales are all one
    assert all(ladder.order.tolist() == list(range(len(ladder.order))) for ladder in task.ladders)
