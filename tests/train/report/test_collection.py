"""Which runs belong to a report, and to each other."""

from __future__ import annotations

from pathlib import Path

import pytest

from configs.errors import InputError
from report_runs import distilled, write
from train.report.collection import collect


def test_runs_that_differ_in_their_seed_are_one_group_and_the_control_has_its_name(tmp_path: Path) -> None:
    paths = [distilled(tmp_path / f"kd-{seed}", 280, seed=seed) for seed in range(3)]
    paths += [distilled(tmp_path / f"ce-{seed}", 270, "--distill.alpha", "0", seed=seed) for seed in range(2)]
    found = collect(paths)
    assert [(group.name, len(group.runs)) for group in found.groups] == [("kd-0", 3), ("without teacher", 2)]
    assert [network.name for network in found.controls] == ["without teacher"]


def test_files_of_weights_are_of_their_seed_and_do_not_part_a_group(tmp_path: Path) -> None:
    paths = [distilled(tmp_path / str(seed), 280, "--teacher", f"t{seed}.safetensors", seed=seed) for seed in range(2)]
    assert [len(group.runs) for group in collect(paths).groups] == [2]


def test_other_files_of_the_same_seed_are_another_group(tmp_path: Path) -> None:
    paths = [
        distilled(tmp_path / f"{teacher}-{seed}", 280, "--teacher", f"{teacher}.safetensors", seed=seed)
        for seed in range(2)
        for teacher in ("small", "large")
    ]
    groups = collect(paths).groups
    assert [(group.name, [run.path.name for run in group.runs]) for group in groups] == [
        ("small-0", ["small-0", "small-1"]),
        ("large-0", ["large-0", "large-1"]),
    ]


def test_a_run_of_before_a_key_belongs_to_its_group(tmp_path: Path) -> None:
    paths = [distilled(tmp_path / str(seed), 280, seed=seed) for seed in range(2)]
    text = (paths[0] / "config.yaml").read_text()
    (paths[0] / "config.yaml").write_text(text.replace("epoch_share: 1.0\n", ""))
    assert "epoch_share" in text and [len(group.runs) for group in collect(paths).groups] == [2]


def test_a_control_from_scratch_has_its_name(tmp_path: Path) -> None:
    scratch = "{name: a.safetensors, from_scratch: true, depth: null, widths: null}"
    found = collect([distilled(tmp_path / "a", 280), distilled(tmp_path / "b", 270, "--student", scratch)])
    assert [group.name for group in found.groups] == ["a", "from scratch"]


def submitted(folder: Path, seeds: int, *options: str) -> None:
    """A folder of launch.submit, with a finished run for each seed, and one that has not begun."""
    for seed in range(seeds):
        distilled(folder / "runs" / f"id{seed}", 280, *options, seed=seed)
    overrides = [{"id": f"id{seed}", "overrides": {"seed": str(seed)}, "inherited": {}} for seed in range(seeds + 1)]
    write(folder / "sweep.json", {"runs": overrides})


def test_main_runs_and_their_controls_have_the_names_of_their_folders(tmp_path: Path) -> None:
    submitted(tmp_path / "main", 3)
    submitted(tmp_path / "uniform", 2)  # the same config: the folder tells them apart
    submitted(tmp_path / "no_teacher", 3, "--distill.alpha", "0")
    submitted(tmp_path / "scratch", 0)
    found = collect([tmp_path])
    assert [(group.name, len(group.runs)) for group in found.groups] == [("main", 3), ("no_teacher", 3), ("uniform", 2)]
    assert found.runs[0].path == tmp_path / "main" / "runs" / "id0" and found.chosen_of == 1
    assert [network.name for network in found.controls] == ["no_teacher", "uniform"]


def test_controls_without_main_runs_are_refused(tmp_path: Path) -> None:
    submitted(tmp_path / "main", 0)
    submitted(tmp_path / "uniform", 1)
    with pytest.raises(InputError, match=r"no run of the sweep in .*main has begun"):
        collect([tmp_path])


@pytest.mark.parametrize(("text", "said"), [("{", "is damaged"), ({"runs": []}, "no run of the sweep in .* has begun")])
def test_a_sweep_without_runs_is_refused(tmp_path: Path, text, said: str) -> None:
    write(tmp_path / "sweep.json", text)
    with pytest.raises(InputError, match=said):
        collect([tmp_path])
