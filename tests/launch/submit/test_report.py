"""What is printed of a submission; other tests read more of it."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from launch.slurm.cluster import Cluster
from launch.submit import report
from launch.submit.chain import Part
from launch.submit.request import Request, parse
from launch.submit.selection import select
from launch.sweep_folder import Run, Submission, SweepFolder
from train.run_folder.version import Version

SUBMISSION = Submission(command="train.distill", words=(), directory="/here")
PART = Part(runs={0: Run(id="a", overrides={}), 1: Run(id="b", overrides={})}, aftercorr="12")


def request(folder: Path, **changes: object) -> Request:
    facts = {"sweep": None, "cluster": None, "parent": None, "notes": (), "retry": False, "dry_run": False, **changes}
    return Request(folder=SweepFolder(folder), submission=SUBMISSION, **facts)


def test_a_batch_script_says_where_and_after_what(tmp_path):
    text = report.batch_text(request(tmp_path / "my@sweep"), Cluster(time="01:00:00"), SUBMISSION, PART, tmp_path / "j")
    assert "--job-name=my-sweep\n" in text and "--array=0-1\n" in text and "--dependency=aftercorr:12" in text
    assert "cd /here\n" in text and f"{tmp_path}/j" in text


@pytest.mark.parametrize(
    ("command", "controls", "home"),
    [
        ("train.distill", (), "study/main"),
        ("train.prune", ("scratch",), "study"),
        ("train.cache", (), None),
    ],
)
def test_elements_of_what_has_an_accuracy_conclude_the_folder_that_was_named(tmp_path, command, controls, home):
    made = replace(SUBMISSION, command=command)
    asked = request(tmp_path / "study" / "main", controls=controls)
    text = report.batch_text(asked, Cluster(time="01:00:00"), made, PART, tmp_path / "j")
    found = re.findall(r"python -m launch.submit.conclude (.*) \|\|", text)
    assert found == ([f"{tmp_path}/{home}"] if home else [])


def test_states_are_counted_with_the_notes(site, capsys):
    request = parse(["--bash", "--folder", "sweep", "--sweep", "sweep.yaml"])
    site.end(request.submission.runs[0].id, "failed", exit_code=65)
    site.sweep.save(request.submission)
    report.states(request, select(request))
    text = capsys.readouterr().out
    assert "sweep: 4 runs: 1 failed, 3 waiting\n" in text and "what failed is submitted again with --retry" in text


def test_all_points_are_shown(site, capsys):
    request = parse(["--bash", "--folder", "one", "--seeds", "3", "train.distill", "--config", "distill.yaml"])
    report.everything(request, select(request))
    text = capsys.readouterr().out
    assert all(run.id in text for run in request.submission.runs) and len(request.submission.runs) == 3
    assert not Path("one").exists()


@pytest.mark.parametrize(("commit", "said"), [(None, "is in no git checkout"), ("abc", "")])
def test_the_version_is_told_where_it_is_unknown(tmp_path, capsys, commit, said):
    report.version_of(SweepFolder(tmp_path), Version(commit=commit))
    assert said in capsys.readouterr().out


def test_runs_are_counted():
    assert (report.runs(1), report.runs(2100)) == ("1 run", "2,100 runs")
