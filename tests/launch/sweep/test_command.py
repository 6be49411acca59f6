"""Creating sweeps and starting agents: everything up to the server, which test_agent has."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from configs.errors import UsageError
from launch import agent
from launch.slurm.queue import SlurmError
from launch.sweep import command

ROOT = Path(__file__).parents[3]


def test_a_check_needs_no_key(site, capsys):
    assert command.main(["w.yaml", "--check"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("w.yaml: any number of trials of train.distill, random, maximize validation_accuracy\n")
    assert "5 combinations of seed make a config" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--agents", "-1"], "--agents is -1; it must be at least 0"),
        (["--count", "3"], "--count is the number of agents in a job array: give --cluster too"),
        (["--cluster", "cluster.yaml", "--count", "0"], "--count is 0; it must be at least 1"),
        (["--cluster", "cluster.yaml", "--agents", "1"], "with --cluster, --count says how many the array has"),
        (["--cluster", "cluster.yaml"], "w.yaml: how many trials, neither --count nor run_cap says"),
        (["--cluster", "two.yaml", "--count", "1"], "nodes is 2; an agent starts its trial on one node"),
        (["--cluster", "few.yaml", "--count", "1"], "few.yaml: processes_per_node is 2; a trial has one process for"),
        (["--cluster", "cpu.yaml", "--count", "1"], "cpu.yaml: processes_per_node is 2; a trial has one process for"),
        (["--cluster", "cluster.yaml", "--count", "6"], "--count is 6; it must be at most 5, which this Slurm takes"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_created(site, words, message):
    site.write("two.yaml", "time: 01:00:00\nnodes: 2\n")
    site.write("few.yaml", "time: 01:00:00\ngpus: 4\nprocesses_per_node: 2\n")
    site.write("cpu.yaml", "time: 01:00:00\nprocesses_per_node: 2\n")
    with pytest.raises(UsageError, match=message):
        command.main(["w.yaml", *words])


@pytest.fixture
def created(monkeypatch):
    """Sweeps that were created on the server."""
    made = []
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setattr("launch.sweep.server.create", lambda config: made.append(config) or "me/p/s9")
    return made


ON_CLUSTER = ["w.yaml", "--cluster", "cluster.yaml", "--count", "3"]


def test_without_slurm_no_sweep_is_created(site, created, monkeypatch):
    monkeypatch.setenv("PATH", str(site.folder))
    with pytest.raises(SlurmError, match=r"^there is no sbatch here; .* of the cluster$"):
        command.main(ON_CLUSTER)
    assert not created


def test_below_a_folder_that_a_batch_script_cannot_name_no_sweep_is_created(site, created, monkeypatch):
    home = site.folder / "my folder"
    home.mkdir()
    for name in ("w.yaml", "cluster.yaml", "distill.yaml"):
        (home / name).write_text((site.folder / name).read_text())
    monkeypatch.chdir(home)
    with pytest.raises(UsageError, match=r"the folder of the trials is '/.*/my folder/runs/sweeps/SWEEP'; it must be"):
        command.main(ON_CLUSTER)
    assert not created


def test_when_slurm_refuses_the_array_the_sweep_can_be_joined(site, created, capsys):
    site.write("closed", "")
    with pytest.raises(SlurmError, match=r"sbatch refuses runs/sweeps/s9/jobs/0001/job\.sbatch: .* invalid partition"):
        command.main(ON_CLUSTER)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "--join" in line]
    assert line == "python -m launch.sweep w.yaml --cluster cluster.yaml --count 3 --join me/p/s9" and len(created) == 1
    (site.folder / "closed").unlink()
    assert command.main(line.split()[3:]) == 0
    assert len(created) == 1 and len(site.arrays()) == 1


def test_as_many_processes_as_gpus_may_be_said(site, created):
    site.write("said.yaml", "time: 01:00:00\ngpus: 2\nprocesses_per_node: 2\n")
    assert command.main(["w.yaml", "--cluster", "said.yaml", "--count", "1"]) == 0


def test_on_a_cluster_each_element_is_one_agent(site, monkeypatch, capsys):
    site.write("node.yaml", "time: 01:00:00\ngpus: 8\nthrottle: 2\nsignal_seconds: 200\n")
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    assert command.main(["w.yaml", "--cluster", "node.yaml", "--count", "3", "--join", "me/p/s9"]) == 0
    text = capsys.readouterr().out
    assert "job 101: 3 agents of me/p/s9" in text and text.endswith("python -m launch.status runs/sweeps/s9\n")
    script = (site.folder / "sent" / "101").read_text()
    assert "#SBATCH --array=0-2%2" in script and "#SBATCH --gres=gpu:8" in script
    assert (
        'python -m "${words[@]}"' in script and "accelerate launch" not in script
    )  # the trial starts one for each GPU
    home = site.folder / "runs/sweeps/s9/jobs/0001"
    element = (home / "element-0002.sh").read_text().split()
    own = "runs/sweeps/s9/jobs/0001/agent-0002"
    assert element == ["words=(", "launch.agent", "me/p/s9", own, "170", ")"]
    assert (site.folder / "runs/sweeps/s9/logs").is_dir()
    assert "0" * 40 not in "".join(path.read_text() for path in site.folder.rglob("*") if path.is_file())


def test_agents_are_wandbs_own_and_pass_signals_on(tmp_path):
    done = subprocess.run(agent.agent_words("--help"), cwd=tmp_path, capture_output=True, text=True, check=True)
    assert all(option in done.stdout for option in ("--forward-signals", "--count", "--term-timeout"))


@pytest.mark.parametrize("module", ["status", "sweep", "trial", "agent"])
def test_a_command_loads_neither_torch_nor_wandb_before_it_needs_them(module):
    code = f"import sys, launch.{module}; print({{'torch', 'wandb', 'matplotlib'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
