"""Settings of pruning, and the targets on the way to a budget."""

from dataclasses import fields, replace

import pytest

from configs.errors import UsageError
from models.pruning.spec import IMPORTANCES, Budget, PruneSpec


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"steps": 0}, "prune.steps"),
        ({"importance": "l3"}, "prune.importance"),
        ({"ranking": "all"}, "prune.ranking"),
        ({"floor": 1.5}, "prune.floor"),
        ({"round_to": 0}, "prune.round_to"),
        ({"seed": -1}, "prune.seed"),
    ],
)
def test_a_wrong_setting_is_refused_by_key(change, key):
    with pytest.raises(UsageError, match=key):
        PruneSpec(budget=Budget(parameters=1), **change)


def test_only_taylor_needs_gradients():
    needs = {name: PruneSpec(budget=Budget(parameters=1), importance=name).needs_gradients for name in IMPORTANCES}
    assert [name for name, needed in needs.items() if needed] == ["taylor"]


def test_a_budget_has_a_limit_and_positive_ones():
    with pytest.raises(UsageError, match="a number of parameters, of macs, or both"):
        Budget()
    with pytest.raises(UsageError, match=r"budget\.macs is 0"):
        Budget(macs=0)


def test_the_way_to_the_budget_is_geometric_and_ends_on_it():
    budget = Budget(parameters=100, macs=50)
    found = (1600, 800)
    stops = []
    for left in range(4, 0, -1):
        target = budget.next_target(*found, left)
        found = (target.parameters, target.macs)
        stops.append(found)
    assert stops == [(800, 400), (400, 200), (200, 100), (100, 50)]
    assert budget.next_target(800, 40, 3) == Budget(parameters=400, macs=40)
    assert Budget(parameters=100).next_target(1600, 800, 2) == Budget(parameters=400)


def test_a_budget_of_two_limits_allows_what_is_within_both():
    budget = Budget(parameters=100, macs=50)
    assert [budget.allows(*cost) for cost in ((100, 50), (101, 1), (1, 51))] == [True, False, False]
    assert budget.used(50, 40) == 0.8
    assert Budget(macs=50).used(10**9, 25) == 0.5


# ---- single weights

IDLE = {
    "importance": "l1",
    "ranking": "global",
    "cost_normalised": True,
    "floor": 0.2,
    "round_to": 2,
    "ignored_layers": ("conv1",),
    "seed": 1,
}


def test_unstructured_cuts_take_a_budget_of_parameters_and_steps():
    spec = PruneSpec(kind="unstructured", budget=Budget(parameters=90), steps=3)
    assert (spec.kind, spec.steps) == ("unstructured", 3)
    assert PruneSpec(budget=Budget(parameters=90)).kind == "structured"
    with pytest.raises(UsageError, match=r"prune\.kind is 'both'; it must be one of structured, unstructured"):
        PruneSpec(kind="both", budget=Budget(parameters=90))


def test_every_other_setting_is_known_to_have_no_effect_on_them():
    assert {field.name for field in fields(PruneSpec)} == {"budget", "kind", "steps", *IDLE}


@pytest.mark.parametrize(("key", "value"), IDLE.items())
def test_a_setting_without_effect_is_refused(key, value):
    spec = PruneSpec(budget=Budget(parameters=90), **{key: value})  # the control: it is for channels
    assert getattr(spec, key) == value
    with pytest.raises(UsageError, match=rf"prune\.{key} is .*; it must be left out of unstructured cuts"):
        replace(spec, kind="unstructured")
    default = getattr(PruneSpec(budget=Budget(parameters=90)), key)
    assert replace(spec, kind="unstructured", **{key: default}).kind == "unstructured"


def test_unstructured_cuts_leave_the_macs_alone():
    with pytest.raises(UsageError, match=r"budget\.macs is 9; it must be left out"):
        PruneSpec(kind="unstructured", budget=Budget(parameters=90, macs=9))
    with pytest.raises(UsageError, match=r"budget\.parameters is None; it must be a number"):
        PruneSpec(kind="unstructured", budget=Budget(macs=9))
