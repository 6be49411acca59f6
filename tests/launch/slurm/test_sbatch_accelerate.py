"""Batch scripts and accelerate itself."""

import json
import os
import sys
from pathlib import Path

import pytest

from launch.slurm import sbatch
from launch.slurm.cluster import Cluster
from launch.slurm.sbatch import Element, Job
from slurm_stubs import Site


@pytest.mark.launcher
def test_the_launcher_takes_these_words_whatever_a_user_has_configured(tmp_path):
    """accelerate itself, two processes on the CPU, with a default_config.yaml that would change everything."""
    site = Site(tmp_path)
    (tmp_path / "world.py").write_text(
        "import json, os, pathlib\n"
        "names = ('WORLD_SIZE', 'ACCELERATE_MIXED_PRECISION', 'ACCELERATE_DYNAMO_BACKEND', 'CUDA_VISIBLE_DEVICES')\n"
        "path = pathlib.Path(os.environ['RUN']) / f'world.{os.environ[\"RANK\"]}'\n"
        "path.write_text(json.dumps([os.environ.get(name) for name in names]))\n"
        "if os.environ['RANK'] == '0':\n"
        "    (path.parent / 'status.json').write_text('{\"state\": \"done\"}')\n"
    )
    (tmp_path / "home" / "accelerate").mkdir(parents=True)
    (tmp_path / "home" / "accelerate" / "default_config.yaml").write_text(
        "compute_environment: LOCAL_MACHINE\ndistributed_type: MULTI_GPU\nnum_processes: 3\nnum_machines: 2\n"
        "machine_rank: 1\nmain_process_ip: nowhere\nmixed_precision: bf16\ngpu_ids: '5'\ndowncast_bf16: 'no'\n"
        "dynamo_config: {dynamo_backend: INDUCTOR}\n"
    )
    for name in ("accelerate", "python"):
        (site.bin / name).unlink()
    path = f"{site.bin}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    made = Cluster(time="04:00:00", processes_per_node=2, environment={"PATH": path})
    element = Element(run_dir=str(site.run_dir), words=("world",))
    text = sbatch.text(made, Job(name="world", logs="/logs", directory=str(tmp_path), work=element))
    done = site.run(text, HF_HOME=str(tmp_path / "home"), PYTHONPATH=str(tmp_path), OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr
    own = os.environ.get("CUDA_VISIBLE_DEVICES")
    for rank in "01":
        assert json.loads((site.run_dir / f"world.{rank}").read_text()) == ["2", "no", "NO", own]
