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
    pairs = [(280 - 270) / 300, (281 - 272) / 300]
    assert row[:3] == ["kd-0 minus without teacher", "2", f"{100 * statistics.fmean(pairs):+.2f}"]
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


def unmeasured(paths: list[Path]) -> None:
    """What train.evaluate has not measured."""
    for path in paths:
        (path / "evaluation-test.json").unlink()


def test_runs_that_train_evaluate_has_not_measured_are_compared_by_their_own_accuracy(seeds: list[Path]) -> None:
    measured = groups.section(collect(seeds))
    unmeasured(seeds[2:])
    section = groups.section(collect(seeds))
    assert section is not None and measured is not None and not section.missing
    assert cells(section.tables[1]) == cells(measured.tables[1])


@pytest.mark.parametrize(
    "change", [("result.json", '"accuracy_samples": 300', '"accuracy_samples": 301'),
               ("result.json", '"accuracy_split": "test"', '"accuracy_split": "validation"'),
               ("config.yaml", "split_seed: 0", "split_seed: 1")]
)  # fmt: skip
def test_accuracies_on_other_images_are_not_compared(seeds: list[Path], change: tuple[str, str, str]) -> None:
    unmeasured(seeds)
    name, old, new = change
    for path in seeds[3:]:
        text = (path / name).read_text()
        assert old in text
        (path / name).write_text(text.replace(old, new))
    section = groups.section(collect(seeds))
    assert section is not None and len(section.tables) == 1 and "on the same images" in section.missing[0].text


def test_augmentation_does_not_change_which_images_are_measured(seeds: list[Path]) -> None:
    unmeasured(seeds)
    for path in seeds[3:]:
        text = (path / "config.yaml").read_text()
        (path / "config.yaml").write_text(text.replace("rotation: 10", "rotation: 20"))
    section = groups.section(collect(seeds))
    assert section is not None and len(section.tables) == 2


def test_seeds_alone_have_no_chart_of_what_varies(tmp_path: Path) -> None:
    runs = []
    for seed in range(3):
        distilled(tmp_path / "runs" / f"id{seed}", 280 + seed, seed=seed)
        runs.append({"id": f"id{seed}", "overrides": {"seed": str(seed)}, "inherited": {}})
    write(tmp_path / "sweep.json", {"runs": runs})
    section = groups.section(collect([tmp_path]))
    assert section is not None and not section.charts
    assert sorted(row[3] for row in cells(section.details[0])) == ["0", "1", "2"]


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
