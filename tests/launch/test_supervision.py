"""What is between launch.run and a launcher: signals, deaths and exit codes, with launchers of a few lines."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from configs.errors import InputError
from launch.supervision import exit_code, last_word, settled
from train.run_folder import causes

ROOT = Path(__file__).parents[2]
DONE, FAILED = {"state": "done", "exit_code": 0}, {"state": "failed", "exit_code": 65}
STOPPED, RUNNING = {"state": "preempted", "exit_code": 75}, {"state": "running"}
LOCKED = {"state": "failed", "exit_code": 73}

SUPERVISOR = """
import os, signal, sys
from launch import supervision
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup ignores it
from launch.start import Start
start = Start(by=sys.argv[1], words=(sys.executable, "-c", sys.argv[2]))
sys.exit(supervision.supervise(start, {**os.environ, "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": "20"}, None))
"""
# Says each signal that it hears, and ends with 3 a while after SIGTERM, as torchrun does while its processes save.
LAUNCHER = """
import os, signal, sys, time
def hear(number, frame):
    print(signal.Signals(number).name, flush=True)
    if number in (signal.SIGTERM, signal.SIGINT):
        signal.alarm(1)
for name in HEARD:
    signal.signal(getattr(signal, name), hear)
signal.signal(signal.SIGALRM, lambda *_: os._exit(3))
signal.alarm(60)  # nothing was heard
print("ready", os.getpid(), os.getpid() == os.getsid(0), sys.stdin.read() == "", flush=True)
while True:
    time.sleep(0.05)
