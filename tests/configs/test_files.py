"""Files that are whole or not there."""

import os
import re
import resource
from pathlib import Path

import pytest

from configs.files import ABANDONED, read_regular, remove_abandoned, remove_partial, write_atomically, write_script


def test_writing_replaces_the_whole_file_and_leaves_nothing_beside(tmp_path):
    path = tmp_path / "a.txt"
    write_atomically(path, "old and long")
    write_atomically(path, "new")
    assert path.read_text() == "new" and [p.name for p in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("broken", ["encoding", "disk"])
def test_a_failed_write_keeps_the_old_content_and_leaves_nothing_beside(tmp_path, monkeypatch, broken):
    path = tmp_path / "a.txt"
    write_atomically(path, "old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    if broken == "disk":
        monkeypatch.setattr(os, "fsync", full)
    with pytest.raises((UnicodeEncodeError, OSError)):
        write_atomically(path, "x" * 100_000 + ("\ud800" if broken == "encoding" else ""))
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_full_disk_is_named_with_the_file(tmp_path):
    """A real limit: what a file may hold, which write() reports as a full disk is reported, without a name."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError, match=re.escape(f"File too large: '{tmp_path / 'a.bin'}'")):
            write_atomically(tmp_path / "a.bin", b"x" * 2000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list(tmp_path.iterdir())


def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path):
    left, others = ".model.safetensors.0a1b2c3d.partial", (".notes.partial", "a.0a1b2c3d.partial", ".b.0a1b2c3d")
    for name in (left, *others):
        (tmp_path / name).touch()
    remove_partial(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {*others}


def test_bytes_and_parent_folders(tmp_path):
    write_atomically(tmp_path / "a" / "b" / "c.bin", b"\x00\xff")
    assert (tmp_path / "a" / "b" / "c.bin").read_bytes() == b"\x00\xff"


def test_the_umask_decides_who_may_read(tmp_path):
    before = os.umask(0o027)
    try:
        write_atomically(tmp_path / "a.txt", "x")
    finally:
        os.umask(before)
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("name", ["schlüssel".encode(), b"b\xfcse"])
def test_a_script_names_files_by_their_bytes(tmp_path, name):
    write_script(tmp_path / "a.sh", f"cat {os.fsdecode(name)}")
    assert (tmp_path / "a.sh").read_bytes() == b"cat " + name


# ---- regular files only


def test_a_regular_file_is_read(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert read_regular(tmp_path / "a", 3) == b"abc"


def test_a_pipe_a_folder_and_a_file_that_is_too_large_are_named(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(50 * 2**30)
    for name, message in (
        ("pipe", "it is a pipe or a device"),
        (".", "Is a directory"),
        ("sparse", "it has 53,687,091,200 bytes; at most 67,108,864 are right"),
    ):
        with pytest.raises(OSError, match=message) as error:
            read_regular(tmp_path / name)
        assert error.value.filename == str(tmp_path / name)


def test_no_device_is_read():
    with pytest.raises(OSError, match="a pipe or a device"):
        read_regular(Path("/dev/zero"))


def test_what_nobody_has_written_to_for_a_day_is_removed_and_nothing_else(tmp_path):
    names = [".index-0a.npz.0123abcd.partial", ".theirs.partial", "whole.npz"]
    for name in names:
        (tmp_path / name).touch()
    remove_abandoned(tmp_path)  # the control: somebody may be writing
    assert {path.name for path in tmp_path.iterdir()} == set(names)
    for path in tmp_path.iterdir():
        os.utime(path, (0, path.stat().st_mtime - ABANDONED - 1))
    remove_abandoned(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == set(names[1:])
    remove_abandoned(tmp_path / "gone")
