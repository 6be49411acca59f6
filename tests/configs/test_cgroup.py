"""Limits of containers and batch jobs, from files as Linux writes them."""

from pathlib import Path

import pytest

from configs import cgroup

GB = 10**9
NO_LIMIT_V1 = 9223372036854771712


def group(folder: Path, **files: object) -> None:
    """Files of one control group; `_` in a name stands for the first dot."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("_", ".", 1)).write_text(f"{text}\n")


def process(folder: Path, *lines: str) -> Path:
    file = folder / "cgroup"
    file.write_text("".join(f"{line}\n" for line in lines))
    return file


@pytest.mark.parametrize(
    ("text", "expected"), [("200000 100000", 2.0), ("150000 100000", 1.5), ("max 100000", None), ("", None)]
)
def test_cpu_quota_of_version_2(tmp_path, text, expected):
    group(tmp_path / "mount", cpu_max=text)
    assert cgroup.cpu_limit(process(tmp_path, "0::/"), tmp_path / "mount") == expected


@pytest.mark.parametrize(("quota", "expected"), [("200000", 2.0), ("-1", None)])
def test_cpu_quota_of_version_1(tmp_path, quota, expected):
    group(tmp_path / "mount" / "cpu", cpu_cfs_quota_us=quota, cpu_cfs_period_us="100000")
    assert cgroup.cpu_limit(process(tmp_path, "3:cpu:/", "0::/"), tmp_path / "mount") == expected


def test_controllers_that_share_a_hierarchy_are_found_by_each_name(tmp_path):
    group(tmp_path / "mount" / "cpu", cpu_cfs_quota_us="50000", cpu_cfs_period_us="100000")
    assert cgroup.cpu_limit(process(tmp_path, "3:cpu,cpuacct:/"), tmp_path / "mount") == 0.5
    assert cgroup.cpu_limit(process(tmp_path, "3:cpuset:/"), tmp_path / "mount") is None


def test_the_tightest_of_the_groups_around_a_process_counts_and_no_other(tmp_path):
    mount = tmp_path / "mount"
    group(mount / "job" / "step", cpu_max="800000 100000")
    group(mount / "job", cpu_max="400000 100000")
    group(mount / "neighbour", cpu_max="100000 100000")
    assert cgroup.cpu_limit(process(tmp_path, "0::/job/step"), mount) == 4
    assert cgroup.cpu_limit(process(tmp_path, "0::/neighbour"), mount) == 1


@pytest.mark.parametrize("path", ["/docker/0123abcd", "/../../outside"])
def test_in_a_container_a_path_of_the_host_leads_to_the_mount(tmp_path, path):
    group(tmp_path / "mount", cpu_max="300000 100000")
    group(tmp_path.parent / "outside", cpu_max="100000 100000")
    assert cgroup.cpu_limit(process(tmp_path, f"0::{path}"), tmp_path / "mount") == 3


def test_memory_left_counts_the_cache_of_files_as_free(tmp_path):
    stat = f"anon 1\ninactive_file {2 * GB}\nactive_file {GB}"
    group(tmp_path / "mount", memory_max=16 * GB, memory_current=10 * GB, memory_stat=stat)
    assert cgroup.memory_left(process(tmp_path, "0::/"), tmp_path / "mount") == 8 * GB


def test_memory_left_of_version_1(tmp_path):
    folder = tmp_path / "mount" / "memory" / "slurm" / "job_7"
    stat = f"inactive_file 5\ntotal_inactive_file {GB}"
    group(folder, memory_limit_in_bytes=4 * GB, memory_usage_in_bytes=3 * GB, memory_stat=stat)
    group(tmp_path / "mount" / "memory", memory_limit_in_bytes=NO_LIMIT_V1, memory_usage_in_bytes=90 * GB)
    assert cgroup.memory_left(process(tmp_path, "4:memory:/slurm/job_7"), tmp_path / "mount") == 2 * GB


def test_memory_is_never_less_than_nothing(tmp_path):
    group(tmp_path / "mount", memory_max=GB, memory_current=GB + 5)
    assert cgroup.memory_left(process(tmp_path, "0::/"), tmp_path / "mount") == 0


def test_no_limit_and_no_control_groups_are_no_limit(tmp_path):
    group(tmp_path / "mount", memory_max="max", memory_current=GB, cpu_max="max 100000")
    file = process(tmp_path, "0::/")
    for where in (tmp_path / "mount", tmp_path / "nowhere"):
        assert cgroup.memory_left(file, where) is None and cgroup.cpu_limit(file, where) is None
    assert cgroup.cpu_limit(tmp_path / "no such file", tmp_path / "mount") is None


def test_this_machine_is_read_without_an_error():
    quota, left = cgroup.cpu_limit(), cgroup.memory_left()
    assert (quota is None or quota > 0) and (left is None or left >= 0)
