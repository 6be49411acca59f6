"""Main runs and controls, submitted together: folders, dependencies, and one run of all of them."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from pathlib import Path

import pytest

import forked
import run_folders
from configs.errors import ExitCode, InputError, UsageError
from launch.status import command as status
from launch.submit import command, local, study
from launch.submit.request import parse, run_config
from launch.sweep_folder import SweepFolder
from submit_stubs import ROOT

COMPRESS = ["train.compress", "--config", str(ROOT / "configs" / "digits" / "compress.yaml")]
COMPRESS += ["--cut.prune.ranking", "global", "--onnx", "false"]
ALL = ["--controls", "scratch,no_teacher,uniform"]
HERE = ["--bash", "--folder", "study"]
SLURM = ["--cluster", "cluster.yaml", "--folder", "study"]
QUICK = "import torch; torch.set_num_threads(1); from train.stage import pictures; pictures.write = lambda *_: {}"
SMALL = [
    *("--data.image_size", "8", "--data.validation_fraction", "0.9", "--data.threads", "1"),
    *("--teacher_training.model.widths", "[4, 8, 8]", "--teacher_training.epochs", "1"),
    *("--student.model.widths", "[2, 4, 8]", "--student.epochs", "2"),
    *("--cut.epochs", "1", "--cut.final_epochs", "1", "--cut.prune.steps", "1", "--cut.prune.budget.parameters", "900"),
]


def runs(name: str):
    return SweepFolder(Path("study") / name).load().runs


def finish(name: str) -> None:
    """Let all runs of a folder be done."""
    for run in runs(name):
        folder = SweepFolder(Path("study") / name).run_dir(run.id)
        if not folder.exists():
            run_folders.make(folder, "done", {"seed": int(run.settings["seed"])})


def sent(site) -> list[str]:
    return [path.read_text() for path in sorted((site.folder / "sent").iterdir())]


def test_each_control_is_a_folder_whose_runs_have_the_seeds_of_the_main_runs(site, tmp_path):
    main, *controls = study.requests(parse([*HERE, "--seeds", "2", *ALL, *COMPRESS]), tmp_path / "drafts")
    assert [one.folder.path.name for one in (main, *controls)] == ["main", "scratch", "no_teacher", "uniform"]
    for one in controls:
        assert [run.parent for run in one.submission.runs] == [run.id for run in main.submission.runs]
        found = [run_config(one.folder, one.submission, run) for run in one.submission.runs]
        assert [config["seed"] for config in found] == [0, 1]
        files = {(config["teacher"], config.get("student.name", "")) for config in found}
        homes = [str(main.folder.run_dir(run.id).absolute()) for run in main.submission.runs]
        assert all(file.startswith(homes[0]) or file.startswith(homes[1]) for pair in files for file in pair if file)
        assert len(files) == 2
    assert not Path("study").exists()


def test_an_array_of_a_control_waits_for_the_main_runs_element_by_element(site):
    site.write("queue", "101_0 PENDING\n101_1 PENDING\n")
    command.main([*SLURM, "--seeds", "2", *ALL, *COMPRESS])
    main, *controls = sent(site)
    assert "dependency" not in main and "--job-name=study-main\n" in main and "--array=0-1%2" in main
    assert len(controls) == 3
    for text, name in zip(controls, ("scratch", "no_teacher", "uniform"), strict=True):
        assert "--dependency=aftercorr:101\n" in text and f"--job-name=study-{name}\n" in text
        assert (site.folder / "study" / name / "config" / f"0-{name}.yaml").exists()
    assert not (site.folder / "study" / "result.json").exists()


def test_what_needs_no_main_run_waits_for_none(site):
    student = site.teacher.parent / "student.safetensors"
    student.touch()
    words = ["train.prune", "--config", str(ROOT / "configs" / "digits" / "prune.yaml"), "--student.name", str(student)]
    site.write("queue", "101_0 PENDING\n")
    command.main([*SLURM, "--controls", "no_teacher,scratch", *words])
    _, scratch, alone = sent(site)
    assert "--dependency=afterok:101\n" in scratch and "dependency" not in alone


def test_again_with_more_seeds_and_controls_adds_runs_and_changes_none(site, capsys):
    site.write(
        "queue", "".join(f"{job}_{index} PENDING\n" for job in (101, 102) for index in range(2)) + "103_0 PENDING\n"
    )
    command.main([*SLURM, "--seeds", "2", "--controls", "scratch", *COMPRESS])
    before = runs("main"), runs("scratch")
    command.main([*SLURM, "--seeds", "2", "--controls", "scratch", *COMPRESS])
    assert len(sent(site)) == 2 and "nothing to submit" in capsys.readouterr().out
    command.main(["--cluster", "cluster.yaml", "--folder", f"{site.folder}/study", "--seeds", "3", *ALL, *COMPRESS])
    assert (runs("main")[:2], runs("scratch")[:2]) == before and len(runs("scratch")) == 3
    added = [tuple(re.findall("--(?:array|dependency)=(.*)", text)) for text in sent(site)[2:]]
    later = [("0-1%2", "aftercorr:101"), ("0%2", "afterok:103")]
    assert added == [("0%2",), later[1], *later, *later]


def test_the_same_command_writes_the_result_once_all_are_done(site, capsys):
    words = [*SLURM, "--seeds", "2", "--controls", "uniform", *COMPRESS]
    site.write("queue", "101_0 PENDING\n101_1 PENDING\n")
    command.main(words)
    site.write("queue", "")
    finish("main")
    for run in runs("main"):
        run_folders.make(Path("study/main/runs") / run.id / "student", "done", {})
    command.main(words)
    assert not Path("study/result.json").exists()  # the control is not done
    finish("uniform")
    capsys.readouterr()
    command.main(words)
    text = capsys.readouterr().out
    assert text.count("nothing to submit") == 2 and "main minus it, test" in text
    found = json.loads(Path("study/result.json").read_text())
    assert [group["n"] for group in found["groups"]] == [2, 2] and found["differences"][0]["n"] == 2
    status.main(["study"])
    shown = capsys.readouterr().out
    assert all(f"main/{run.id}" in shown for run in runs("main")) and "4 runs: 4 done" in shown


@pytest.mark.parametrize("place", [HERE, SLURM])
def test_a_dry_run_shows_all_folders_and_writes_nothing(site, capsys, place):
    command.main([*place, "--seeds", "2", *ALL, *COMPRESS, "--dry_run"])
    text = capsys.readouterr().out
    for name in ("main", "scratch", "no_teacher", "uniform"):
        assert f"study/{name}: 2 runs: 2 waiting" in text
    assert "each run of uniform starts when the run of its seed in study/main is done" in text
    assert not Path("study").exists() and not sent(site)


def test_a_dry_run_shows_all_folders_before_it_says_what_is_missing(site, capsys):
    with pytest.raises(InputError, match=r"data\.root photos is not there, and 1 run needs it"):
        command.main([*HERE, *ALL, *COMPRESS, "--data.source", "folder", "--data.root", "photos", "--dry_run"])
    assert "study/uniform: 1 run: 1 waiting" in capsys.readouterr().out and not Path("study").exists()


def test_a_folder_of_another_kind_is_refused(site):
    site.write("queue", "101_0 PENDING\n")
    command.main([*SLURM, "--controls", "uniform", *COMPRESS])
    with pytest.raises(InputError, match="study holds runs and their controls; give --controls too, or another --fol"):
        command.main([*SLURM, *COMPRESS])
    command.main(["--cluster", "cluster.yaml", "--folder", "plain", *COMPRESS])
    with pytest.raises(InputError, match="plain holds a sweep without controls; choose another --folder for --contr"):
        command.main(["--cluster", "cluster.yaml", "--folder", "plain", "--controls", "uniform", *COMPRESS])
    assert not Path("plain/main").exists()


def test_another_config_is_refused_before_anything_is_submitted(site):
    site.write("queue", "101_0 PENDING\n")
    command.main([*SLURM, "--controls", "scratch", *COMPRESS])
    with pytest.raises(InputError, match=r"study/main holds another sweep; student\.epochs was 16, is now 17"):
        command.main([*SLURM, "--controls", "scratch", *COMPRESS, "--student.epochs", "17"])
    assert len(sent(site)) == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["train.distill", "--config", "distill.yaml"], "--controls is for train.compress, train.prune, which cut a"),
        ([*COMPRESS, "--cut.prune.ranking", "local"], "uniform: prune.ranking is local, which cuts uniformly already"),
        (["--after", "sweep", *COMPRESS], "--controls is for one config; --after is given, too: leave it out"),
    ],
)
def test_controls_that_make_no_sense_are_refused_before_anything_is_written(site, words, said):
    with pytest.raises(UsageError, match=said):
        command.main([*HERE, "--controls", "uniform", *words])
    assert not Path("study").exists()


class Ended:
    """A process that has ended."""

    def __init__(self, code: int) -> None:
        self.returncode = code

    def poll(self) -> int:
        return self.returncode


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Elements run in forked processes, which have torch already."""
    monkeypatch.chdir(tmp_path)
    codes: list[int] = []

    def begin(element: Path, share: Mapping[str, str], log: Path | None) -> Ended:
        _, module, *words = shlex.split(element.read_text().removeprefix("words=(").rstrip(")\n"))
        ended = forked.run(module, *words, prelude=QUICK)
        codes.append(ended.code)
        return Ended(ended.code)

    monkeypatch.setattr(local, "_start", begin)
    return codes


