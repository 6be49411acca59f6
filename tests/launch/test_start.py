"""What starts a command, for every kind of place: tables of variables and of the words that follow from them."""

import re
import shlex
import subprocess

import pytest

from configs.errors import UsageError
from launch import start
from launch.start import Place

DISTILL = ("train.distill", "--config", "a b.yaml")
TAIL = "--mixed_precision no --dynamo_backend no --gpu_ids all -m train.distill --config 'a b.yaml'"
LOCAL = f"--num_machines 1 --machine_rank 0 --main_process_port 0 {TAIL}"
ALLOCATION = {
    "SLURM_JOB_ID": "12001",
    "SLURM_JOB_NUM_NODES": "2",
    "SLURM_JOB_NODELIST": "n[0-1]",
    "SLURM_JOB_CPUS_PER_NODE": "16(x2)",
    "SLURM_NODEID": "0",
    "SLURM_PROCID": "0",
    "SLURMD_NODENAME": "n0",
}
ONE_NODE = ALLOCATION | {"SLURM_JOB_NUM_NODES": "1", "SLURM_JOB_NODELIST": "n0"}
STEP = ALLOCATION | {
    "SLURM_STEP_ID": "0",
    "SLURM_STEP_NUM_NODES": "2",
    "SLURM_STEP_NUM_TASKS": "2",
    "SLURM_STEP_NODELIST": "n[0-1]",
    "SLURM_NODEID": "1",
}
SRUN = "srun --nodes 2 --ntasks 2 --ntasks-per-node 1"
LAUNCHER = "python -m accelerate.commands.launch"
PATIENCE = "--export=ALL --kill-on-bad-exit=0 --wait=180 python -m launch.run"


def plan(environment=(), processes=None, **place) -> start.Start:
    place = {"cores": 8, "visible_cores": 8} | place
    return start.plan(Place(environment=dict(environment), **place), DISTILL, processes)


def words(*args, **kwargs) -> str:
    return shlex.join(plan(*args, **kwargs).words)


PLAIN = "python -m train.distill --config 'a b.yaml'"
MACHINES = [
    ({}, 0, None, PLAIN),
    ({}, 0, 1, PLAIN),
    ({}, 1, None, PLAIN),
    ({}, 8, 1, PLAIN),
    ({"CUDA_VISIBLE_DEVICES": "3"}, 8, None, PLAIN),
    ({"CUDA_VISIBLE_DEVICES": ""}, 8, None, PLAIN),
    ({}, 0, 2, f"{LAUNCHER} --multi_gpu --num_processes 2 {LOCAL}"),
    ({}, 8, None, f"{LAUNCHER} --multi_gpu --num_processes 8 {LOCAL}"),
    ({}, 8, 4, f"{LAUNCHER} --multi_gpu --num_processes 4 {LOCAL}"),
    ({"CUDA_VISIBLE_DEVICES": "0,2,5"}, 8, None, f"{LAUNCHER} --multi_gpu --num_processes 3 {LOCAL}"),
    ({"CUDA_VISIBLE_DEVICES": ""}, 8, 2, f"{LAUNCHER} --multi_gpu --num_processes 2 {LOCAL}"),
]


@pytest.mark.parametrize(("environment", "gpus", "processes", "expected"), MACHINES)
def test_a_machine(environment, gpus, processes, expected):
    assert words(environment, processes, gpus=gpus) == expected


@pytest.mark.parametrize(
    ("environment", "visible"),
    [
        ({}, 8),
        ({"CUDA_VISIBLE_DEVICES": "0,1"}, 2),
        ({"CUDA_VISIBLE_DEVICES": " 1, 0"}, 2),
        ({"CUDA_VISIBLE_DEVICES": "0,8,1"}, 1),
        ({"CUDA_VISIBLE_DEVICES": "-1,0"}, 0),
        ({"CUDA_VISIBLE_DEVICES": "NoDevFiles"}, 0),
        ({"CUDA_VISIBLE_DEVICES": "GPU-1b,GPU-2c,MIG-3d"}, 3),
        ({"SLURM_GPUS_ON_NODE": "4"}, 4),
        ({"SLURM_GPUS_ON_NODE": "16"}, 8),
        ({"SLURM_STEP_GPUS": "0-2,5", "SLURM_GPUS_ON_NODE": "8"}, 4),
        ({"CUDA_VISIBLE_DEVICES": "0", "SLURM_GPUS_ON_NODE": "4"}, 1),
    ],
)
def test_visible_gpus(environment, visible):
    assert start.visible_gpus(environment, 8) == visible
    assert start.visible_gpus(environment, 0) == 0


