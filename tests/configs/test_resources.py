"""What a process may use, on machines that are made up."""

import os

import pytest

from configs import cgroup, resources
from configs.errors import UsageError


def test_visible_cores_are_those_that_the_process_may_use(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {3, 5, 8}, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    assert resources.visible_cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    assert resources.visible_cores() == 64


@pytest.mark.parametrize(("quota", "cores"), [(None, 64), (2.5, 2), (0.5, 1), (100.0, 64)])
def test_a_quota_limits_the_cores(monkeypatch, quota, cores):
    monkeypatch.delenv(resources.CORES, raising=False)
    monkeypatch.setattr(resources, "visible_cores", lambda: 64)
    monkeypatch.setattr(cgroup, "cpu_limit", lambda: quota)
    assert resources.cores() == cores


@pytest.mark.parametrize(("own", "quota", "cores"), [("3", None, 3), ("3", 2.0, 2), ("100", None, 64)])
def test_a_variable_lowers_the_cores_and_cannot_raise_them(monkeypatch, own, quota, cores):
    monkeypatch.setattr(resources, "visible_cores", lambda: 64)
    monkeypatch.setattr(cgroup, "cpu_limit", lambda: quota)
    monkeypatch.setenv(resources.CORES, own)
    assert resources.cores() == cores


@pytest.mark.parametrize("own", ["", "0", "-1", "2.5", "many"])
def test_a_number_of_cores_that_is_none_is_refused(monkeypatch, own):
    monkeypatch.setenv(resources.CORES, own)
    with pytest.raises(UsageError, match=rf"HEARTCUT_CORES is '{own}'; it must be a number of at least 1"):
        resources.cores()


def test_the_machines_memory_is_what_the_kernel_says(tmp_path):
    (tmp_path / "meminfo").write_text("MemTotal: 999 kB\nMemFree: 12 kB\nMemAvailable:     345 kB\n")
    assert resources.machine_memory(tmp_path / "meminfo") == 345 * 1024
    (tmp_path / "meminfo").write_text("MemTotal: 999 kB\n")
    assert resources.machine_memory(tmp_path / "meminfo") is None
    assert resources.machine_memory(tmp_path / "gone") is None


@pytest.mark.parametrize(("machine", "group", "both"), [(5, 3, 3), (2, 3, 2), (None, 3, 3), (5, None, 5)])
def test_the_tighter_memory_counts(monkeypatch, machine, group, both):
    monkeypatch.setattr(resources, "machine_memory", lambda: machine)
    monkeypatch.setattr(cgroup, "memory_left", lambda: group)
    assert resources.available_memory() == both


def test_memory_that_nobody_knows_of_is_none(monkeypatch):
    monkeypatch.setattr(resources, "machine_memory", lambda: None)
    monkeypatch.setattr(cgroup, "memory_left", lambda: None)
    assert resources.available_memory() is None


def test_the_processor_has_a_name():
    assert resources.cpu_model()


@pytest.mark.parametrize(("said", "processes"), [(None, 1), ("5", 5), ("0", 1), ("many", 1)])
def test_processes_of_this_machine_are_those_that_the_launcher_says(monkeypatch, said, processes):
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    if said is not None:
        monkeypatch.setenv("LOCAL_WORLD_SIZE", said)
    assert resources.local_processes() == processes


def test_threads_are_shared_out_unless_the_others_wait(monkeypatch):
    monkeypatch.setattr(resources, "cores", lambda: 12)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "5")
    assert resources.thread_share() == 2
    with resources.working_alone():
        assert resources.thread_share() == 12
    assert resources.thread_share() == 2
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "64")
    assert resources.thread_share() == 1
