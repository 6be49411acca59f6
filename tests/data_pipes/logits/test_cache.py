"""Caches of teacher logits: what goes wrong with one is named and mended, and never read. N samples, R of a block."""

import ctypes
import errno
import json
import multiprocessing
import os
import random
import resource
import shutil
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from configs.errors import InputError
from data_pipes.logits import manifest as logit_manifest
from data_pipes.logits.cache import LogitCache, Place
from small_cache import BLOCKS, CLASSES, CODECS, IDENTITY, SAMPLES, block_file, changed, create, fill, logits, tree

FORK = multiprocessing.get_context("fork")


# ---- sound caches


@pytest.mark.parametrize("codec", CODECS)
def test_what_is_written_is_read(tmp_path, codec):
    cache = create(tmp_path / "new" / "cache", codec)
    assert cache.views == [] and cache.missing(3) == [0, 1, 2, 3] and not cache.finish(3)
    assert fill(cache, [3, 10_000]) == [(view, block) for view in (3, 10_000) for block in range(BLOCKS)]
    reader = LogitCache.open(cache.folder, IDENTITY)
    assert reader.views == [3, 10_000] and reader.missing(3) == [] and reader.damage([3, 10_000]) == {}
    for view in reader.views:
        whole = codec.decode(codec.encode(logits(cache, view)), SAMPLES, CLASSES)
        for found, expected in zip(reader.read(view).arrays, whole.arrays, strict=True):
            assert found.dtype == expected.dtype and np.array_equal(found, expected) and found.flags.writeable
    assert fill(create(cache.folder, codec), [3]) == []
    blocks = [path for name, path in tree(cache.folder).items() if name.startswith("view-0003/")]
    assert reader.nbytes_per_view == sum(map(len, blocks))


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 40), st.integers(2, 9), st.integers(1, 12), st.sampled_from(CODECS), st.data())
def test_any_shape_in_any_order(tmp_path_factory, samples, classes, half, codec, data):
    folder = tmp_path_factory.mktemp("cache")
    if codec.k >= classes:
        codec = CODECS[0]
    cache = create(folder, codec, samples=samples, classes=classes, rows_per_block=2 * half)
    rows = np.concatenate([np.arange(samples)[block] for block in cache.blocks])
    assert rows.tolist() == list(range(samples))
    for block in data.draw(st.permutations(range(len(cache.blocks)))):
        assert not cache.finish(0)
        cache.write(0, block, logits(cache, 0)[cache.blocks[block]].astype(np.float64))
    assert cache.finish(0)
    assert np.array_equal(cache.read(0).dense(), codec.decode(codec.encode(logits(cache, 0)), samples, classes).dense())


def test_foreign_files_are_left_alone(folder):
    before = LogitCache.open(folder, IDENTITY).read(0).dense()
    for name in ("notes.txt", "view-1.json", "view-00001.json", "view-0009.json.bak", "view-0000/block-9.logits"):
        (folder / name).write_text("mine")
    for name in ("view-0000/.block-00000.logits.12ab.partial", "view-0000/block-00009.logits.old", ".view-0000.json.1"):
        (folder / name).write_text("mine")
    cache = create(folder)
    assert cache.views == [0, 1] and cache.missing(0) == [] and cache.damage([0, 1]) == {}
    assert np.array_equal(cache.read(0).dense(), before)


# ---- logits that are not numbers


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_logits_that_are_not_finite_are_refused(tmp_path, codec, value):
    cache = create(tmp_path, codec)
    logit_RK = logits(cache, 0)[cache.blocks[1]].astype(np.float64)
    cache.write(0, 1, logit_RK)  # negative control
    before = tree(tmp_path)
    logit_RK[2, 6] = value
    with pytest.raises(InputError, match="of view 0 are NaN or infinite for 1 samples, at positions 18; nothing of"):
        cache.write(0, 1, logit_RK)
    logit_RK[5:9, 0] = value
    with pytest.raises(InputError, match="for 5 samples, at positions 18, 21, 22, and 2 more"):
        cache.write(0, 1, logit_RK)
    assert tree(tmp_path) == before


def test_a_cache_keeps_the_length_of_its_blocks(folder):
    assert create(folder, rows_per_block=2).blocks == create(folder).blocks


def test_a_manifest_that_was_deleted_is_written_anew(folder):
    before = tree(folder)
    (folder / "manifest.json").unlink()
    assert fill(create(folder)) == [] and tree(folder) == before
    (folder / "manifest.json").unlink()
    other = create(folder, identity=changed(plan__seed=8))
    assert other.damage([0])[Place(0, 2)] == "a block of another cache"


# ---- damage, named and mended


