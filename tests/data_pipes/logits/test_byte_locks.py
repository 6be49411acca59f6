"""Locks on bytes of a file, and caches that several processes fill by them."""

import errno
import fcntl
import multiprocessing
import os
import signal
import sys
import threading
from pathlib import Path

import pytest

from data_pipes.logits import byte_locks
from data_pipes.logits import manifest as logit_manifest
from data_pipes.logits.byte_locks import ByteLocks
from small_cache import BLOCKS, create, fill, tree

FORK = multiprocessing.get_context("fork")


def hold_byte(path: Path, connection) -> None:
    with ByteLocks(path).hold(5) as held:
        connection.send(held)
        connection.recv()


def test_a_byte_is_locked_for_other_processes_until_its_holder_ends(tmp_path):
    ours, theirs = FORK.Pipe()
    child = FORK.Process(target=hold_byte, args=(tmp_path / "below" / "locks", theirs), daemon=True)
    child.start()
    theirs.close()
    locks = ByteLocks(tmp_path / "below" / "locks")
    assert ours.recv() is True
    with locks.hold(5) as held, locks.hold(4) as other:
        assert held is False and other is True
    child.kill()
    child.join()
    with locks.hold(5) as held:
        assert held is True


def test_a_byte_is_free_again_after_use_and_after_an_error(tmp_path):
    locks = ByteLocks(tmp_path / "locks")
    with pytest.raises(KeyError), locks.hold(5):
        raise KeyError
    ours, theirs = FORK.Pipe()
    child = FORK.Process(target=hold_byte, args=(tmp_path / "locks", theirs), daemon=True)
    child.start()
    theirs.close()
    assert ours.recv() is True
    ours.send("end")
    child.join()
    assert child.exitcode == 0


@pytest.mark.parametrize("held", [True, False, None])
def test_only_the_holder_of_a_lock_sweeps(tmp_path, held):
    left, other = tmp_path / ".a.logits.12.partial", tmp_path / ".b.logits.12.partial"
    for file in (left, other, tmp_path / "a.logits"):
        file.write_bytes(b"half")
    byte_locks.sweep(tmp_path / "a.logits", held)
    assert left.exists() is (held is not True)
    assert other.exists() and (tmp_path / "a.logits").exists()


# ---- caches that several processes fill


def fill_and_tell(folder: Path, gate, connection, locked: bool) -> None:
    if not locked:
        fcntl.lockf = refuse_locks
    gate.wait()
    connection.send(fill(create(folder), pause=0.01))


def refuse_locks(*_):
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))


def side_by_side(folder: Path, count: int, locked: bool) -> list[list[tuple[int, int]]]:
    gate, pipes = FORK.Barrier(count), [FORK.Pipe() for _ in range(count)]
    children = [FORK.Process(target=fill_and_tell, args=(folder, gate, theirs, locked)) for _, theirs in pipes]
    for child in children:
        child.start()
    for _, theirs in pipes:
        theirs.close()  # so that a child that fails is an error here and not a wait
    made = [ours.recv() for ours, _ in pipes]
    for child in children:
        child.join()
        assert child.exitcode == 0
    return made


@pytest.mark.parametrize("locked", [True, False])
def test_processes_share_the_work(tmp_path, whole, locked):
    made = side_by_side(tmp_path / "shared", 3, locked)
    assert tree(tmp_path / "shared") == whole
    count = sum(map(len, made))
    assert count == 2 * BLOCKS if locked else count > 2 * BLOCKS  # control: without locks work is done twice
    assert {place for places in made for place in places} == {(v, b) for v in (0, 1) for b in range(BLOCKS)}


def hold(folder: Path, connection) -> None:
    cache = create(folder)
    with cache.claim(0, 3):
        pass
    with cache.claim(0, 1) as ours:
        (folder / "view-0000").mkdir(exist_ok=True)
        (folder / "view-0000" / ".block-00001.logits.0123.partial").write_bytes(b"half")
        connection.send(ours)
        signal.pause()


def test_the_claim_of_a_killed_process_is_free_and_what_it_left_is_removed(tmp_path):
    ours, theirs = FORK.Pipe()
    child = FORK.Process(target=hold, args=(tmp_path, theirs), daemon=True)
    child.start()
    theirs.close()
    assert ours.recv()
    cache = create(tmp_path)
    leftover = tmp_path / "view-0000" / ".block-00001.logits.0123.partial"
    with cache.claim(0, 1) as held:
        assert not held and leftover.exists(), "its writer is alive"
    for other in ((0, 0), (0, 2), (0, 3), (1, 1)):
        with cache.claim(*other) as held:
            assert held, "never claimed, or given back"
    child.kill()
    child.join()
    assert leftover.exists() and cache.missing(0) == [0, 1, 2, 3]
    with cache.claim(0, 1) as held:
        assert held and not leftover.exists()


def finish_when_told(folder: Path, connection) -> None:
    write = logit_manifest.write_atomically

    def wait_and_write(*arguments) -> None:
        connection.send("about to write")
        connection.recv()
        write(*arguments)

    cache = create(folder)
    logit_manifest.write_atomically = wait_and_write
    connection.send(cache.finish(0))


def test_two_that_finish_a_view_do_so_in_turn(folder, whole, monkeypatch):
    """Otherwise one could remove what the other has half written."""
    ours, theirs = FORK.Pipe()
    child = FORK.Process(target=finish_when_told, args=(folder, theirs), daemon=True)
    child.start()
    theirs.close()
    assert ours.recv() == "about to write"
    done, cache = [], create(folder)
    waiting, lockf = threading.Event(), fcntl.lockf

    def told(*arguments) -> None:
        waiting.set()
        lockf(*arguments)

    monkeypatch.setattr(fcntl, "lockf", told)
    second = threading.Thread(target=lambda: done.append(cache.finish(0)))
    second.start()
    assert waiting.wait(10) and done == []
    ours.send("go on")
    second.join(10)
    assert done == [True] and ours.recv() is True and tree(folder) == whole
    child.join()


def test_a_block_that_another_process_made_meanwhile_is_not_made_again(tmp_path):
    cache = create(tmp_path)
    lacking = cache.missing(0)
    fill(create(tmp_path))
    for block in lacking:
        with cache.claim(0, block) as ours:
            assert not ours


@pytest.mark.parametrize("why", ["no module", "no locks", "read only"])
def test_where_nothing_can_be_locked_the_work_is_done(tmp_path, whole, monkeypatch, why):
    if why == "no module":  # Windows
        monkeypatch.setitem(sys.modules, "fcntl", None)
    elif why == "no locks":
        monkeypatch.setattr(fcntl, "lockf", refuse_locks)
    else:
        (tmp_path / "cache" / "locks").mkdir(parents=True)
    cache = create(tmp_path / "cache")
    leftover = tmp_path / "cache" / "view-0000" / ".block-00001.logits.0123.partial"
    leftover.parent.mkdir()
    leftover.write_bytes(b"half")
    fill(cache)
    assert leftover.exists(), "its writer may be alive: without a lock nobody knows"
    leftover.unlink()
    assert tree(cache.folder) == whole
