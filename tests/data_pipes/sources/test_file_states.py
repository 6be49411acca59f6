"""The digest of a file's state: equal as long as nothing has changed."""

from __future__ import annotations

import os
import threading

import numpy as np
import pytest

from data_pipes.sources import file_states
from data_pipes.sources.file_states import digests


def write(path, text="text", at=1_000_000_000):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, ns=(at, at))


def test_size_time_name_and_target_count(tmp_path):
    for name in ("a", "sub/b", "sub/c", "one/x", "two/x"):
        write(tmp_path / name)
    (tmp_path / "link").symlink_to("a")
    (tmp_path / "folder").symlink_to("one")
    paths = ["a", "sub/b", "sub/c", "link", "folder/x", "gone"]
    before = digests(tmp_path, paths)
    assert before.shape == (6, 2) and len(np.unique(before, axis=0)) == 6
    assert np.array_equal(digests(tmp_path, paths), before)
    assert np.array_equal(digests(tmp_path, paths[::-1]), before[::-1])
    write(tmp_path / "sub/b", "texts")
    write(tmp_path / "sub/c", at=1_000_000_001)
    (tmp_path / "link").unlink()
    (tmp_path / "link").symlink_to("one/x")
    (tmp_path / "folder").unlink()
    (tmp_path / "folder").symlink_to("two")
    changed = (digests(tmp_path, paths) != before).any(axis=1)
    assert changed.tolist() == [False, True, True, True, True, False]


@pytest.mark.parametrize("slow", [True, False])
def test_a_slow_file_system_is_asked_by_many_threads(tmp_path, monkeypatch, slow):
    """Eight waits at once are seen only where threads wait; on a fast disk, they would be in each other's way."""
    paths = [f"{i}" for i in range(64)]
    for path in paths:
        write(tmp_path / path)
    monkeypatch.setattr(file_states, "STAT_BLOCK", 4)
    monkeypatch.setattr(file_states, "SLOW_STAT_SECONDS", 0.0 if slow else 1e9)
    state, threads = file_states._state, set()
    together = threading.Barrier(8)

    def waiting(path):
        threads.add(threading.get_ident())
        if slow and path.endswith(("/4", "/8", "/12", "/16", "/20", "/24", "/28", "/32")):
            together.wait(30)
        return state(path)

    monkeypatch.setattr(file_states, "_state", waiting)
    found = digests(tmp_path, paths)
    assert len(threads) >= 8 if slow else len(threads) <= 2
    monkeypatch.undo()
    assert np.array_equal(found, digests(tmp_path, paths))
