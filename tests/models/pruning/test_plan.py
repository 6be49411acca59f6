"""Cuts and plans as JSON and as a table."""

import json
from dataclasses import replace

import pytest

from models.pruning.plan import Cut, PrunePlan
from models.pruning.spec import Budget

CUT = Cut(
    input_CHW=(1, 28, 28),
    removed={"conv1": (0, 3)},
    widths_before={"conv1": 16},
    widths={"conv1": 14},
    parameters=90,
    macs=900,
)
PLAN = PrunePlan(
    budget=Budget(parameters=80, macs=1000),
    parameters=100,
    macs=1000,
    widths={"conv1": 16},
    cuts=(CUT, replace(CUT, parameters=79, macs=800, widths={"conv1": 12})),
)


def test_a_cut_as_json():
    assert json.loads(CUT.to_json()) == {
        "input_CHW": [1, 28, 28],
        "removed": {"conv1": [0, 3]},
        "widths_before": {"conv1": 16},
        "widths": {"conv1": 14},
        "parameters": 90,
        "macs": 900,
    }


def test_a_plan_as_json_has_the_final_counts_beside_the_cuts():
    values = json.loads(PLAN.to_json())
    assert [values[key] for key in ("budget", "macs_budget", "start", "start_macs")] == [80, 1000, 100, 1000]
    assert (values["final"], values["final_macs"]) == (79, 800)
    assert (values["start_widths"], values["widths"]) == ({"conv1": 16}, {"conv1": 12})
    assert values["steps"][0] == json.loads(CUT.to_json()) and len(values["steps"]) == 2


def test_the_table_has_a_line_for_each_cut_and_each_layer():
    lines = [line.split() for line in PLAN.table().splitlines()]
    assert lines == [
        ["cut", "parameters", "MACs", "of", "the", "budget"],
        ["0", "100", "1,000", "125.00", "%"],
        ["1", "90", "900", "112.50", "%"],
        ["2", "79", "800", "98.75", "%"],
        [],
        ["layer", "before", "after"],
        ["conv1", "16", "12"],
    ]


@pytest.mark.parametrize("cuts", [(), (replace(CUT, parameters=100),), (CUT, CUT)])
def test_a_plan_whose_cuts_do_not_shrink_the_network_is_a_bug(cuts):
    with pytest.raises(AssertionError):
        replace(PLAN, cuts=cuts)
