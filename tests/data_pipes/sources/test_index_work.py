"""One pass over many files, shared out, stopped and killed; blocks of four files here."""

from __future__ import annotations

import multiprocessing
import os
import signal
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from configs import stopping
from configs.stopping import StoppedError
from data_pipes.sources import examination, index, index_work

COUNT, BLOCK = 24, 4
fork = multiprocessing.get_context("fork")


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("HEARTCUT_CACHE", str(folder))
    monkeypatch.setattr(index_work, "FILES_PER_BLOCK", BLOCK)
    monkeypatch.setattr(index_work, "WAIT_SECONDS", 0.01)
    return folder


@pytest.fixture
def images(tmp_path) -> tuple[Path, list[str]]:
    root = tmp_path / "images"
    root.mkdir()
    for i in range(COUNT):
        Image.new("RGB", (8 + i, 6)).save(root / f"{i}.png")
    return root, [f"{i}.png" for i in range(COUNT)]


@pytest.fixture
def seen(tmp_path, monkeypatch) -> Path:
    """A file with a line for each file that any process examined."""
    log, examine = tmp_path / "seen", examination.examine
    log.touch()

    def noted(path: Path):
        with log.open("a") as file:
            file.write(f"{os.getpid()} {path.name}\n")
        return examine(path)

    monkeypatch.setattr(examination, "examine", noted)
    return log


def names(log: Path) -> list[str]:
    return [line.split()[1] for line in log.read_text().splitlines()]


def require_whole(table: index.Index) -> None:
    assert table.ok.all() and table.size_N2.tolist() == [[6, 8 + i] for i in range(COUNT)]


def in_process(work, *arguments) -> int | None:
    process = fork.Process(target=work, args=arguments)
    process.start()
    process.join()
    return process.exitcode


def scan_and_die(root: Path, paths: list[str], files: int) -> None:
    examine, left = examination.examine, iter(range(files))

    def dying(path: Path):
        if next(left, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)
        return examine(path)

    examination.examine = dying
    index.scan(root, paths, 1)


def test_a_pass_goes_on_where_a_killed_process_was(cache, images, seen):
    assert in_process(scan_and_die, *images, 2 * BLOCK + 1) == -signal.SIGKILL
    before = names(seen)
    assert len(before) == 2 * BLOCK + 1
    require_whole(index.scan(*images, 1))
    again = names(seen)[len(before) :]
    assert len(again) == COUNT - 2 * BLOCK and not set(again) & set(before[: 2 * BLOCK])
    assert [path.suffix for path in cache.iterdir()] == [".npz"]
    seen.write_text("")
    require_whole(index.scan(*images, 1))
    assert names(seen) == []


def test_a_killed_pass_is_of_use_after_files_were_added(cache, images, seen):
    in_process(scan_and_die, *images, 2 * BLOCK + 1)
    before = names(seen)[: 2 * BLOCK]
    root, paths = images
    Image.new("RGB", (5, 5)).save(root / "new.png")
    seen.write_text("")
    assert index.scan(root, ["new.png", *paths], 1).ok.all()
    assert sorted(names(seen)) == sorted({"new.png", *paths} - set(before))


def wait_and_scan(barrier, root: Path, paths: list[str]) -> None:
    barrier.wait()
    require_whole(index.scan(root, paths, 1))


@pytest.mark.parametrize("locks", [True, False])
def test_processes_share_a_pass(cache, images, seen, monkeypatch, locks):
    """Where files cannot be locked, a file may be examined twice, and the result is the same."""
    if not locks:
        monkeypatch.setattr(index_work.ByteLocks, "_take", lambda *_: None)
    barrier = fork.Barrier(3)
    workers = [fork.Process(target=wait_and_scan, args=(barrier, *images)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert set(names(seen)) == set(images[1])
    assert not locks or len(names(seen)) == COUNT
    assert not list(cache.glob("*.parts"))


def test_published_work_is_done_by_others(cache, images, seen):
    own = index.Pass.over(*images)
    folder = own.publish()
    assert folder is not None and in_process(index.assist, folder, 1) == 0
    assert sorted(names(seen)) == sorted(images[1])
    require_whole(own.run(1))
    assert len(names(seen)) == COUNT  # control: nothing was examined again
    assert own.publish() is None
    index.assist(folder)  # it is gone


def test_names_of_any_bytes_are_published(cache, images):
    root, paths = images
    odd = os.fsdecode(b"line\nbreak \xff.png")
    (root / odd).write_bytes((root / paths[0]).read_bytes())
    work = index_work.Work.open(index.Pass.over(root, [*paths, odd]).publish())
    assert work.root == root and work.paths == [*paths, odd] and work.count == COUNT + 1


def test_a_request_to_stop_ends_a_pass_that_then_goes_on(cache, images, seen, monkeypatch):
    monkeypatch.setattr(stopping, "requested", lambda: "SIGTERM was received" if len(names(seen)) >= BLOCK else None)
    with pytest.raises(StoppedError, match="SIGTERM was received"):
        index.scan(*images, 1)
    assert len(names(seen)) == BLOCK
    monkeypatch.setattr(stopping, "requested", lambda: None)
    require_whole(index.scan(*images, 1))
    assert len(names(seen)) == COUNT


def test_a_file_that_could_not_be_opened_is_tried_again(cache, images, seen):
    root, paths = images
    data = (root / paths[5]).read_bytes()
    (root / paths[5]).unlink()
    (root / paths[5]).symlink_to(root / "elsewhere")
    assert np.flatnonzero(~index.scan(root, paths, 1).ok).tolist() == [5]
    seen.write_text("")
    assert np.flatnonzero(~index.scan(root, paths, 1).ok).tolist() == [5]
    assert names(seen) == [paths[5]]  # and no other one
    (root / paths[5]).unlink()
    (root / paths[5]).write_bytes(data)
    require_whole(index.scan(root, paths, 1))
    seen.write_text("")
    require_whole(index.scan(root, paths, 1))
    assert names(seen) == []


def test_a_block_with_a_file_that_could_not_be_opened_is_done_again(cache, images, seen):
    root, paths = images
    own = index.Pass.over(root, paths)
    (root / paths[5]).chmod(0)
    (root / paths[5]).rename(root / "away")
    index.assist(own.publish(), 1)
    (root / "away").rename(root / paths[5])
    (root / paths[5]).chmod(0o644)
    require_whole(own.run(1))
    assert names(seen)[COUNT:] == [paths[5]]


def test_a_damaged_block_is_done_again(cache, images, seen):
    own = index.Pass.over(*images)
    folder = own.publish()
    index.assist(folder, 1)
    (folder / "00002.npz").write_bytes(b"half")
    require_whole(own.run(1))
    assert sorted(names(seen)[COUNT:]) == sorted(images[1][2 * BLOCK : 3 * BLOCK])


def test_a_full_disk_costs_the_memory_of_the_pass_alone(cache, images, monkeypatch, caplog):
    def full(*_args, **_columns):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    require_whole(index.scan(*images, 1))
    assert "No space left" in caplog.text
