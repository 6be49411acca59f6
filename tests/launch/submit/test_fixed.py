"""Options that all points of a sweep have, from the command line."""

from __future__ import annotations

import json

import pytest

from configs.errors import UsageError
from launch.submit import fixed
from launch.submit.options import parser
from launch.submit.request import parse, run_config
from submit_stubs import SWEEP

PLACES = ["--folder", "sweep", "--bash", "--sweep", "sweep.yaml"]


def configs(words):
    """What each point of a submission would train with."""
    asked = parse(words)
    return [run_config(asked.folder, asked.submission, run) for run in asked.submission.runs]


@pytest.mark.parametrize(
    "words",
    [
        [*PLACES, "--epochs", "2", "--data.threads=1"],
        [*PLACES, "train.distill", "--epochs", "2", "--data.threads=1"],
        ["--epochs", "2", *PLACES, "--data.threads=1", "--dry_run"],
        [*PLACES, "train.distill", "--epochs", "2", "--data.threads=1", "--dry_run"],
        [*PLACES, "--epochs", "2", "train.distill", "--data.threads=1", "--retry"],
    ],
    ids=["bare", "with the command", "in any place", "before a last option of ours", "on both sides"],
)
def test_every_point_has_them_and_its_own_values(site, words):
    found = configs(words)
    assert {(one["epochs"], one["data.threads"]) for one in found} == {(2, 1)}
    assert {(one["optim.lr"], one["seed"]) for one in found} == {(1, 0), (1, 1), (2, 0), (2, 1)}
    asked = parse(words)
    assert (asked.dry_run, asked.retry) == ("--dry_run" in words, "--retry" in words)
    assert {one["epochs"] for one in configs(PLACES)} != {2}  # the control
    assert [run.id for run in asked.submission.runs] == [run.id for run in parse(PLACES).submission.runs]


def test_a_file_may_be_laid_over_the_sweeps_own(site):
    site.write("more.yaml", "epochs: 3\noptim: {lr: 0.5}\n")
    found = configs([*PLACES, "train.distill", "--config", "more.yaml"])
    assert {one["epochs"] for one in found} == {3} and {one["optim.lr"] for one in found} == {1, 2}


def test_a_value_that_the_file_fixes_may_be_another_one(site):
    site.write("sweep.yaml", SWEEP % "[1, 2]" + "  epochs: {value: 30}\n")
    assert {one["epochs"] for one in configs(PLACES)} == {30}
    assert {one["epochs"] for one in configs([*PLACES, "--epochs", "2"])} == {2}


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--optim.lr", "3"], r"--optim\.lr: sweep\.yaml, line 5 varies optim\.lr; leave the option out"),
        (["--optim", "{lr: 3}"], r"--optim: sweep\.yaml, line 5 varies optim\.lr"),
        (["train.distill", "--seed", "3"], r"--seed: sweep\.yaml, line 6 varies seed"),
        (["--epochs", "2", "--seed", "3"], r"--seed: sweep\.yaml, line 6 varies seed"),
        (["--run_dir", "mine"], r"--run_dir is what launch\.submit sets"),
        (
            ["train.teacher", "--epochs", "2"],
            r"is a sweep of train\.distill, and the command line names train\.teacher",
        ),
        (["train.destill", "--epochs", "2"], r"train\.destill is not an option; beside --sweep there may be train\.di"),
        (["--epoks", "2"], r"unknown option --epoks; did you mean --epochs\?"),
        (["--epochs", "{parent.epochs}"], r"needs --after"),
    ],
)
def test_what_the_sweep_varies_or_does_not_know_is_refused_by_name(site, words, named):
    with pytest.raises(UsageError, match=named):
        parse([*PLACES, *words])


def test_they_are_kept_and_another_submission_with_others_is_refused(site):
    site.submit("--epochs", "2")
    words = json.loads((site.folder / "sweep" / "sweep.json").read_text())["words"]
    assert words[-2:] == ["--epochs", "2"]
    site.submit("--epochs", "2")
    with pytest.raises(ValueError, match="epochs was 2, is now 3"):
        site.submit("--epochs", "3")


def test_a_seed_before_options_of_the_command_is_that_of_the_random_sweep():
    assert fixed.split(parser(), ["--seed", "3", "--epochs", "2", "--seed", "4"]) == (
        ["--seed", "3"],
        ["--epochs", "2", "--seed", "4"],
    )
