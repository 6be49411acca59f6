"""A process that is asked to stop notes it, and dies of it only where it did not say that it listens."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from configs import stopping
from launch.console import STOPPABLE

LISTENING = """
import os, signal, sys, time
from configs import stopping
if "install" in sys.argv:
    stopping.install()
for name in sys.argv[1].split(","):
    os.kill(os.getpid(), getattr(signal, name))
print(stopping.requested())
"""
WORKER = """
import os, subprocess, sys, time
worker = subprocess.Popen([sys.executable, "-c", '''
import sys, time
from configs import stopping
if "install" in sys.argv:
    stopping.install()
print("ready", flush=True)
until = time.monotonic() + (10 if "install" in sys.argv else 0.5)
while not stopping.requested() and time.monotonic() < until:
    time.sleep(0.02)
print(stopping.requested(), flush=True)
''', *sys.argv[1:]], env=os.environ | {"TORCHELASTIC_RUN_ID": "x"})
time.sleep(60)
"""


def listen(*words: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", LISTENING, *words], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("names", ["SIGTERM", "SIGUSR1", "SIGUSR2", "SIGTERM,SIGTERM", "SIGUSR1,SIGTERM", "SIGINT"])
def test_signals_are_noted_the_first_one_as_the_reason(names: str) -> None:
    done = listen(names, "install")
    assert done.returncode == 0 and done.stdout.strip() == f"{names.partition(',')[0]} was received"


def test_the_second_ctrl_c_leaves_at_once() -> None:
    once = listen("SIGINT", "install")
    assert once.stderr == "\nCtrl-C: saving and leaving; once more to leave at once\n"
    twice = listen("SIGINT,SIGINT", "install")
    assert twice.returncode == -signal.SIGINT and not twice.stdout and "KeyboardInterrupt" in twice.stderr


def test_a_shells_background_job_goes_on_ignoring_ctrl_c() -> None:
    ignoring = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n" + LISTENING
    words = [sys.executable, "-c", ignoring, "SIGINT", "install"]
    assert subprocess.run(words, capture_output=True, text=True, check=True).stdout == "None\n"


def test_without_it_a_signal_ends_the_process() -> None:
    assert listen("SIGTERM").returncode == -signal.SIGTERM


def test_a_time_limit_is_a_reason_once_it_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    stopping.limit(2)
    assert stopping.requested() is None
    now[0] = 221.0
    assert stopping.requested() == "max_minutes is over"
    stopping.limit(None)
    assert stopping.requested() is None


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process of its parent's death")
@pytest.mark.parametrize("install", [True, False])
def test_a_worker_hears_of_its_launchers_death(install: bool) -> None:
    words = [sys.executable, "-c", WORKER, *["install"] * install]
    launcher = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert launcher.stdout is not None and launcher.stdout.readline() == "ready\n"
    os.kill(launcher.pid, signal.SIGKILL)
    said = launcher.stdout.readline()
    launcher.wait()
    if install:
        assert said == "SIGTERM was received\n"
    else:
        assert said in ("None\n", "")  # the control: it went on until its own end


TAKES_THE_PLACE = """
import os, signal, sys
from configs import stopping
if "hold" in sys.argv:
    stopping.hold()
os.kill(os.getpid(), signal.SIGTERM)
os.execv(sys.executable, [sys.executable, "-c", '''
from configs import stopping
stopping.install()
print(stopping.requested())
'''])
"""


def test_a_signal_that_is_held_back_reaches_the_program_that_takes_the_place() -> None:
    words = [sys.executable, "-c", TAKES_THE_PLACE]
    held = subprocess.run([*words, "hold"], capture_output=True, text=True, check=False)
    assert (held.returncode, held.stdout.strip()) == (0, "SIGTERM was received")
    assert subprocess.run(words, capture_output=True, check=False).returncode == -signal.SIGTERM  # the control


def test_a_request_is_heeded_and_without_one_work_goes_on(monkeypatch) -> None:
    monkeypatch.setattr(stopping, "_asked", [])
    stopping.heed()
    stopping._asked.append("SIGTERM was received")
    with pytest.raises(stopping.StoppedError, match=r"^stopped: SIGTERM was received\. The same command goes on"):
        stopping.heed()


# A signal arrives when a command imports its second module of ours.
EARLY = """
import os, runpy, signal, sys
class Struck:
    def find_spec(self, name, path=None, target=None):
        if name == "configs.reader":
            os.kill(os.getpid(), signal.SIGTERM)
sys.meta_path.insert(0, Struck())
module = sys.argv[1]
if sys.argv[2] == "heartcut":
    sys.argv = ["heartcut", module, "--help"]
    from launch import console
    console.main()
sys.argv = [module, "--help"]
runpy.run_module(module, run_name="__main__")
"""


@pytest.mark.parametrize("by", ["python", "heartcut"])
@pytest.mark.parametrize("module", [*STOPPABLE, "models.cost"])
def test_commands_listen_before_they_import_anything_else(module: str, by: str) -> None:
    ended = subprocess.run([sys.executable, "-c", EARLY, module, by], capture_output=True, text=True, check=False)
    assert ended.returncode == (0 if module in STOPPABLE else -signal.SIGTERM), ended.stderr
