"""Processes with a time limit."""

import os
import sys
import time
from pathlib import Path

from launch.bench.gpu import child

HANGS = """
import faulthandler, signal, subprocess, sys, time
faulthandler.register(signal.SIGTERM, all_threads=True, chain=True)
other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
open(sys.argv[1], "w").write(str(other.pid))
print("waiting", flush=True)
def waits_for_the_device():
    time.sleep(600)
waits_for_the_device()
"""


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and is not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_the_exit_code_and_the_last_line_are_kept(tmp_path):
    log = tmp_path / "log"
    program = "import sys; print('one'); print('two\\x1b[2J', file=sys.stderr); print(); sys.exit(3)"
    ended = child.run([sys.executable, "-c", program], {**os.environ, "PYTHONUNBUFFERED": "1"}, log, 60)
    assert (ended.code, ended.said) == (3, "two\\x1b[2J") and ended.seconds > 0
    assert log.read_bytes().startswith(b"one\n")
    assert child.run([sys.executable, "-c", ""], os.environ, log, 60).said == ""


def test_what_hangs_is_ended_with_its_children_and_says_where_it_was(tmp_path):
    log, pid = tmp_path / "log", tmp_path / "pid"
    ended = child.run([sys.executable, "-c", HANGS, str(pid)], os.environ, log, 1.0)
    assert ended.code is None and ended.seconds < 60
    assert "in waits_for_the_device" in log.read_text()
    until = time.monotonic() + 30
    while alive(int(pid.read_text())) and time.monotonic() < until:
        time.sleep(0.01)
    assert not alive(int(pid.read_text()))


def test_gpus_are_hidden_from_a_trial_on_the_cpu_alone(tmp_path):
    inherited = {"PYTHONPATH": "site", "CUDA_VISIBLE_DEVICES": "1", "HEARTCUT_CACHE": "home"}
    cpu, cuda = (child.environment(device, tmp_path, inherited) for device in ("cpu", "cuda"))
    assert cpu["CUDA_VISIBLE_DEVICES"] == "" and cuda["CUDA_VISIBLE_DEVICES"] == "1"
    assert cpu["PYTHONPATH"] == f"{child.ROOT}{os.pathsep}{Path.cwd() / 'site'}" and cpu["HEARTCUT_CACHE"] == str(
        tmp_path / "cache"
    )
    assert child.environment("cuda", tmp_path, {})["PYTHONPATH"] == str(child.ROOT)
    assert (child.ROOT / "launch" / "bench").is_dir()
