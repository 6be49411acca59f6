"""What is submitted, on the Slurm that answers here; tests/slurm/up.sh brings one up.

python -m pytest -m slurm tests/launch/slurm/test_queue.py --basetemp DIR        (that all nodes see)
"""

import json
import os
import platform
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
import torch

import tiny_digits
from launch.submit import command
from launch.sweep_folder import SweepFolder
from train.run_folder.status import read as read_status

ROOT = Path(__file__).parents[3]
CLUSTER = """\
time: 00:05:00
signal_seconds: 60
throttle: 2
environment: {OMP_NUM_THREADS: "1"}
"""
PATIENCE = 400  # seconds
LONG = 75
"""Seconds that a run has to take so that its time limit ends it: Slurm speaks up after 30 to 60."""


def ask(*words: str) -> str:
    return subprocess.run(words, capture_output=True, text=True, check=True, timeout=60).stdout


def answers() -> bool:
    if not all(map(shutil.which, ("scontrol", "sbatch"))):
        return False
    try:
        return "UP" in ask("scontrol", "ping")
    except subprocess.SubprocessError:
        return False


@pytest.fixture(scope="module", autouse=True)
def slurm():
    if not answers():
        pytest.skip("no Slurm answers here (tests/slurm/up.sh)")


pytestmark = pytest.mark.slurm


