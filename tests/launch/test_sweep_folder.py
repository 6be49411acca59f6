"""What a sweep folder says, also when it is damaged."""

import json
import platform
from pathlib import Path

import pytest

from configs import locks
from configs.errors import InputError
from configs.locks import LockedError
from launch.points.sweep_file import Metric
from launch.sweep_folder import Run, Sent, Submission, SweepFolder, locked, write_sent
from train.run_folder.status import process, write

RUNS = (Run(id="a", overrides={"optim.lr": "1"}), Run(id="b", overrides={}, parent="x", inherited={"seed": "0"}))
HELD = Submission(
    command="train.distill",
    words=("--config", "x"),
    directory="/d",
    after="before",
    metric=Metric("accuracy", "maximize"),
    runs=RUNS,
)


@pytest.fixture
def folder(tmp_path):
    made = SweepFolder(tmp_path / "sweep")
    made.save(HELD)
    return made


def send(folder: SweepFolder, job: str | None, *ids: str) -> None:
    elements = dict(enumerate(ids))
    write_sent(folder.new_job_folder(), Sent(job=job, elements=elements, commit=None, submitted="now"))


def test_what_was_written_is_read(folder):
    assert folder.load() == HELD
    for job in ("7", None):
        send(folder, job, "a", "b")
    assert [(sent.job, sent.elements) for sent in folder.sent()] == [("7", {0: "a", 1: "b"}), (None, {0: "a", 1: "b"})]
    folder.new_job_folder()  # and sbatch refused
    assert len(folder.sent()) == 2 and folder.new_job_folder().name == "0004"


def status(folder: SweepFolder, text: str) -> None:
    path = folder.run_dir("a") / "status.json"
    path.parent.mkdir(parents=True)
    path.write_text(text)


@pytest.mark.parametrize(
    ("text", "queue", "state"),
    [
        (None, {}, "waiting"),
        ("", {}, "unknown"),
        ("{", {}, "unknown"),
        ("[]", {}, "unknown"),
        ('{"state": "running"}', {}, "lost"),
        ('{"state": "running"}', {"7_0": "RUNNING"}, "running"),
        ('{"state": "running"}', {"7_1": "RUNNING"}, "lost"),
        ('{"state": "running"}', {"7_0": "TIMEOUT"}, "lost"),
        ('{"state": "preempted"}', {"7_0": "PENDING"}, "queued"),
        ('{"state": "preempted"}', {"7_0": "COMPLETING"}, "running"),
        ('{"state": "failed", "exit_code": 1}', {}, "failed"),
        ('{"state": "failed", "exit_code": 1}', {"8_0": "PENDING"}, "queued"),
        ('{"state": "failed", "exit_code": 130}', {}, "preempted"),
        ('{"state": "done"}', {"7_0": "COMPLETING"}, "done"),
    ],
)
def test_a_state_is_that_of_the_queue_and_then_that_of_the_folder(folder, text, queue, state):
    send(folder, "7", "a")
    send(folder, "8", "a")
    if text is not None:
        status(folder, text)
    assert folder.states(HELD, queue) == {"a": state, "b": "waiting"}


def test_without_slurm_a_run_is_lost_if_its_process_is_gone(folder):
    send(folder, None, "a")
    status(folder, json.dumps({"state": "running", "host": platform.node(), "pid": 2**30}))
    assert folder.states(HELD, {})["a"] == "lost"
    write(folder.run_dir("a"), "running", process())
    with locks.alone(folder.run_dir("a"), str):
        assert folder.states(HELD, {})["a"] == "running"
        send(folder, "7", "a")
        assert folder.states(HELD, {})["a"] == "running"  # by hand, in another job
    assert folder.states(HELD, {})["a"] == "lost"


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"runs": [{}]}', json.dumps({"runs": 3})])
def test_a_damaged_file_is_named(folder, text):
    folder.file.write_text(text)
    with pytest.raises(InputError, match=r"sweep/sweep\.json is damaged"):
        folder.load()
    send(folder, "7", "a")
    (folder.path / "jobs" / "0001" / "job.json").write_text(text)
    with pytest.raises(InputError, match=r"0001/job\.json is damaged"):
        folder.sent()


def test_a_folder_without_a_sweep_says_so(tmp_path):
    with pytest.raises(InputError, match=r"is no folder of launch.submit: it has no sweep\.json"):
        SweepFolder(tmp_path).load()


def test_a_lock_is_for_one_and_let_go(tmp_path):
    with locked(tmp_path), pytest.raises(LockedError), locked(Path(tmp_path)):
        pass
    with locked(tmp_path):
        pass


def test_main_runs_and_controls_are_called_by_both_folders():
    assert SweepFolder(Path("runs/x/main")).label == "x-main" and SweepFolder(Path("x/uniform")).label == "x-uniform"
    assert SweepFolder(Path("runs/x")).label == "x"