JOBS = [
    # A batch script, or a shell of salloc on the node: on one node nothing is to be reached.
    (ONE_NODE, 0, None, PLAIN),
    (ONE_NODE, 4, None, f"{LAUNCHER} --multi_gpu --num_processes 4 {LOCAL}"),
    (ONE_NODE | {"SLURM_STEP_ID": "4294967290"}, 0, None, PLAIN),
    # A shell of salloc elsewhere.
    ({k: v for k, v in ONE_NODE.items() if k != "SLURMD_NODENAME"}, 0, None, "srun --nodes 1 --ntasks 1 "),
    # Several nodes: one launcher on each, with all of its cores.
    (ALLOCATION, 0, None, f"{SRUN} --cpus-per-task 16 {PATIENCE} {DISTILL[0]} "),
    (ALLOCATION, 4, 2, f"{SRUN} --cpus-per-task 16 {PATIENCE} --processes 2 {DISTILL[0]} "),
    (ALLOCATION | {"SLURM_STEP_ID": "4294967291"}, 0, None, SRUN),
    (ALLOCATION | {"SLURM_JOB_CPUS_PER_NODE": "16,4(x2),8"}, 0, None, f"{SRUN} --cpus-per-task 4 --export"),
    (ALLOCATION | {"SLURM_JOB_CPUS_PER_NODE": ""}, 0, None, f"{SRUN} --export"),
    (ALLOCATION | {"TORCH_ELASTIC_SHUTDOWN_TIMEOUT": "400"}, 0, None, f"{SRUN} --cpus-per-task 16 --export=ALL "),
]


@pytest.mark.parametrize(("environment", "gpus", "processes", "begins"), JOBS)
def test_a_job(environment, gpus, processes, begins):
    assert words(environment, processes, gpus=gpus).startswith(begins)


@pytest.mark.parametrize("given", [{"SLURM_GPUS_ON_NODE": "2"}, {"SLURM_STEP_GPUS": "0-1"}])
@pytest.mark.parametrize("named", [{}, {"CUDA_VISIBLE_DEVICES": "0,1"}, {"CUDA_VISIBLE_DEVICES": "GPU-1b"}])
def test_gpus_that_slurm_gave_and_nothing_sees_are_missed(given, named):
    message = r"^Slurm gave this job 2 GPUs and none is visible here \(in a container: --nv\); CUDA_VISIBLE_DEVICES= "
    with pytest.raises(UsageError, match=message):
        plan(ONE_NODE | given | named, 1)
    assert words(ONE_NODE | given | named, 1, gpus=2) == PLAIN


@pytest.mark.parametrize("hidden", ["", "NoDevFiles", "-1"])
def test_a_job_with_gpus_trains_on_the_cpu_when_they_are_hidden(hidden):
    assert words(ONE_NODE | {"SLURM_GPUS_ON_NODE": "2", "CUDA_VISIBLE_DEVICES": hidden}) == PLAIN


@pytest.mark.parametrize("name", ["ROCR_VISIBLE_DEVICES", "ZE_AFFINITY_MASK"])
def test_gpus_of_other_makers_are_not_missed(name):
    assert words(ONE_NODE | {"SLURM_GPUS_ON_NODE": "2", name: "0,1"}) == PLAIN


def test_srun_outwaits_the_launchers():
    longer = ALLOCATION | {"TORCH_ELASTIC_SHUTDOWN_TIMEOUT": "400"}
    assert "--wait=180" in plan(ALLOCATION).words and "--wait=430" in plan(longer).words