"""
HEARD = ("SIGTERM", "SIGINT")


class Supervised:
    """A supervisor in a process group of its own, and what its launcher says."""

    def __init__(self, by: str, heard: tuple[str, ...] = HEARD) -> None:
        words = [sys.executable, "-c", SUPERVISOR, by, f"HEARD = {heard}\n{LAUNCHER}"]
        self.process = subprocess.Popen(
            words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        ready, pid, *facts = self.line().split()
        assert ready == "ready" and facts == ["True", "True"]
        self.launcher = int(pid)

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def rest(self) -> tuple[list[str], int]:
        """What is still said until all are gone, and the exit code."""
        said, _ = self.process.communicate(timeout=30)
        return said.split(), self.process.returncode


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1", "SIGUSR2", "SIGHUP"])
def test_a_launcher_is_told_once_however_often_it_is_asked(name):
    one = Supervised("accelerate")
    one.process.send_signal(getattr(signal, name))
    assert one.line() == "SIGTERM"
    os.killpg(one.process.pid, signal.SIGTERM)  # as timeout does
    one.process.send_signal(signal.SIGUSR1)
    assert one.rest() == ([], 75)


def test_srun_is_told_by_the_signal_that_it_passes_on():
    one = Supervised("srun", ("SIGUSR1", "SIGINT"))
    one.process.send_signal(signal.SIGTERM)
    assert one.line() == "SIGUSR1"
    one.process.send_signal(signal.SIGINT)
    assert one.rest() == (["SIGINT"], 130)


def test_of_ctrl_c_the_launcher_hears_each_time_once():
    one = Supervised("accelerate")
    for _ in range(2):
        os.killpg(one.process.pid, signal.SIGINT)
        assert one.line() == "SIGINT"
    assert one.rest() == ([], 130)


def test_a_launcher_does_not_die_of_what_is_meant_for_its_processes():
    one = Supervised("accelerate")
    os.kill(one.launcher, signal.SIGUSR1)  # torchrun has no handler for it
    os.kill(one.launcher, signal.SIGUSR2)
    one.process.send_signal(signal.SIGTERM)
    assert one.rest() == (["SIGTERM"], 75)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process of its parent's death")
@pytest.mark.parametrize(("by", "said"), [("accelerate", "SIGTERM"), ("srun", "SIGUSR1")])
def test_a_launcher_is_told_of_the_supervisors_death(by, said):
    one = Supervised(by, ("SIGTERM", "SIGUSR1"))
    one.process.kill()
    try:
        assert one.line() == said
    finally:
        os.kill(one.launcher, signal.SIGKILL)


@pytest.mark.parametrize(
    ("launcher", "state", "asked_by", "code"),
    [
        (0, {}, None, 0),
        (0, RUNNING, None, 0),
        (1, DONE, None, 0),
        (1, STOPPED, None, 75),
        (1, STOPPED, signal.SIGTERM, 75),
        (-9, STOPPED, None, 75),
        (1, FAILED, None, 65),
        (1, FAILED, signal.SIGTERM, 65),
        (1, {"state": "failed", "exit_code": 130}, signal.SIGINT, 130),
        (1, {}, None, 1),
        (2, RUNNING, None, 2),
        (-9, RUNNING, None, 137),
        (1, RUNNING, signal.SIGTERM, 1),  # it was asked, and did not save
        (-15, {}, signal.SIGTERM, 75),  # asked before there was anything to save
        (1, {}, signal.SIGUSR1, 75),
        (-2, {}, signal.SIGINT, 130),
        (1, {"state": "failed", "exit_code": "65"}, None, 1),
        (1, {"state": "failed", "exit_code": 4000}, None, 1),
    ],
)
def test_the_exit_code_is_the_runs_own(launcher, state, asked_by, code):
    assert exit_code(launcher, state, asked_by=asked_by) == code


def note(folder: Path, **state) -> None:
    (folder / "status.json").write_text(json.dumps(state))


@pytest.mark.parametrize("before", [{}, {"starts": 1}])
def test_a_run_that_is_still_saving_is_waited_for(tmp_path, before):
    note(tmp_path, **RUNNING, starts=2)
    with (tmp_path / "lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)

        def end() -> None:
            note(tmp_path, **STOPPED, starts=2)
            lock.close()

        timer = threading.Timer(0.7, end)
        timer.start()
        assert last_word(tmp_path, before, 60) == STOPPED | {"starts": 2}
        timer.join()


def test_it_is_not_waited_for_without_end(tmp_path):
    note(tmp_path, **RUNNING, starts=1)
    with (tmp_path / "lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert last_word(tmp_path, {}, 0.3)["state"] == "running"


def test_another_runs_status_is_not_ours(tmp_path):
    note(tmp_path, **FAILED, starts=3)
    assert last_word(tmp_path, {"starts": 3}, 60) == {}
    with (tmp_path / "lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert last_word(tmp_path, {"starts": 3}, 1e6) == LOCKED  # and is not waited for


# As a run whose main process is killed leaves it: its status says running.
KILLED = """
import json, sys
from pathlib import Path
Path({folder!r}, "status.json").write_text(json.dumps({{"state": "running", "starts": 2, "epoch": 3}}))
sys.exit(1)
"""


def supervised(folder: Path, launcher: str) -> subprocess.CompletedProcess:
    """A supervisor of a launcher whose run has a folder."""
    code = SUPERVISOR.replace("None)", f"Path({str(folder)!r}))").replace(
        "import os", "from pathlib import Path\nimport os"
    )
    words = [sys.executable, "-c", code, "accelerate", launcher]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)


def test_a_run_that_never_opened_its_folder_is_failed(tmp_path):
    done = supervised(tmp_path / "run", "raise ImportError('no torch')")
    found = json.loads((tmp_path / "run" / "status.json").read_text())
    assert done.returncode == 1 == found["exit_code"] and found["state"] == "failed"
    assert (
        found["reason"] == "it ended before it opened its folder; its log says why" and found["reason"] in done.stderr
    )


@pytest.mark.parametrize("code", [0, 73, 75, 130, 143])
def test_a_run_that_may_start_again_is_not_called_failed(tmp_path, code):
    assert supervised(tmp_path / "run", f"raise SystemExit({code})").returncode == code
    assert not (tmp_path / "run").exists()


def test_a_folder_that_cannot_be_made_keeps_the_exit_code(tmp_path):
    (tmp_path / "file").touch()
    assert supervised(tmp_path / "file" / "run", "raise SystemExit(74)").returncode == 74


def test_a_run_that_was_asked_to_stop_before_it_opened_its_folder_is_not_called_failed(tmp_path):
    stopped = "import os, signal, time; os.kill(os.getppid(), signal.SIGUSR1); time.sleep(60)"
    assert supervised(tmp_path / "run", stopped).returncode == 75 and not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "files",
    [
        {"status.json": json.dumps(STOPPED | {"starts": 1})},  # of a run with another config, which refused this one
        {"status.json": "{"},
        {"done": "", "result.json": "{}"},
        {"config.yaml": "a: 1\n"},  # somebody else's
    ],
    ids=str,
)
def test_what_is_in_the_folder_of_a_run_that_never_opened_it_stays(tmp_path, files):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert supervised(tmp_path, "raise SystemExit(1)").returncode == 1
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == files


@pytest.mark.parametrize(("why", "code"), [("it was killed, or the memory was full", 1), ("process 1: no file", 66)])
def test_a_run_that_could_not_say_how_it_ended_is_failed(tmp_path, why, code):
    """With the exit code of the process that said why, where one did."""
    if why.startswith("process 1"):
        with pytest.raises(InputError), causes.witnessed(tmp_path, 1):
            raise InputError("no file")
    done = supervised(tmp_path, KILLED.format(folder=str(tmp_path)))
    found = json.loads((tmp_path / "status.json").read_text())
    assert done.returncode == code == found["exit_code"] and found["state"] == "failed" and found["epoch"] == 3
    assert found["reason"].endswith(why) and f"{tmp_path}: failed, exit code {code}: " in done.stderr


def test_a_run_in_which_a_process_still_works_is_not_called_failed(tmp_path):
    note(tmp_path, **RUNNING, starts=1)
    with (tmp_path / "lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert settled(tmp_path, dict(RUNNING), 1)["state"] == "running"
    assert settled(tmp_path, dict(RUNNING), 1)["state"] == "failed"


@pytest.mark.parametrize("content", ["", "{", "[1]", "[" * 100_000, '"done"'])
def test_a_damaged_status_says_nothing(tmp_path, content):
    (tmp_path / "status.json").write_text(content)
    assert last_word(tmp_path, {}, 60) == {} and last_word(None, {}, 60) == {}
