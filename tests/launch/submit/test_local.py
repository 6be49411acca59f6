"""Elements run here: all of them, whatever becomes of one, several at a time, and an end that is asked for."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from launch.slurm import sbatch
from launch.slurm.sbatch import Element
from launch.submit import command
from launch.sweep_folder import SweepFolder

ROOT = Path(__file__).parents[3]
TASK = """
import os, pathlib, signal, sys, time
print("begins", sys.argv[1], os.environ.get("SHARE", ""), flush=True)
if sys.argv[1] in ("one", "two"):
    pathlib.Path(sys.argv[1]).touch()
    while len({"one", "two"} & set(os.listdir())) < 2:
        time.sleep(0.01)
    sys.exit()
if sys.argv[1] == "wait":
    for name in ("SIGTERM", "SIGINT"):
        signal.signal(getattr(signal, name), lambda *_: sys.exit(print("told to stop", flush=True) or 75))
    print("waits", flush=True)
    time.sleep(100)
sys.exit(int(sys.argv[1]))
"""
KNOWN = """
from launch.commands import COMMANDS, Command
COMMANDS["task"] = Command(config=object)
"""
MAIN = """
import sys
from pathlib import Path
from configs import reader
from launch.submit import local
count, *names = sys.argv[1:]
elements = [(name, Path(f"element-{i:04d}.sh")) for i, name in enumerate(names)]
shares = [{"SHARE": f"share {number}"} for number in range(int(count))]
reader.command(lambda: local.run(elements, shares, Path.cwd()))
"""


def start(folder: Path, *tasks: str, at_a_time: int = 1) -> subprocess.Popen:
    """local.run of processes that each end with a code, wait, or wait until `one` and `two` have begun."""
    (folder / "task.py").write_text(TASK)
    (folder / "sitecustomize.py").write_text(KNOWN)
    for index, task in enumerate(tasks):
        element = Element(words=("launch.run", "task", task))
        (folder / sbatch.element_name(index)).write_text(sbatch.element_text(element))
    env = {**os.environ, "PYTHONPATH": f"{folder}:{ROOT}"}
    names = [f"id{index}" for index in range(len(tasks))]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(
        [sys.executable, "-c", MAIN, str(at_a_time), *names], cwd=folder, env=env, start_new_session=True, **pipes
    )


def test_a_failing_element_does_not_stop_the_others_and_is_named(tmp_path):
    process = start(tmp_path, "0", "66", "75", "0")
    text, _ = process.communicate(timeout=100)
    assert process.returncode == 1
    assert text.count("begins") == 4 and "run 4 of 4: id3" in text
    assert (
        "error: 2 of 4 runs did not come to their end: id1 (run 2 of 4): exit code 66; id2 (run 3 of 4): exit code 75"
        in text
    )


def test_an_element_that_is_not_there_is_named(tmp_path):
    process = start(tmp_path, "0", "0")
    (tmp_path / "element-0000.sh").unlink()
    text, _ = process.communicate(timeout=100)
    assert process.returncode == 1 and "1 of 2 runs did not come to their end: id0 (run 1 of 2): exit code 1" in text


@pytest.mark.parametrize(("how", "name"), [("terminal", "SIGINT"), ("kill", "SIGTERM")])
def test_a_request_to_stop_ends_the_element_and_starts_no_other(tmp_path, how, name):
    process = start(tmp_path, "wait", "0")
    assert process.stdout is not None
    for line in process.stdout:
        if line == "waits\n":
            break
    if how == "terminal":  # Ctrl-C reaches all
        os.killpg(process.pid, signal.SIGINT)
    else:
        process.send_signal(signal.SIGTERM)
    text, _ = process.communicate(timeout=100)
    assert process.returncode == 75 and "begins" not in text and text.count("told to stop") == 1
    assert f"{name} was received in id0 (run 1 of 2); start it again to go on" in text


def test_several_run_at_a_time_each_with_its_share_and_its_log(tmp_path):
    process = start(tmp_path, "one", "two", "0", "66", at_a_time=2)
    text, _ = process.communicate(timeout=100)
    assert process.returncode == 1 and "begins" not in text
    assert "run 1 of 4: id0; " in text and f"\nid3 (run 4 of 4): exit code 66, see {tmp_path}/id3.log\n" in text
    assert "error: 1 of 4 runs did not come to their end: id3 (run 4 of 4): exit code 66, see " in text
    logs = [(tmp_path / f"id{index}.log").read_text() for index in range(4)]
    assert "begins one share 0" in logs[0] and "begins two share 1" in logs[1]
    assert all(log.count("begins") == 1 and "share" in log for log in logs)


@pytest.mark.parametrize(("how", "name"), [("terminal", "SIGINT"), ("kill", "SIGTERM")])
def test_a_request_to_stop_ends_all_that_run_at_a_time(tmp_path, how, name):
    process = start(tmp_path, "wait", "wait", "0", at_a_time=2)
    logs = [tmp_path / "id0.log", tmp_path / "id1.log"]
    end = time.monotonic() + 100
    while not all(log.exists() and "waits" in log.read_text() for log in logs):
        assert time.monotonic() < end
        time.sleep(0.05)
    if how == "terminal":
        os.killpg(process.pid, signal.SIGINT)
    else:
        process.send_signal(signal.SIGTERM)
    text, _ = process.communicate(timeout=100)
    assert process.returncode == 75 and not (tmp_path / "id2.log").exists()
    assert [log.read_text().count("told to stop") for log in logs] == [1, 1]
    assert f"{name} was received in id0 (run 1 of 3), id1 (run 2 of 3); start it again to go on" in text


def test_an_error_leaves_no_run_behind(tmp_path):
    (tmp_path / "id1.log").mkdir()
    process = start(tmp_path, "wait", "0", at_a_time=2)
    text, _ = process.communicate(timeout=100)
    assert process.returncode not in (0, 75) and "id1.log" in text
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


SWEEP = """\
program: train.teacher
command:
  ["${program}", --config, configs/digits/teacher.yaml, --epochs, "1", --model.depth, "8", --model.widths, "[2, 4, 4]",
  --data.validation_fraction, "0.8", --test, "false", "${args}"]
method: grid
parameters: {seed: {values: [0]}}
"""


def test_a_sweep_is_run_here_and_ends_with_its_table(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(ROOT)
    (tmp_path / "sweep.yaml").write_text(SWEEP)
    folder = SweepFolder(tmp_path / "sweep")
    words = ["--bash", "--folder", str(folder.path), "--sweep", str(tmp_path / "sweep.yaml")]
    command.main(words)
    text = capfd.readouterr().out
    (run,) = folder.load().runs
    assert "1 run: 1 waiting" in text and f" {run.id} " in text and "validation %" in text
    assert (folder.run_dir(run.id) / "model.safetensors").exists()
    command.main(words)
    assert "1 run: 1 done\n  nothing to submit" in capfd.readouterr().out
