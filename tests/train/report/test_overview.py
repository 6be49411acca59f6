"""What a page says first."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from report_runs import chain, distilled, write
from train.report import overview
from train.report.facts import Record
from train.report.folder import RunFolder
from train.report.networks import subject


def test_the_verdict_is_small_good_and_fast(tmp_path: Path) -> None:
    found = subject(RunFolder(chain(tmp_path / "c")))
    assert str(overview.verdict(found)) == (
        "2,599 of 2,600 parameters; 96.00 % (92.88 to 98.77 %) on test; teacher 99.00 %; "
        "2.4 times as fast as the teacher (ONNX Runtime, batch 1)."
    )
    names = [(name, str(figure), str(against)) for name, figure, against in overview.tiles(found)]
    assert names[0] == ("accuracy on test", "96.00 %", "teacher 99.00 %") and len(names) == 5


def test_a_verdict_says_what_there_is(tmp_path: Path) -> None:
    assert str(overview.verdict(subject(RunFolder(tmp_path)))) == "No score yet."
    run = distilled(tmp_path / "d", 280, "--teacher", "gone.safetensors")
    assert str(overview.verdict(subject(RunFolder(run)))) == "5,141 parameters; 93.33 % (90.21 to 98.77 %) on test."


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ({"state": "failed", "exit_code": 65, "reason": "the loss is <NaN>"}, "failed: the loss is <NaN>. "),
        (
            {"state": "preempted", "exit_code": 75, "epoch": 1, "epochs": 2},
            "and the same command goes on. 1 of 2 epochs are done. ",
        ),
        ("{", "is in an unknown state"),
    ],
)
def test_a_run_that_is_not_finished_says_so_first(tmp_path: Path, status, said: str) -> None:
    run = distilled(tmp_path / "d", 280)
    assert overview.notices(RunFolder(run)) == []
    (run / "done").unlink()
    write(run / "status.json", status)
    (first,) = overview.notices(RunFolder(run))
    assert said in str(first) and str(first).endswith("What follows is what there is so far.")


def test_an_accuracy_so_far_is_no_score_and_is_said(tmp_path: Path) -> None:
    write(
        tmp_path / "status.json", {"state": "preempted", "validation_accuracy": 0.75, "reason": "SIGTERM. Start again."}
    )
    run = RunFolder(tmp_path)
    assert str(overview.verdict(subject(run))) == "75.00 % on validation so far."
    assert str(overview.notices(run)[0]).startswith(
        f"{tmp_path} was stopped before its end, and the same command goes on: SIGTERM. Start again. What"
    )


def test_a_stage_that_failed_and_a_result_that_is_gone_are_said(tmp_path: Path) -> None:
    run = chain(tmp_path / "c")
    (run / "cut" / "done").unlink(missing_ok=True)
    write(run / "cut" / "status.json", {"state": "failed", "reason": "disk full"})
    (run / "result.json").unlink()
    stage, lost = map(str, overview.notices(RunFolder(run)))
    assert stage.endswith("cut failed: disk full.") and "result.json is missing" in lost


def test_what_was_not_checked_follows_what_was(tmp_path: Path) -> None:
    run = chain(tmp_path / "c")
    alone = [str(one) for one in overview.unchecked(subject(RunFolder(run)), seeds=1, controls=[])]
    assert [one.split(":")[0].split(" is ")[0] for one in alone] == [
        "Epochs were chosen by validation accuracy", "The accuracy", "One seed", "No control",
        "Speed was measured on the machine that ran the export, on its CPU or GPU; another one differs.",
    ]  # fmt: skip
    more = [str(one) for one in overview.unchecked(subject(RunFolder(run)), seeds=3, controls=["x"])]
    assert not [one for one in more if one.startswith(("One seed", "No control", "This is the best of several"))]
    best = [str(one) for one in overview.unchecked(subject(RunFolder(run)), seeds=3, controls=["x"], chosen_of=8)]
    assert [one for one in best if one.startswith("This is the best of several runs by validation")]
    known = json.loads((run / "result.json").read_text())
    write(run / "result.json", known | {"accuracy_split": "validation"})
    assert str(overview.unchecked(subject(RunFolder(run)), seeds=3, controls=["x"])[0]).startswith(
        "No test split was read"
    )


@pytest.mark.parametrize(
    ("reads", "said"),
    [
        ((1, True, 1), "The test split was read once, at the end. Readings for other runs"),
        ((3, True, 1), "The test split was read 3 times, always for the same weights: as good as once."),
        (
            (3, True, 2),
            "The test split was read 3 times, for 2 different networks: settings may have been chosen by an",
        ),
        ((2, False, None), "The test split was read at least 2 times: settings may have been chosen by an earlier"),
        ((1, False, None), "The test split was read at least once, at the end."),
        ((None, False, None), "How often the test split was read is not recorded: the run is of an earlier version."),
        ((0, True, 0), None),
    ],
)
def test_it_is_said_how_often_test_was_read(tmp_path: Path, reads, said: str | None) -> None:
    run = distilled(tmp_path / "d", 280)
    told = _told(run, reads)
    assert [text for text in told if "test split was read" in text] == [
        text for text in told if text.startswith(said or "!")
    ]
    assert len([text for text in told if said and text.startswith(said)]) == (said is not None)


def test_a_run_that_reads_no_test_may_have_been_evaluated_on_it(tmp_path: Path) -> None:
    run = distilled(tmp_path / "d", 280, "--test", "false")
    write(run / "result.json", json.loads((run / "result.json").read_text()) | {"accuracy_split": "validation"})
    assert _told(run, (0, True, 0))[0].startswith("No test split was read (the config says test: false)")
    first, second, *_ = _told(run, (1, True, 1))
    assert first.startswith("The run itself read no test split (") and second.startswith(
        "The test split was read once. "
    )


def _told(run: Path, reads: tuple[int | None, bool, int | None]) -> list[str]:
    computed = Record(
        run / "report.json", {"test_reads": dict(zip(("number", "complete", "networks"), reads, strict=True))}
    )
    return [str(one) for one in overview.unchecked(subject(RunFolder(run)), seeds=3, controls=["x"], computed=computed)]


def test_the_command_can_be_pasted(tmp_path: Path) -> None:
    assert overview.again(RunFolder(chain(tmp_path / "c"))) == "python -m train.compress --run_dir 'a b'"
    assert overview.again(RunFolder(tmp_path / "gone")) == ""