def overwrite(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 4
    path.write_bytes(data)


def flipped(at: int, reason: str):
    def damage(folder: Path, tmp_path: Path) -> dict:
        overwrite(block_file(folder, 0, 2), at)
        return {Place(0, 2): reason}

    return damage


def cut(size: int):
    def damage(folder: Path, tmp_path: Path) -> dict:
        os.truncate(block_file(folder, 1, 3), size)
        return {Place(1, 3): f"{size} bytes instead of 92"}

    return damage


def deleted(folder: Path, tmp_path: Path) -> dict:
    block_file(folder, 0, 0).unlink()
    return {Place(0, 0): "missing"}


def a_whole_view_deleted(folder: Path, tmp_path: Path) -> dict:
    shutil.rmtree(folder / "view-0001")
    return {Place(1, block): "missing" for block in range(BLOCKS)}


def swap(one: Path, other: Path) -> None:
    held = one.with_suffix(".held")
    one.rename(held)
    other.rename(one)
    held.rename(other)


def two_blocks_swapped(folder: Path, tmp_path: Path) -> dict:
    swap(block_file(folder, 0, 0), block_file(folder, 0, 1))
    return {Place(0, 0): "block 1 of view 0, with 16 rows", Place(0, 1): "block 0 of view 0, with 16 rows"}


def two_views_swapped(folder: Path, tmp_path: Path) -> dict:
    swap(folder / "view-0000", folder / "view-0001")
    rows = (16, 16, 16, 2)
    places = [Place(view, block) for view in (0, 1) for block in range(BLOCKS)]
    return {place: f"block {place.block} of view {1 - place.view}, with {rows[place.block]} rows" for place in places}


def of_another_cache(folder: Path, tmp_path: Path) -> dict:
    other = create(tmp_path / "other", identity=changed(plan__seed=8))
    fill(other)
    shutil.copy(block_file(other.folder, 0, 1), block_file(folder, 0, 1))
    return {Place(0, 1): "a block of another cache"}


def of_another_making(folder: Path, tmp_path: Path) -> dict:
    """Sound in itself, and not what the view was declared complete with."""
    cache = create(folder)
    cache.write(0, 1, logits(cache, 5)[cache.blocks[1]])
    return {Place(0, 1): "not the block that view-0000.json names"}


def an_extra_block(folder: Path, tmp_path: Path) -> dict:
    shutil.copy(block_file(folder, 0, 1), block_file(folder, 0, 4))
    block_file(folder, 0, 123_456).write_bytes(b"")
    return {Place(0, 4): "extra: a view has 4 blocks", Place(0, 123_456): "extra: a view has 4 blocks"}


def view_manifests_swapped(folder: Path, tmp_path: Path) -> dict:
    swap(folder / "view-0000.json", folder / "view-0001.json")
    return {Place(0, None): "view is 1 and should be 0", Place(1, None): "view is 0 and should be 1"}


def a_view_manifest(reason: str, content: str | None = None, **values):
    def damage(folder: Path, tmp_path: Path) -> dict:
        path = folder / "view-0001.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **values}) if content is None else content)
        return {Place(1, None): reason}

    return damage


def the_view_manifest_of_another_cache(folder: Path, tmp_path: Path) -> dict:
    fill(create(tmp_path / "other", identity=changed(plan__seed=8)))
    shutil.copy(tmp_path / "other" / "view-0001.json", folder)
    found, right = (json.loads((path / "manifest.json").read_text())["key"] for path in (tmp_path / "other", folder))
    return {Place(1, None): f"key is '{found}' and should be '{right}'"}


def wrong_checksums(folder: Path, tmp_path: Path) -> dict:
    a_view_manifest("", crc_32=[None, "x", [], -1])(folder, tmp_path)
    return {Place(1, block): "not the block that view-0001.json names" for block in range(BLOCKS)}


DAMAGE = [
    flipped(0, "not a block of format 1"),
    flipped(8, "not a block of format 1"),
    flipped(12, "a block of another cache"),
    flipped(43, "a block of another cache"),
    flipped(44, "block 2 of view 4, with 16 rows"),
    flipped(52, "block 6 of view 0, with 16 rows"),
    flipped(56, "block 2 of view 0, with 20 rows"),
    flipped(60, "the checksum differs"),
    flipped(64, "the checksum differs"),
    flipped(-1, "the checksum differs"),
    cut(0),
    cut(63),
    cut(64),
    cut(91),
    cut(93),
    deleted,
    a_whole_view_deleted,
    two_blocks_swapped,
    two_views_swapped,
    of_another_cache,
    of_another_making,
    an_extra_block,
    view_manifests_swapped,
    a_view_manifest("cannot be read (Expecting value: line 1 column 1 (char 0))", ""),
    a_view_manifest("a int instead of a JSON object", "5"),
    a_view_manifest("format is 2 and should be 1", format=2),
    a_view_manifest("not a manifest of 4 blocks", crc_32=[1, 2, 3]),
    a_view_manifest("not a manifest of 4 blocks", crc_32="1234"),
    the_view_manifest_of_another_cache,
    wrong_checksums,
]


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_named_and_mended_and_never_read(folder, tmp_path, damage):
    sound, before = create(folder), tree(folder)
    assert sound.damage(sound.views) == {}  # negative control
    expected = damage(folder, tmp_path)
    reader = LogitCache.open(folder, IDENTITY)
    assert reader.views == [0, 1] and reader.damage([0, 1]) == expected
    for view in (0, 1):
        own = {place: reason for place, reason in expected.items() if place.view == view}
        if not own:
            reader.read(view)
            continue
        with pytest.raises(InputError) as refusal:
            reader.read(view)
        text = str(refusal.value)
        assert f"{folder} is damaged in {len(own)} files of view {view}: view-000{view}" in text
        assert text.endswith("`python -m train.cache ... --repair` mends it")
        assert all(reason in text for reason in list(own.values())[:3])
        assert ("and 1 more" in text) == (len(own) == 4)
    writer = create(folder)
    writer.discard(expected)
    bad = sorted(place for place in expected if place.block is not None and place.block < BLOCKS)
    assert fill(writer) == bad and tree(folder) == before, "only what was bad is made again"
    assert reader.damage([0, 1]) == {}


def test_a_block_that_was_cut_short_is_missing(folder, whole):
    os.truncate(block_file(folder, 1, 3), 91)
    assert create(folder).missing(1) == [3] and not create(folder).finish(1)
    assert fill(create(folder)) == [(1, 3)] and tree(folder) == whole


def test_blocks_and_positions_are_named(folder):
    for block in (1, 3):
        overwrite(block_file(folder, 0, block), -1)
    with pytest.raises(InputError) as refusal:
        create(folder).read(0)
    assert str(refusal.value) == (
        f"{folder} is damaged in 2 files of view 0: "
        "view-0000/block-00001.logits (block 1, positions 16 to 31): the checksum differs; "
        "view-0000/block-00003.logits (block 3, positions 48 to 49): the checksum differs. "
        "`python -m train.cache ... --repair` mends it"
    )


def test_a_folder_in_place_of_a_block_is_named(folder):
    block_file(folder, 0, 1).unlink()
    block_file(folder, 0, 1).mkdir()
    assert create(folder).damage([0]) == {Place(0, 1): "Is a directory"}


def test_a_view_is_not_declared_complete_with_a_damaged_block(folder):
    cache = create(folder)
    overwrite(block_file(folder, 0, 1), -1)
    (folder / "view-0000.json").unlink()
    assert cache.missing(0) == [] and not cache.finish(0) and cache.views == [1]
    assert cache.damage([0]) == {Place(0, None): "missing", Place(0, 1): "the checksum differs"}
    with pytest.raises(InputError, match=r"has views \[1\] and no view 0; `python -m train.cache` makes one"):
        cache.read(0)


def test_a_view_without_its_blocks_is_not_complete_for_a_moment(folder, monkeypatch):
    seen = []
    unlink = Path.unlink
    monkeypatch.setattr(Path, "unlink", lambda self, **rest: (seen.append(self.name), unlink(self, **rest)))
    create(folder).discard([(0, 1)])
    assert seen == ["view-0000.json", "block-00001.logits"]


# ---- processes that are killed


def fill_until_killed(folder: Path, point: str, count: int) -> None:
    calls = 0

    def dying(call, *, after: bool):
        def wrapped(*arguments):
            nonlocal calls
            calls += 1
            value = call(*arguments) if calls < count or after else None
            if calls == count:
                os.kill(os.getpid(), signal.SIGKILL)
            return value

        return wrapped

    if point == "flushed":
        os.fsync = dying(os.fsync, after=True)
    else:
        Path.replace = dying(Path.replace, after=point == "renamed")
    fill(create(folder, samples=20), [0])


@pytest.mark.parametrize(("point", "calls"), [("flushed", 8), ("rename", 4), ("renamed", 4)])
def test_killed_at_any_step_of_any_file_it_ends_with_the_same_bytes(tmp_path, point, calls):
    """Four files: the manifest of the cache, two blocks, the manifest of the view."""
    fill(create(tmp_path / "whole", samples=20), [0])
    whole = tree(tmp_path / "whole")
    assert len(whole) == 4
    for count in range(1, calls + 2):
        folder = tmp_path / f"{point}-{count}"
        child = FORK.Process(target=fill_until_killed, args=(folder, point, count))
        child.start()
        child.join()
        assert child.exitcode == (-signal.SIGKILL if count <= calls else 0)
        partial = [name for name in tree(folder) if name.endswith(".partial")]
        assert len(partial) == (point != "renamed" and count <= calls and (point == "rename" or count % 2 == 1))
        if (folder / "manifest.json").exists():
            assert LogitCache.open(folder, IDENTITY).damage(LogitCache.open(folder, IDENTITY).views) == {}
        fill(create(folder, samples=20), [0])
        assert tree(folder) == whole, f"killed at call {count}"


def fill_slowly(folder: Path) -> None:
    fill(create(folder, samples=24, rows_per_block=2), pause=0.01)


def test_killed_again_and_again_it_ends_with_the_same_bytes(tmp_path):
    fill(create(tmp_path / "whole", samples=24, rows_per_block=2))
    folder, draw, kills = tmp_path / "killed", random.Random(0), 0
    while kills < 40:
        child = FORK.Process(target=fill_slowly, args=(folder,))
        child.start()
        child.join(draw.uniform(0.005, 0.04))
        if child.exitcode is not None:
            break
        child.kill()
        child.join()
        kills += 1
    assert kills >= 3, "it ended before it could be killed"
    fill(create(folder, samples=24, rows_per_block=2))
    assert tree(folder) == tree(tmp_path / "whole")


def test_a_folder_that_may_only_be_read_is_read(folder, monkeypatch):
    """The errors are put there because the superuser may write anywhere."""

    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    really = os.open
    writing = os.O_WRONLY | os.O_RDWR | os.O_CREAT
    monkeypatch.setattr(os, "open", lambda path, flags, *_: refuse() if flags & writing else really(path, flags))
    monkeypatch.setattr(logit_manifest, "write_atomically", refuse)
    for cache in (LogitCache.open(folder, IDENTITY), create(folder)):
        assert len(cache.read(0)) == SAMPLES and fill_only_missing(cache) == []


def fill_only_missing(cache: LogitCache) -> list[int]:
    return [block for view in cache.views for block in cache.missing(view)]


# ---- disks


def fill_limited(folder: Path, connection) -> None:
    cache = create(folder)
    fill(cache, [0])
    cache.write(1, 0, logits(cache, 1)[cache.blocks[0]])
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200))  # less than the 288 bytes of a block
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        fill(cache)
    except OSError as error:
        connection.send((error.errno, error.filename, tree(folder)))