def test_all_controls_run_and_are_compared(here, capsys):
    words = [*HERE, *ALL, *COMPRESS, *SMALL]
    command.main(words)
    assert here == [0, 0, 0, 0]
    found = json.loads(Path("study/result.json").read_text())
    main, *controls = found["groups"]
    assert [group["name"] for group in found["groups"]] == ["main", "scratch", "no_teacher", "uniform"]
    assert {group["epochs"] for group in found["groups"]} == {3.0}
    assert controls[0]["parameters"] == main["parameters"] <= 900  # the same architecture
    assert [difference["n"] for difference in found["differences"]] == [1, 1, 1]
    for difference, control in zip(found["differences"], controls, strict=True):
        assert difference["test"]["mean"] == pytest.approx(main["test"]["mean"] - control["test"]["mean"])
    home = Path("study/no_teacher") / "runs"
    lines = [json.loads(line) for path in home.glob("*/*/metrics.jsonl") for line in path.read_text().splitlines()]
    assert lines and not any("train/kd" in line for line in lines)
    teachers = {json.loads(path.read_text())["teacher"] for path in Path("study").glob("*/runs/*/student/result.json")}
    assert None in teachers and len(teachers) == 2
    capsys.readouterr()
    command.main(words)
    assert len(here) == 4 and capsys.readouterr().out.count("nothing to submit") == 4


def test_a_main_run_that_fails_is_named_and_its_controls_are_left_out(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(local, "_start", lambda *_: Ended(int(ExitCode.INPUT)))
    with pytest.raises(
        local.NotDoneError, match=r"1 of 1 runs did not come to their end: \w+ \(run 1 of 1\): exit code"
    ):
        command.main([*HERE, *ALL, *COMPRESS])
    assert "1 run left out: in " in capsys.readouterr().out and not Path("study/result.json").exists()