class Lab:
    """A folder with a teacher and a description of the cluster, and the jobs that were submitted from it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        (home / "cluster.yaml").write_text(CLUSTER)
        tiny_digits.save(home / "teacher.safetensors")
        words = [str(word) for word in tiny_digits.words(home, "none", "--distill.alpha", "0.5")]
        given = words.index("--run_dir")
        self.words = words[:given] + words[given + 2 :]  # launch.submit sets it

    def submit(self, name: str, *words: str, epochs: int = 4, **points: object) -> SweepFolder:
        """Submit distillations: for each value of the points one, or a single one."""
        folder = SweepFolder(self.home / name)
        here = ["--cluster", str(self.home / "cluster.yaml"), "--folder", str(folder.path)]
        base = [*self.words, "--epochs", str(epochs)]
        if not points:
            command.main([*here, *words, "train.distill", *base])
            return folder
        text = {"program": "train.distill", "command": ["${program}", *base, "${args}"], "method": "grid"}
        text |= {"parameters": {key.replace("__", "."): {"values": values} for key, values in points.items()}}
        (self.home / f"{name}.yaml").write_text(json.dumps(text))
        command.main([*here, *words, "--sweep", str(self.home / f"{name}.yaml")])
        return folder


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    here = Path.cwd()
    os.chdir(ROOT)
    made = Lab(tmp_path_factory.mktemp("lab"))
    yield made
    os.chdir(here)
    jobs = [str(sent.job) for path in made.home.iterdir() for sent in SweepFolder(path).sent()]
    subprocess.run(["scancel", *jobs], check=False, timeout=60)


def job(folder: SweepFolder) -> str:
    return str(folder.sent()[-1].job)


def run_dirs(folder: SweepFolder) -> list[Path]:
    return [folder.run_dir(run.id) for run in folder.load().runs]


def queued(folder: SweepFolder) -> str:
    jobs = ",".join(str(sent.job) for sent in folder.sent())
    return ask("squeue", "--noheader", "--array", f"--jobs={jobs}", "--format=%i %T %r")


def wait(condition: Callable[[], object], what: str) -> None:
    until = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < until, what
        time.sleep(0.5)


def finish(*folders: SweepFolder) -> None:
    """Until nothing of them is queued."""
    for folder in folders:
        wait(lambda folder=folder: not queued(folder), f"{folder.path} does not come to its end: {queued(folder)}")


def logs(folder: SweepFolder) -> str:
    return "\n".join(path.read_text() for path in sorted((folder.path / "logs").iterdir()))


def states(folder: SweepFolder) -> list[str]:
    return [read_status(path).get("state", "none") for path in run_dirs(folder)]


@pytest.fixture(scope="module")
def four(lab):
    """Four runs, two at a time."""
    folder = lab.submit("four", seed=[0, 1], distill__temperature=[1, 4])
    finish(folder)
    assert states(folder) == ["done"] * 4, logs(folder)
    assert len({tiny_digits.sha(path) for path in run_dirs(folder)}) == 4  # weights tell runs apart
    return folder


@pytest.fixture(scope="module")
def epochs(four):
    """As many as take LONG, at the pace of two runs at a time."""
    results = [json.loads((path / "result.json").read_text()) for path in run_dirs(four)]
    return int(LONG / min(result["seconds"] / result["epochs"] for result in results)) + 1


def test_the_run_that_ends_last_writes_the_result_of_all(four):
    found = json.loads((four.path / "result.json").read_text())
    assert sorted(group["n"] for group in found["groups"]) == [2, 2] and "result.json has the figures" in logs(four)


def test_never_more_run_at_once_than_throttle_says(four):
    events = []
    for line in ask("scontrol", "--oneliner", "show", "job", job(four)).splitlines():
        times = re.search(r"StartTime=(\S+) EndTime=(\S+)", line)
        start, end = (datetime.fromisoformat(text) for text in times.groups())
        events += [(start, 1), (end, -1)]
    running = [sum(change for _, change in sorted(events)[: n + 1]) for n in range(len(events))]
    assert len(events) == 8 and max(running) == 2 and running[-1] == 0


def uninterrupted(lab: Lab, epochs: int) -> str:
    """The weights of the same run in this process."""
    torch.set_num_threads(1)
    home = lab.home / f"uninterrupted-{epochs}"
    if not home.exists():
        tiny_digits.train(lab.home, home.name, "--distill.alpha", "0.5", "--epochs", str(epochs))
    return tiny_digits.sha(home)


def resumed(folder: SweepFolder) -> int:
    """How often its only run was started; it is done."""
    finish(folder)
    assert states(folder) == ["done"], logs(folder)
    return int(read_status(run_dirs(folder)[0])["starts"])


def test_a_time_limit_interrupts_and_changes_nothing(lab, epochs):
    folder = lab.submit("limited", "--cluster.time", "00:02:00", "--cluster.requeues", "20", epochs=epochs)
    wait(lambda: read_status(run_dirs(folder)[0]).get("state") in ("preempted", "done"), "no signal came")
    longer = ["scontrol", "update", f"JobId={job(folder)}", "TimeLimit=10"]
    subprocess.run(longer, capture_output=True, check=False, timeout=60)  # an operator may, and saves the test a while
    expected = uninterrupted(lab, epochs)
    assert resumed(folder) > 1, f"{epochs} epochs end before the time limit"
    assert "SIGTERM was received" in logs(folder) and "start 2" in logs(folder)
    assert tiny_digits.sha(run_dirs(folder)[0]) == expected


def test_preemption_interrupts_and_changes_nothing(lab, epochs):
    if "urgent" not in ask("sinfo", "--noheader", "--format=%R").split():
        pytest.skip("this Slurm has no partition `urgent` that preempts the default one")
    folder = lab.submit("preempted", epochs=epochs // 3)
    run = run_dirs(folder)[0]
    wait(lambda: read_status(run).get("epoch"), "it does not begin")
    node = ask("squeue", "--noheader", f"--jobs={job(folder)}", "--format=%N").strip()
    ask("sbatch", "--partition=urgent", f"--nodelist={node}", "--exclusive", "--output=/dev/null", "--wrap=sleep 1")
    expected = uninterrupted(lab, epochs // 3)
    assert resumed(folder) == 2 and "SIGTERM was received" in logs(folder)
    assert tiny_digits.sha(run) == expected


def test_a_cancelled_job_leaves_no_process(lab, epochs):
    folder = lab.submit("cancelled", "--cluster.processes_per_node", "2", epochs=epochs)
    run = run_dirs(folder)[0]
    wait(lambda: read_status(run).get("epoch"), "it does not begin")
    if read_status(run)["host"] != platform.node():
        pytest.skip("the nodes of this Slurm are other machines, whose processes cannot be seen")

    def processes() -> list[str]:
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                found += [path.parent.name] if run.name.encode() in path.read_bytes() else []
            except OSError:  # it has just ended
                continue
        return found

    assert len(processes()) >= 4  # srun, launcher, two of training
    ask("scancel", job(folder))
    wait(lambda: not processes(), f"still there: {processes()}")
    finish(folder)


def test_what_depends_on_a_failed_run_does_not_wait_for_ever(lab, capsys):
    damaged, good = lab.home / "damaged.safetensors", str(lab.home / "teacher.safetensors")
    damaged.write_text("no weights")
    first = lab.submit("first", teacher=[str(damaged), good])
    then = lab.submit("then", "--after", str(first.path), teacher=["{parent}/model.safetensors"])
    finish(first, then)
    assert states(first) == ["failed", "done"] and states(then) == ["none", "done"], logs(then)
    lab.submit("then", "--after", str(first.path), teacher=["{parent}/model.safetensors"])
    assert "1 run left out: in " in capsys.readouterr().out


def test_two_nodes_train_one_model(lab):
    nodes = ask("sinfo", "--noheader", "--Node", "--states=idle,mixed,allocated", "--format=%N %P").splitlines()
    if sum(line.endswith("*") for line in nodes) < 2:
        pytest.skip("the default partition of this Slurm has fewer than two nodes")
    words = ["--cluster.nodes", "2", "--cluster.processes_per_node", "2"]
    folder = lab.submit("two-nodes", *words)
    assert resumed(folder) == 1
    assert json.loads((run_dirs(folder)[0] / "result.json").read_text())["processes"] == 4
