"""Which runs are submitted, by what Slurm and the folder say."""

import pytest

from launch.slurm.queue import SlurmError
from submit_stubs import SWEEP


def test_again_submits_what_is_neither_done_nor_queued(site, capsys):
    site.submit()
    one, two, three, four = site.ids
    site.write("queue", "101_0 RUNNING\n101_1 PENDING\n101_2 COMPLETED\n")
    site.end(three, "preempted")
    site.end(four, "done")
    capsys.readouterr()
    assert site.resubmitted() == {three}
    assert "4 runs: 1 done, 1 running, 1 queued, 1 preempted" in capsys.readouterr().out
    assert "--jobs=101" in (site.folder / "asked").read_text()
    site.write("queue", "101_0 RUNNING\n101_1 PENDING\n102_0 PENDING\n")
    assert not site.resubmitted() and "nothing to submit" in capsys.readouterr().out
    site.write("queue", "")
    for run_id in (one, two, three):
        site.end(run_id, "done")
    assert not site.resubmitted()


@pytest.mark.parametrize(
    ("status", "submitted"),
    [
        ({"state": "failed", "exit_code": 65}, False),
        ({"state": "failed", "exit_code": 130}, True),  # Ctrl-C
        ({"state": "running"}, True),  # but in no queue: it was killed
        ({"state": "preempted"}, True),
    ],
)
def test_what_failed_is_submitted_only_when_asked(site, capsys, status, submitted):
    site.submit()
    others, last = site.ids[:-1], site.ids[-1]
    for run_id in others:
        site.end(run_id, "done")
    site.end(last, **status)
    assert (site.resubmitted() == {last}) == submitted
    assert ("what failed is submitted again with --retry" in capsys.readouterr().out) != submitted
    assert site.resubmitted("--retry") == {last}


def test_a_longer_sweep_adds_runs_and_changes_none(site):
    site.submit()
    before = site.sweep.load().runs
    site.write("sweep.yaml", SWEEP % "[3, 1, 2]")
    site.write("queue", "".join(f"101_{index} PENDING\n" for index in range(4)))
    assert len(site.resubmitted()) == 2 and site.sweep.load().runs[:4] == before
    assert (site.folder / "sweep" / "sweep.yaml").read_text() == SWEEP % "[3, 1, 2]"


def test_a_shorter_sweep_leaves_the_others_alone(site, capsys):
    site.submit()
    site.write("sweep.yaml", SWEEP % "[1]")
    assert len(site.resubmitted()) == 2
    assert "2 runs that were submitted before and are not asked for now stay as they are" in capsys.readouterr().out


def test_a_silent_squeue_is_an_error_and_an_unknown_job_is_none(site):
    site.submit()
    site.write("code", "1")
    site.write("complaint", "slurm_load_jobs error: Unable to contact slurm controller")
    with pytest.raises(SlurmError, match=r"squeue does not say what is queued: slurm_load_jobs error: Unable"):
        site.submit()
    site.write("complaint", "slurm_load_jobs error: Invalid job id specified")
    assert len(site.resubmitted()) == 4


def test_an_array_is_never_longer_than_slurm_takes(site, capsys):
    site.write("sweep.yaml", SWEEP % "[1, 2, 3]")
    site.submit()
    assert site.arrays() == ["0-4%2"] and "1 run left out, more than this Slurm takes" in capsys.readouterr().out
    site.write("queue", "".join(f"101_{index} PENDING\n" for index in range(5)))
    site.submit()
    assert site.arrays() == ["0-4%2", "0%2"]
