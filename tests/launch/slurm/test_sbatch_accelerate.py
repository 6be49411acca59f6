"""Batch scripts with launch.run and accelerate themselves, in a step of one node."""

import json
import os
import sys
from pathlib import Path

import pytest

from launch.slurm import sbatch
from launch.slurm.cluster import Cluster
from launch.slurm.sbatch import Element, Job
from slurm_stubs import Site
from train.run_folder import status

ROOT = Path(__file__).parents[3]
# A command that each process notes its world in, and whose end the first one writes down. The others end after that:
# accelerate kills all of them as soon as one fails.
WORLD = """
import json, os, sys, time
from pathlib import Path
from train.run_folder import status
if "--print_config" in sys.argv:
    sys.exit(print("run_dir: run"))
names = ("WORLD_SIZE", "ACCELERATE_MIXED_PRECISION", "ACCELERATE_DYNAMO_BACKEND", "CUDA_VISIBLE_DEVICES")
rank = os.environ.get("RANK", "0")
Path(f"world.{rank}").write_text(json.dumps([os.environ.get(name) for name in names]))
if rank == "0":
    status.write(Path("run"), sys.argv[1], {"exit_code": int(sys.argv[2]), "starts": 1})
while not status.read(Path("run")):
    time.sleep(0.01)
sys.exit(int(sys.argv[3]))
"""
KNOWN = """
from launch.commands import COMMANDS, Command
COMMANDS["world"] = Command(config=object, status="run_dir")
"""


@pytest.fixture
def site(tmp_path) -> Site:
    made = Site(tmp_path)
    (made.bin / "python").unlink()
    (tmp_path / "world.py").write_text(WORLD)
    (tmp_path / "sitecustomize.py").write_text(KNOWN)
    (tmp_path / "home" / "accelerate").mkdir(parents=True)
    (tmp_path / "home" / "accelerate" / "default_config.yaml").write_text(
        "compute_environment: LOCAL_MACHINE\ndistributed_type: MULTI_GPU\nnum_processes: 3\nnum_machines: 2\n"
        "machine_rank: 1\nmain_process_ip: nowhere\nmixed_precision: bf16\ngpu_ids: '5'\ndowncast_bf16: 'no'\n"
        "dynamo_config: {dynamo_backend: INDUCTOR}\n"
    )
    return made


def run(site: Site, processes: int, state: str, own: int, launcher: int):
    """Submit a run that ends with a state and an exit code of its own, in processes that end with another."""
    path = f"{site.bin}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    words = ("launch.run", "--processes", str(processes), "world", state, str(own), str(launcher))
    job = Job(name="world", logs="/logs", directory=str(site.folder), work=Element(words=words))
    text = sbatch.text(Cluster(time="04:00:00", processes_per_node=processes, environment={"PATH": path}), job)
    variables = {"HF_HOME": str(site.folder / "home"), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return site.run(
        text, PYTHONPATH=f"{site.folder}:{ROOT}", SLURM_JOB_NUM_NODES="1", SLURMD_NODENAME="n0", **variables
    )


@pytest.mark.launcher
def test_the_launcher_takes_these_words_whatever_a_user_has_configured(site):
    """Two processes on the CPU, with a default_config.yaml that would change everything."""
    done = run(site, 2, "done", 0, 0)
    assert done.returncode == 0, done.stderr
    for rank in "01":
        assert json.loads((site.folder / f"world.{rank}").read_text()) == ["2", "no", "NO", ""]


@pytest.mark.launcher
@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize(
    ("state", "own", "launcher", "ends"), [("preempted", 75, 1, 75), ("done", 0, 139, 0), ("failed", 65, 1, 65)]
)
def test_the_job_ends_as_the_run_does_whatever_its_processes_end_with(site, processes, state, own, launcher, ends):
    done = run(site, processes, state, own, launcher)
    assert done.returncode == ends, done.stderr
    assert bool(site.requeued) == (ends == 75) and status.read(site.folder / "run")["state"] == state
