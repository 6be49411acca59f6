"""Means over seeds, and paired differences to controls, of run folders as trainings leave them."""

from __future__ import annotations

import json
import statistics
from pathlib import Path

import pytest

import run_folders
from configs.errors import InputError
from configs.intervals import of_mean
from configs.tables import PlainConsole
from launch.submit import summary
from launch.sweep_folder import Run, Submission, SweepFolder

ACCURACIES = {"main": (0.95, 0.96, 0.94), "scratch": (0.93, 0.95, 0.93)}


def runs(folder: Path, accuracies, *, state: str = "done", data: str = "digits", settings=None, **result) -> None:
    """A sweep folder with a run for each seed."""
    points = [{**(settings or {}), "seed": str(seed)} for seed in range(len(accuracies))]
    for seed, (path, accuracy) in enumerate(zip(run_folders.sweep(folder, *points), accuracies, strict=True)):
        own = {"seed": seed, "accuracy": accuracy, "validation_accuracy": accuracy + 0.01}
        run_folders.make(path, state, own | result)
        (path / "config.yaml").write_text(f"seed: {seed}\ndata: {{source: {data}}}\n")


def shown(values) -> list[list[str]]:
    console = PlainConsole(width=200, record=True)
    console.print(summary.table(values))
    lines = console.export_text().splitlines()
    return [line.split("   ") for line in lines if line.strip() and "─" not in line]


@pytest.fixture
def study(tmp_path) -> Path:
    for name, accuracies in ACCURACIES.items():
        runs(tmp_path / name, accuracies)
    return tmp_path


def test_means_have_intervals_and_differences_are_paired_by_seed(study):
    values = summary.write(study)
    assert json.loads((study / "result.json").read_text()) == json.loads(json.dumps(values))
    main, scratch = values["groups"]
    assert (main["name"], main["n"], main["seeds"], scratch["name"]) == ("main", 3, [0, 1, 2], "scratch")
    assert main["test"]["mean"] == statistics.fmean(ACCURACIES["main"])
    assert main["test"]["interval_95"] == of_mean(ACCURACIES["main"])
    assert main["test"]["standard_deviation"] == statistics.stdev(ACCURACIES["main"])
    assert main["validation"]["mean"] == pytest.approx(0.96) and (main["parameters"], main["epochs"]) == (5142, 16)
    (difference,) = values["differences"]
    pairs = [one - other for one, other in zip(*ACCURACIES.values(), strict=True)]
    assert (difference["of"], difference["minus"], difference["n"]) == ("main", "scratch", 3)
    assert difference["test"]["mean"] == statistics.fmean(pairs)
    assert difference["test"]["interval_95"] == of_mean(pairs)
    unpaired = main["test"]["interval_95"][1] - main["test"]["interval_95"][0]
    low, high = difference["test"]["interval_95"]
    assert high - low < unpaired / 1.5  # what pairing is for


def test_the_table_has_a_row_for_each_group(study):
    text = "\n".join(map("|".join, shown(summary.write(study))))
    low, high = (100 * end for end in of_mean(ACCURACIES["main"]))
    assert "main minus it, test" in text and f"95.00 ({low:.2f} to {high:.2f})" in text and "+1.33 (" in text
    assert len(text.splitlines()) == 3


def test_one_seed_has_no_interval(tmp_path):
    for name, accuracies in ACCURACIES.items():
        runs(tmp_path / name, accuracies[:1])
    values = summary.write(tmp_path)
    assert values["groups"][0]["test"] == {"mean": 0.95, "interval_95": None, "standard_deviation": None}
    assert values["differences"][0]["test"]["interval_95"] is None
    assert "95.00" in [cell.strip() for cell in shown(values)[1]]


@pytest.mark.parametrize(
    "other", [{"data": "cifar10"}, {"accuracy_samples": 358}, {"accuracy_split": "validation"}], ids=str
)
def test_other_images_are_not_compared(study, tmp_path, other):
    runs(tmp_path / "uniform", (0.9, 0.9, 0.9), **other)
    known, found = summary.write(study)["differences"]
    assert known["n"] == 3 and found["minus"] == "uniform"
    assert (found["n"], found["test"], found["validation"]) == (0, None, None)


def test_runs_without_test_are_compared_on_validation(tmp_path):
    for name, accuracies in ACCURACIES.items():
        runs(tmp_path / name, accuracies, accuracy_split="validation")
    values = summary.write(tmp_path)
    assert values["groups"][0]["test"] is None and values["differences"][0]["test"] is None
    (head, *_) = shown(values)
    assert [cell.strip() for cell in head if cell.strip()][2:4] == ["validation %", "main minus it, validation"]


