"""configs/accelerate: what accelerate makes of each file. train/test_two_processes.py starts processes with one."""

import os
import re
import shlex
from pathlib import Path

import pytest
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils.launch import prepare_multi_gpu_env

from configs import reader
from train.config import DistillConfig

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "configs" / "accelerate").glob("*.yaml"))
PROCESSES = {"cpu": (2, 1), "node": (8, 1), "one_gpu": (1, 1), "two_nodes": (16, 2)}


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch):
    monkeypatch.chdir(ROOT)
    for name in [name for name in os.environ if name.startswith("ACCELERATE_")]:
        monkeypatch.delenv(name)


def examples(file: Path) -> list[list[str]]:
    """The commands of a file's header."""
    return [shlex.split(line) for line in re.findall(r"^#   (.*)", file.read_text(), re.MULTILINE)]


def understood(words: list[str]):
    """What accelerate makes of a command."""
    options = words[words.index("launch") + 1 :]
    return _validate_launch_command(launch_command_parser().parse_args(options))[0]


def test_four_kinds_ship():
    assert {file.stem for file in FILES} == set(PROCESSES)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_accelerate_takes_what_the_header_says(file):
    commands = examples(file)
    assert len(commands) == PROCESSES[file.stem][1]
    for rank, words in enumerate(commands):
        args = understood(words)
        assert (args.num_processes, args.num_machines) == PROCESSES[file.stem]
        assert args.multi_gpu == (args.num_processes > 1) and not args.use_cpu
        assert (args.mixed_precision, args.dynamo_backend.lower(), args.gpu_ids) == ("no", "no", "all")
        assert args.module and args.training_script == "train.distill" and args.machine_rank == rank
        reader.read(DistillConfig, args.training_script_args, prog="x", description="x")
        assert f"--config_file configs/accelerate/{file.name}" in shlex.join(words)


def test_two_nodes_meet_at_the_first_and_a_forgotten_rank_is_an_error():
    words = examples(next(file for file in FILES if file.stem == "two_nodes"))[1]
    args = understood(words)
    environment = prepare_multi_gpu_env(args)
    assert (args.nproc_per_node, args.nnodes, args.node_rank) == ("8", "2", 1)
    assert args.rdzv_endpoint == "node0:29511" and environment["ACCELERATE_MIXED_PRECISION"] == "no"
    forgotten = words[: words.index("--machine_rank")] + words[words.index("--main_process_ip") :]
    with pytest.raises(TypeError):
        prepare_multi_gpu_env(understood(forgotten))
