import json
from dataclasses import fields, replace

import pytest

from configs.errors import InputError, UsageError
from models.pruning.cuts import Budget, Cut, PrunePlan, PruneSpec

CUT = Cut(input_CHW=(1, 28, 28), removed={"conv1": (0, 3)}, widths={"conv1": 14}, parameters=90, macs=900)
PLAN = PrunePlan(
    budget=Budget(parameters=80, macs=1000),
    parameters=100,
    macs=1000,
    widths={"conv1": 16},
    cuts=(CUT, replace(CUT, parameters=79, macs=800, widths={"conv1": 12})),
)


def test_cuts_and_plans_travel_as_json():
    assert Cut.from_json(CUT.to_json()) == CUT
    assert PrunePlan.from_json(PLAN.to_json()) == PLAN
    values = json.loads(PLAN.to_json())
    assert (values["budget"], values["macs_budget"], values["final"], len(values["steps"])) == (80, 1000, 79, 2)
    assert values["widths"] == {"conv1": 12}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"parameters": True}, "parameters is True; it must be a count"),
        ({"parameters": 9.5}, "parameters is 9.5"),
        ({"macs": -1}, "macs is -1"),
        ({"removed": {}}, "removed is {}"),
        ({"removed": {"conv1": []}}, r"removed\.conv1 is \[\]"),
        ({"removed": {"conv1": [3, 0]}}, r"removed\.conv1 is \[3, 0\]"),
        ({"removed": {"conv1": [0, 0]}}, "each once"),
        ({"removed": {"conv1": ["0"]}}, "channels"),
        ({"widths": {"conv1": 0}}, "widths is"),
        ({"input_CHW": [1, 28]}, "input_CHW is"),
        ({"extra": 1}, "wrong or missing: extra"),
    ],
)
def test_a_foreign_cut_is_refused_by_key(change, message):
    values = json.loads(CUT.to_json()) | change
    with pytest.raises(InputError, match=message):
        Cut.from_json(json.dumps(values))


@pytest.mark.parametrize("text", ["", "[1]", "{}", "null", '{"removed": 1}'])
def test_what_is_no_cut_or_plan_at_all_is_refused(text):
    with pytest.raises(InputError):
        Cut.from_json(text)
    with pytest.raises(InputError):
        PrunePlan.from_json(text)


@pytest.mark.parametrize(
    "change", [{"final": 78}, {"widths": {"conv1": 9}}, {"steps": []}, {"steps": [1]}, {"budget": "80"}, {"start": 70}]
)
def test_a_plan_that_contradicts_itself_is_refused(change):
    with pytest.raises(InputError):
        PrunePlan.from_json(json.dumps(json.loads(PLAN.to_json()) | change))


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