def test_a_file_that_cannot_grow_is_a_clean_error(tmp_path, whole):
    """The limit of the kernel, so that the real write fails: EFBIG, as ENOSPC and EDQUOT would."""
    ours, theirs = FORK.Pipe()
    folder = tmp_path / "cache"
    child = FORK.Process(target=fill_limited, args=(folder, theirs))
    child.start()
    theirs.close()
    code, name, left = ours.recv()
    child.join()
    assert child.exitcode == 0 and code == errno.EFBIG and name == str(block_file(folder, 1, 1))
    assert set(left) == {name for name in whole if not name.startswith("view-0001")} | {"view-0001/block-00000.logits"}
    cache = create(folder)
    assert cache.views == [0] and cache.missing(1) == [1, 2, 3] and cache.damage([0]) == {}
    assert fill(cache) == [(1, 1), (1, 2), (1, 3)] and tree(folder) == whole


def fill_small_disk(disk: Path, connection) -> None:
    """In name space of its own, so that the mount goes with the process. 48 kB are 12 small files."""
    clone_newns = 0x20000
    words = ["mount --make-rprivate /", f"mount -t tmpfs -o size=48k none {disk}"]
    able = ctypes.CDLL(None).unshare(clone_newns) == 0 and all(subprocess.call(word.split()) == 0 for word in words)
    connection.send(able)
    if not able:
        return
    try:
        fill(create(disk / "cache"), range(4))
    except OSError as error:
        connection.send((error.errno, error.filename, tree(disk)))
    cache = create(disk / "cache")
    connection.send((cache.views, cache.missing(2), cache.damage(cache.views)))
    subprocess.check_call(["mount", "-o", "remount,size=1m", disk])
    connection.send((fill(cache, range(4)), tree(cache.folder)))


def test_a_full_disk_costs_one_block(tmp_path):
    ours, theirs = FORK.Pipe()
    disk = tmp_path / "disk"
    disk.mkdir()
    child = FORK.Process(target=fill_small_disk, args=(disk, theirs))
    child.start()
    theirs.close()
    if not ours.recv():
        pytest.skip("this user may not mount")
    code, name, left = ours.recv()
    assert code == errno.ENOSPC and name == str(block_file(disk / "cache", 2, 1))
    assert not [name for name in left if name.endswith(".partial")]
    assert ours.recv() == ([0, 1], [1, 2, 3], {})
    made, files = ours.recv()
    child.join()
    fill(create(tmp_path / "whole"), range(4))
    assert made == [(2, 1), (2, 2), (2, 3), (3, 0), (3, 1), (3, 2), (3, 3)]
    assert files == tree(tmp_path / "whole") and not list(disk.iterdir())
