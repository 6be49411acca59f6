"""Several runs: seeds, controls, sweeps."""

from __future__ import annotations

import json
import statistics
from pathlib import Path

import pytest

from configs.intervals import of_mean
from report_runs import distilled, write
from train.report import groups
from train.report.collection import collect

WITHOUT = ("--distill.alpha", "0")


def cells(table) -> list[list[str]]:
    return [[str(cell) for cell in row] for row in table.rows]


@pytest.fixture
def seeds(tmp_path: Path) -> list[Path]:
    """Three seeds with a teacher, two without."""
    found = [distilled(tmp_path / f"kd-{seed}", 280 + seed, seed=seed) for seed in range(3)]
    return found + [distilled(tmp_path / f"ce-{seed}", 270 + 2 * seed, *WITHOUT, seed=seed) for seed in range(2)]


def test_means_have_intervals_over_seeds(seeds: list[Path]) -> None:
    section = groups.section(collect(seeds))
    assert section is not None
    first, second = cells(section.tables[0])
    low, high = of_mean([280 / 300, 281 / 300, 282 / 300])
    assert first[:2] == ["kd-0", "3"] and first[4] == f"93.67 % ({100 * low:.2f} to {100 * high:.2f} %)"
    assert second[:2] == ["without teacher", "2"]


def test_differences_are_paired_by_seed_on_the_same_images(seeds: list[Path]) -> None:
    section = groups.section(collect(seeds))
    assert section is not None
    (row,) = cells(section.tables[1])
    pairs = [(270 - 280) / 300, (272 - 281) / 300]
    assert row[:3] == ["without teacher minus kd-0", "2", f"{100 * statistics.fmean(pairs):+.2f}"]
    low, high = of_mean(pairs)
    assert row[3] == f"{100 * low:+.2f} to {100 * high:+.2f}"


def test_other_images_or_none_are_not_compared(seeds: list[Path]) -> None:
    for path in seeds[3:]:
        known = json.loads((path / "evaluation-test.json").read_text())
        write(path / "evaluation-test.json", known | {"data": "other"})
    section = groups.section(collect(seeds))
    assert (
        section is not None
        and len(section.tables) == 1
        and "cannot be compared seed by seed" in section.missing[0].text
    )


def test_one_run_is_not_several(seeds: list[Path]) -> None:
    assert groups.section(collect(seeds[:1])) is None


def test_a_sweep_is_its_runs_the_best_first(tmp_path: Path) -> None:
    runs = []
    for number, (rate, correct) in enumerate((("1e-3", 250), ("1e-2", 290), ("1e-1", 200))):
        distilled(tmp_path / "runs" / f"id{number}", correct, "--optim.lr", rate)
        runs.append({"id": f"id{number}", "overrides": {"optim.lr": rate, "x": "<y>"}, "inherited": {}})
    write(tmp_path / "sweep.json", {"runs": [*runs, {"id": "waiting", "overrides": {}}, {"id": "../../etc"}]})
    found = collect([tmp_path])
    assert [run.path.name for run in found.runs] == ["id1", "id0", "id2"]
    section = groups.section(found)
    assert section is not None and [chart.title for chart in section.charts] == [
        "All runs of the sweep", "Accuracy against optim.lr",
    ]  # fmt: skip
    (table,) = section.tables
    assert cells(table)[0][1] == "optim.lr 1e-2, x <y>" and not section.details and not section.missing
    assert found.controls == [] and found.chosen_of == 3
    assert found.groups[0].name == "optim.lr 1e-2, x <y>"
