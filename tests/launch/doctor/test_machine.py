"""Cores, memory, disk, shared memory, open files: what is fine, and what is said where it is not."""

import os
from collections import namedtuple
from pathlib import Path

import pytest

from launch.doctor import machine

GB = 10**9
Usage = namedtuple("Usage", "total used free")


def test_a_quota_below_the_visible_cores_is_a_warning_with_the_number_of_threads():
    found = machine.cores("AMD EPYC", 64, 2.0)
    assert (found.level, found.found) == ("warning", "AMD EPYC, 64 cores in sight, time for 2 of them")
    assert "OMP_NUM_THREADS=2" in found.advice and "--data.threads 2" in found.advice
    assert "--data.threads 1" in machine.cores("AMD EPYC", 64, 0.5).advice


@pytest.mark.parametrize("quota", [None, 64.0, 100.0])
def test_without_a_quota_that_bites_all_cores_count(quota):
    assert machine.cores("AMD EPYC", 64, quota).level == "ok"
    assert machine.cores("AMD EPYC", 64, quota).found == "AMD EPYC, 64 cores"


def test_a_single_core_is_a_warning():
    assert machine.cores("x", 1, None).level == "warning" and machine.cores("x", 2, None).level == "ok"


def test_the_lesser_of_the_machines_memory_and_the_limit_counts():
    assert machine.memory(100 * GB, 8 * GB).found == "8.0 GB available (limit of the container or job)"
    assert machine.memory(8 * GB, 100 * GB).found == "8.0 GB available"
    assert machine.memory(8 * GB, None).found == "8.0 GB available"
    assert machine.memory(None, 8 * GB).found.startswith("8.0 GB")


def test_little_memory_is_a_warning_wherever_the_limit_comes_from():
    assert machine.memory(100 * GB, 2 * GB).level == machine.memory(2 * GB, 100 * GB).level == "warning"
    assert machine.memory(100 * GB, 100 * GB).level == machine.memory(None, None).level == "ok"


def test_a_folder_that_does_not_exist_yet_is_judged_by_where_it_will_lie(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda path: asked.append(path) or Usage(100 * GB, 0, 50 * GB))
    found = machine.disk("cache folder", tmp_path / "a" / "b")
    assert (found.level, found.found) == ("ok", f"50.0 GB free in {tmp_path / 'a' / 'b'}")
    assert asked == [tmp_path]


@pytest.mark.parametrize(("name", "way_out"), [("run folder", "--run_dir"), ("cache folder", "HEARTCUT_CACHE")])
def test_a_full_or_closed_folder_is_a_warning_that_names_the_way_out(tmp_path, monkeypatch, name, way_out):
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda path: Usage(100 * GB, 0, GB))
    full = machine.disk(name, tmp_path)
    assert full.level == "warning" and way_out in full.advice and "1.0 GB" in full.found
    monkeypatch.setattr(machine.os, "access", lambda path, mode: False)
    closed = machine.disk(name, tmp_path)
    assert closed.level == "warning" and way_out in closed.advice and "cannot be written" in closed.found


def test_a_folder_below_one_that_may_not_be_entered_is_a_warning(tmp_path, monkeypatch):
    """With a stub, since root may enter every folder."""
    closed = tmp_path / "closed"
    closed.mkdir()
    stat = os.stat

    def refusing(path, *rest, **options):
        if closed in Path(path).parents:
            raise PermissionError(13, "Permission denied", str(path))
        return stat(path, *rest, **options)

    monkeypatch.setattr(os, "stat", refusing)
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != closed)
    found = machine.disk("cache folder", closed / "a" / "b")
    assert (found.level, found.found) == ("warning", f"{closed / 'a' / 'b'} cannot be written to")
    assert found.advice == "HEARTCUT_CACHE names another folder"


@pytest.mark.parametrize(("gpus", "size", "level"), [(2, 64e6, "warning"), (2, 2e9, "ok"), (1, 64e6, "ok")])
def test_little_shared_memory_matters_between_gpus_only(tmp_path, monkeypatch, gpus, size, level):
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda path: Usage(size, 0, size))
    assert machine.shared_memory(tmp_path, gpus).level == level
    assert machine.shared_memory(tmp_path / "none", gpus) is None


@pytest.mark.parametrize(("allowed", "level"), [(256, "warning"), (1024, "ok"), (None, "ok")])
def test_open_files(allowed, level):
    found = machine.open_files(allowed)
    assert found.level == level and ("ulimit -n" in found.advice) == (level == "warning")


@pytest.mark.parametrize(
    ("size", "text"), [(64e6, "64 MB"), (999e6, "999 MB"), (1e9, "1.0 GB"), (2.5e12, "2,500.0 GB")]
)
def test_sizes_in_words(size, text):
    assert machine.gigabytes(size) == text


def test_everything_about_this_machine_is_found():
    found = machine.checks({"run folder": Path.cwd()}, gpus=0)
    assert [check.name for check in found if check.name != "/dev/shm"] == ["CPU", "memory", "run folder", "open files"]
    assert all(check.found for check in found)