@pytest.mark.parametrize(("rank", "gpus", "processes", "world"), [(0, 8, None, 16), (1, 0, 2, 4), (1, 0, None, 2)])
def test_a_task_of_a_job(rank, gpus, processes, world):
    """One launcher on each node: its own rank, the first node, and a port from the job's number."""
    assert words(STEP | {"SLURM_NODEID": str(rank)}, processes, gpus=gpus) == (
        f"{LAUNCHER} --multi_gpu --num_processes {world} --num_machines 2 --machine_rank {rank} "
        f"--rdzv_backend static --main_process_ip n0 --main_process_port 20001 {TAIL}"
    )


def test_a_step_on_one_node_of_a_larger_job_needs_no_other():
    alone = STEP | {"SLURM_STEP_NUM_NODES": "1", "SLURM_STEP_NUM_TASKS": "1", "SLURM_STEP_NODELIST": "n1"}
    assert words(alone) == PLAIN


@pytest.mark.parametrize(
    ("environment", "gpus", "processes", "message"),
    [
        ({}, 0, 0, "--processes is 0; it must be at least 1"),
        ({}, 2, 3, "--processes is 3, but 2 GPUs are visible, and each process needs its own; CUDA_VISIBLE_DEVICES="),
        ({"LOCAL_RANK": "0"}, 0, None, "launch.run starts the processes itself; call it without accelerate launch"),
        (
            STEP | {"SLURM_STEP_NUM_TASKS": "8"},
            4,
            None,
            "8 tasks on 2 nodes, .* srun --ntasks-per-node 1",
        ),
        (STEP | {"SLURM_NODEID": "one"}, 0, None, "SLURM_NODEID is 'one'; it must be a number"),
    ],
)
def test_what_cannot_be_started_is_said(environment, gpus, processes, message):
    with pytest.raises(UsageError, match=message):
        plan(environment, processes, gpus=gpus)


@pytest.mark.parametrize("nodes", ["", ",", "[0-1]]", "n[", "n 1", "$(id)"])
def test_a_node_that_does_not_know_the_first_does_not_train_alone(nodes):
    unknown = {"SLURM_STEP_NODELIST": nodes, "SLURM_JOB_NODELIST": ""}
    with pytest.raises(UsageError, match=rf"the node list of this step, {re.escape(repr(nodes))}, names no host"):
        plan(STEP | unknown)


@pytest.mark.parametrize(
    ("nodes", "host"),
    [
        ("n0", "n0"),
        ("n0,n1", "n0"),
        ("n[0-1]", "n0"),
        ("n[08-11,15],login1", "n08"),
        ("rack[0-1]n[3,5-7]", "rack0n3"),
        ("gpu-a[100]-x.site.org", "gpu-a100-x.site.org"),
        ("127.0.0.[1-2]", "127.0.0.1"),
    ],
)
def test_the_first_host_of_a_node_list(nodes, host):
    assert start.first_host(nodes) == host


@pytest.mark.parametrize(
    ("environment", "cores", "processes", "own"),
    [
        ({}, 8, 1, {}),  # torch finds them by itself
        ({}, 3, 1, {"OMP_NUM_THREADS": "3"}),  # a quota, which torch does not see
        ({}, 8, 2, {"OMP_NUM_THREADS": "4", "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": "150"}),
        ({}, 3, 8, {"OMP_NUM_THREADS": "1", "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": "150"}),
        ({"OMP_NUM_THREADS": "7", "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": "9"}, 8, 2, {}),
    ],
)
def test_cores_are_shared_out_and_nothing_that_is_set_changes(environment, cores, processes, own):
    assert plan(environment, processes, cores=cores).environment == own


def test_the_line_is_what_a_shell_would_do():
    made = start.Start(by="python", words=("printf", "%s|", "a b", "it's", "$X"), environment={"X": "1 2"})
    done = subprocess.run(["bash", "-c", f"{made.line}; env"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("a b|it's|$X|") and made.line.startswith("X='1 2' printf ")