def test_what_is_not_done_does_not_count(study, tmp_path):
    runs(tmp_path / "no_teacher", (0.9, 0.9), state="failed")
    assert [group["name"] for group in summary.write(study)["groups"]] == ["main", "scratch"]


def test_a_sweep_has_a_group_for_each_point_and_no_differences(tmp_path):
    points = [{"optim.lr": rate, "seed": str(seed)} for rate in ("1", "2") for seed in range(2)]
    for number, path in enumerate(run_folders.sweep(tmp_path, *points)):
        run_folders.make(path, "done", {"seed": number % 2, "accuracy": 0.9 + number / 100})
    values = summary.write(tmp_path)
    assert [(group["name"], group["seeds"]) for group in values["groups"]] == [
        ("optim.lr 1", [0, 1]), ("optim.lr 2", [0, 1]),
    ]  # fmt: skip
    assert values["groups"][1]["overrides"] == {"optim.lr": "2"} and not values["differences"]
    assert values["groups"][0]["runs"][1]["run"] == "runs/id1"


def test_one_command_is_one_group(tmp_path):
    runs(tmp_path, (0.9, 0.92))
    (group,) = summary.write(tmp_path)["groups"]
    assert (group["name"], group["n"]) == ("main", 2)


def test_points_are_apart_by_what_they_continue(tmp_path):
    parents = [Run(id=f"p{rate}", overrides={"lr": rate}, inherited={"lr": rate}) for rate in "12"]
    own = [Run(id=f"c{run.id}", overrides={"lr": "3"}, parent=run.id, inherited=run.inherited) for run in parents]
    home = SweepFolder(tmp_path)
    home.save(Submission(command="train.distill", words=(), directory="/", after="x", runs=tuple(own)))
    for run in own:
        run_folders.make(home.run_dir(run.id), "done", {"seed": 0})
    assert [group["n"] for group in summary.write(tmp_path)["groups"]] == [1, 1]


def carried_on(home: SweepFolder, parents: list[Run], *seeds: int) -> None:
    """Finished runs that continue each of these with each seed; without an override where it is 0."""
    runs = []
    for parent in parents:
        for seed in seeds:
            own = {"seed": str(seed)} if seed else {}
            runs.append(Run(id=f"{parent.id}s{seed}", overrides=own, parent=parent.id, inherited=parent.settings))
    home.save(Submission(command="train.distill", words=(), directory="/", after="x", runs=tuple(runs)))
    for run in runs:
        run_folders.make(home.run_dir(run.id), "done", {"seed": int(run.overrides.get("seed", 0))})


def test_what_continues_several_seeds_is_as_many_runs(tmp_path):
    home = SweepFolder(tmp_path)
    carried_on(home, [Run(id=f"p{seed}", overrides={"seed": str(seed)}) for seed in range(5)], 0)
    (group,) = summary.write(tmp_path)["groups"]
    assert (group["n"], group["seeds"], group["name"]) == (5, [0] * 5, "main")
    assert [run["run"] for run in group["runs"]] == [f"runs/p{seed}s0" for seed in range(5)]


def test_seeds_of_a_run_and_of_what_it_continues_count_together(tmp_path):
    grandparents = [Run(id=f"g{seed}", overrides={"seed": str(seed)}) for seed in (0, 1)]
    parents = [
        Run(id=f"p{old.id}{seed}", overrides={"seed": str(seed)}, parent=old.id, inherited=old.settings)
        for old in grandparents
        for seed in (0, 1)
    ]
    carried_on(SweepFolder(tmp_path), parents, 0, 1)
    (group,) = summary.write(tmp_path)["groups"]
    assert (group["n"], group["seeds"]) == (8, [0] * 4 + [1] * 4)


def test_a_run_without_a_seed_and_its_twin_of_seed_0_are_one(tmp_path):
    for path in run_folders.sweep(tmp_path, {}, {"seed": "0"}, {"seed": "1"}):
        run_folders.make(path, "done", {"seed": int(path.name == "id2")})
    (group,) = summary.write(tmp_path)["groups"]
    assert (group["n"], group["seeds"]) == (2, [0, 1])


def test_a_damaged_run_is_named_and_nothing_is_written(study):
    (study / "main" / "runs" / "id0" / "result.json").write_text("{")
    with pytest.raises(InputError, match=r"main/runs/id0/result\.json is damaged"):
        summary.write(study)
    assert not (study / "result.json").exists()
