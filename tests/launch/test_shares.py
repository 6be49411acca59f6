"""Cores and GPUs of several runs at a time, on machines that are made up."""

import pytest

from configs.errors import UsageError
from launch.shares import described, shares
from launch.start import Place


def share(runs: int, environment=(), **place) -> list[dict[str, str]]:
    return shares(runs, "--at_a_time", lambda: Place(environment=dict(environment), **place))


def test_cores_are_shared_out_and_each_run_has_one():
    assert share(3, cores=8) == [{"HEARTCUT_CORES": "2"}] * 3
    assert share(3, cores=2) == [{"HEARTCUT_CORES": "1"}] * 3


def test_a_single_run_has_the_whole_machine_and_nobody_looks_for_it():
    def look_around() -> Place:
        raise AssertionError("looked around")

    assert shares(1, "--agents", look_around) == [{}]
    assert shares(0, "--agents", look_around) == []


def test_all_shares_have_as_many_gpus():
    found = [one["CUDA_VISIBLE_DEVICES"] for one in share(2, gpus=5, cores=8)]
    assert found == ["0,1", "2,3"]
    assert described(share(2, gpus=5, cores=8)) == "2 at a time, each with 2 GPUs and 4 cores"
    assert described(share(4, cores=2)) == "4 at a time, each with 1 core"


def test_only_gpus_that_are_visible_are_shared_out():
    found = share(2, {"CUDA_VISIBLE_DEVICES": "3,1,2"}, gpus=4, cores=8)
    assert [one["CUDA_VISIBLE_DEVICES"] for one in found] == ["3", "1"]
    assert share(2, {"CUDA_VISIBLE_DEVICES": ""}, gpus=4, cores=8) == [{"HEARTCUT_CORES": "4"}] * 2


def test_each_gpu_has_equally_many_of_more_runs():
    found = share(4, {"CUDA_VISIBLE_DEVICES": "2,5"}, gpus=6, cores=8)
    assert [one["CUDA_VISIBLE_DEVICES"] for one in found] == ["2", "2", "5", "5"]
    assert [one["HEARTCUT_GPU_RUNS"] for one in found] == ["2"] * 4
    assert "HEARTCUT_GPU_RUNS" not in share(2, gpus=2, cores=4)[0]
    assert described(share(3, gpus=1, cores=16)) == "3 at a time, each with 1 GPU and 5 cores; 3 share a GPU"
    assert described(share(2, gpus=2, cores=4)) == "2 at a time, each with 1 GPU and 2 cores"


def test_runs_that_would_share_gpus_unequally_are_refused():
    text = "--at_a_time is 5, and 4 GPUs are visible: give 4 or 8, so that each GPU has equally many runs; CUDA"
    with pytest.raises(UsageError, match=text):
        share(5, gpus=4)


@pytest.mark.parametrize(("asked", "threads"), [("64", "2"), ("1", None), ("", None), ("many", None)])
def test_more_threads_than_a_share_has_cores_are_taken_back(asked, threads):
    assert share(4, {"OMP_NUM_THREADS": asked}, cores=8)[0].get("OMP_NUM_THREADS") == threads


def test_an_allocation_on_other_machines_is_not_shared_out():
    with pytest.raises(UsageError, match=r"--at_a_time is for the machine that this is; in a Slurm allocation, give"):
        share(2, {"SLURM_JOB_ID": "1"}, cores=8)
