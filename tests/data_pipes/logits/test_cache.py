"""Caches of teacher logits: what goes wrong with one is named and mended, and never read. N samples, R of a block."""

import ctypes
import errno
import fcntl
import json
import multiprocessing
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from configs.errors import InputError, UsageError
from data_pipes.logits import cache as logit_cache
from data_pipes.logits import codec as logit_codec
from data_pipes.logits import manifest as logit_manifest
from data_pipes.logits.cache import LogitCache, Place
from data_pipes.logits.codec import Codec

SAMPLES, CLASSES, ROWS, BLOCKS = 50, 7, 16, 4  # the last block has 2 rows
CODECS = [Codec("float32"), Codec("float16"), Codec("top_k", 3)]
FLOAT16 = CODECS[1]
SHA, OTHER_SHA = "3f2a9c1b2d3e" + "0" * 52, "99e1c0ffee11" + "f" * 52
IDENTITY = {
    "plan": {"seed": 7, "crc_32": [1, 2, 3], "spec": {"mixup": 0.2, "zoom": (1, 1), "flip": True}},
    "teacher": {"architecture": "resnet18", "sha256": SHA, "dtype": None},
    "classes": ("Bread", "Dairy", "Dessert", "Egg", "Fried", "Meat", "Rice"),
}
FORK = multiprocessing.get_context("fork")


def create(folder: Path, codec: Codec = FLOAT16, identity=IDENTITY, **shape) -> LogitCache:
    shape = {"samples": SAMPLES, "classes": CLASSES, "codec": codec, "rows_per_block": ROWS, **shape}
    return LogitCache.create(folder, identity, **shape)


def logits(cache: LogitCache, view: int) -> np.ndarray:
    shape = cache.layout.samples, cache.layout.classes
    return np.random.default_rng(view).normal(0, 4, shape).astype(np.float32)


def fill(cache: LogitCache, views=(0, 1), pause: float = 0.0) -> list[tuple[int, int]]:
    """What train.cache does; the blocks that were computed."""
    made = []
    for view in views:
        for block in cache.missing(view):
            with cache.claim(view, block) as ours:
                if ours:
                    time.sleep(pause)
                    cache.write(view, block, logits(cache, view)[cache.blocks[block]])
                    made.append((view, block))
        cache.finish(view)
    return made


def tree(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != "locks")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def block_file(folder: Path, view: int, block: int) -> Path:
    return folder / f"view-{view:04d}" / f"block-{block:05d}.logits"


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> Path:
    """A cache of two complete views; not to be changed."""
    folder = tmp_path_factory.mktemp("uninterrupted") / "cache"
    fill(create(folder))
    return folder


@pytest.fixture
def folder(tmp_path, uninterrupted) -> Path:
    """A copy of it."""
    return shutil.copytree(uninterrupted, tmp_path / "cache")


@pytest.fixture
def whole(uninterrupted) -> dict[str, bytes]:
    """Its files."""
    return tree(uninterrupted)


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


def test_the_manifest_says_what_it_is(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    shape = {name: manifest[name] for name in ("format", "samples", "classes", "codec", "rows_per_block")}
    codec = {"kind": "float16", "k": 0}
    assert shape == {"format": 1, "samples": 50, "classes": 7, "codec": codec, "rows_per_block": 16}
    assert manifest["identity"]["teacher"] == IDENTITY["teacher"]
    view = json.loads((folder / "view-0001.json").read_text())
    assert view["view"] == 1 and view["key"] == manifest["key"] and len(view["crc_32"]) == BLOCKS


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"samples": 0}, "samples is 0"),
        ({"rows_per_block": 5}, "rows_per_block is 5"),
        ({"classes": 3}, "classes is 3"),
    ],
)
def test_a_shape_that_cannot_be_is_refused(tmp_path, change, message):
    with pytest.raises(UsageError, match=message):
        create(tmp_path, CODECS[2], **change)
    assert tree(tmp_path) == {}


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


# ---- identities


def changed(**leaves) -> dict:
    """IDENTITY with some leaves replaced; `__` stands for a dot."""
    identity = json.loads(json.dumps(IDENTITY))
    for name, value in leaves.items():
        *path, last = name.split("__")
        owner = identity
        for key in path:
            owner = owner[key]
        owner[last] = value
    return identity


@pytest.mark.parametrize(
    ("identity", "message"),
    [
        (changed(plan__seed=8), "plan.seed: the cache has 7, this run has 8."),
        (changed(plan__spec__mixup=0.4), "plan.spec.mixup: the cache has 0.2, this run has 0.4."),
        (changed(plan__spec__flip=1), "plan.spec.flip: the cache has true, this run has 1."),
        (changed(plan__crc_32=[1, 5, 6]), "plan.crc_32[1]: the cache has 2, this run has 5."),
        (changed(plan__crc_32=[1, 2]), "plan.crc_32[2]: the cache has 3, this run has nothing."),
        (changed(plan__new="x"), "plan.new: the cache has nothing, this run has 'x'."),
        (changed(teacher__dtype="bfloat16"), "teacher.dtype: the cache has null, this run has 'bfloat16'."),
        (
            changed(teacher__sha256=OTHER_SHA),
            "teacher.sha256: the cache has '3f2a9c1b2d3e…', this run has '99e1c0ffee11…'.",
        ),
        (
            changed(teacher__sha256=SHA[:-3] + "abc"),
            "teacher.sha256: the cache has '…000', this run has '…abc'.",
        ),
        (
            changed(classes=["Bread", "Dairy", "Egg", "Dessert", "Fried", "Meat", "Rice"]),
            "classes[2]: the cache has 'Dessert', this run has 'Egg'.",
        ),
        (changed(teacher=None), 'teacher: the cache has {"architectu…, this run has null.'),
        (
            changed(plan__seed=8, teacher__architecture="vit"),
            "plan.seed: the cache has 7, this run has 8; "
            "teacher.architecture: the cache has 'resnet18', this run has 'vit'.",
        ),
    ],
)
@pytest.mark.parametrize("use", [LogitCache.open, create])
def test_another_identity_is_refused_field_by_field(folder, identity, message, use):
    with pytest.raises(InputError) as refusal:
        use(folder, identity=identity)
    start, end = f"{folder} holds teacher logits of something else; ", " Choose another folder, or delete this one and "
    assert str(refusal.value).startswith(f"{start}{message}{end}")


def test_equal_identities_are_equal_however_they_are_written(folder):
    same = changed(plan__seed=7.0)
    same["plan"]["spec"]["zoom"] = [1.0, 1]
    for identity in (IDENTITY, same, dict(reversed(same.items()))):
        assert LogitCache.open(folder, identity).damage([0]) == {} == create(folder, identity=identity).damage([0])


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ({"samples": 51}, "samples: the cache has 50, this run has 51"),
        ({"classes": 8}, "classes: the cache has 7, this run has 8"),
        ({"codec": CODECS[0]}, "codec.kind: the cache has 'float16', this run has 'float32'"),
        ({"codec": CODECS[2]}, "codec.kind: the cache has 'float16', this run has 'top_k'; codec.k: the cache has 0"),
    ],
)
def test_another_shape_is_refused(folder, shape, message):
    with pytest.raises(InputError, match=re.escape(message)):
        create(folder, **shape)


def test_a_cache_keeps_the_length_of_its_blocks(folder):
    assert create(folder, rows_per_block=2).blocks == create(folder).blocks


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(JSON, JSON)
def test_differences_are_empty_for_equal_values_only(one, other):
    assert logit_manifest.differences(one, json.loads(json.dumps(one))) == []
    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert same or one == other or logit_manifest.differences(one, other) != []


# ---- manifests


def without_manifest(path: Path) -> str:
    path.unlink()
    return "holds no cache of teacher logits; `python -m train.cache` makes one"


def truncated(path: Path) -> str:
    os.truncate(path, path.stat().st_size - 5)
    return "manifest.json is damaged: cannot be read .*Delete it and run"


def emptied(path: Path) -> str:
    os.truncate(path, 0)
    return "manifest.json is damaged: cannot be read"


def endless(path: Path) -> str:
    path.write_text("[" * 100_000)
    return "manifest.json is damaged: cannot be read"


def a_list(path: Path) -> str:
    path.write_text("[1]")
    return "manifest.json is damaged: a list instead of a JSON object"


def rewritten(**values):
    def damage(path: Path) -> str:
        path.write_text(json.dumps({**json.loads(path.read_text()), **values}))
        if "format" in values:
            return f"manifest.json has format {values['format']!r} and this version reads 1; choose another folder"
        return "manifest.json is damaged"

    return damage


MANIFEST_DAMAGE = [
    without_manifest,
    truncated,
    emptied,
    endless,
    a_list,
    rewritten(format=2),
    rewritten(format=None),
    rewritten(samples=52),
    rewritten(samples=-1),
    rewritten(classes="7"),
    rewritten(codec={"kind": "float32", "k": 0}),
    rewritten(codec={"sort": "float32"}),
    rewritten(codec=5),
    rewritten(identity={}),
    rewritten(rows_per_block=18),
    rewritten(key="00" * 32),
    rewritten(more=1),
]


@pytest.mark.parametrize("damage", MANIFEST_DAMAGE)
def test_a_manifest_that_is_missing_damaged_or_newer_is_refused(folder, damage):
    LogitCache.open(folder, IDENTITY)  # negative control
    expected = damage(folder / "manifest.json")
    with pytest.raises(InputError, match=expected):
        LogitCache.open(folder, IDENTITY)
    if damage is not without_manifest:
        with pytest.raises(InputError, match=expected):
            create(folder)


def test_every_wrong_byte_of_a_manifest_is_refused(folder):
    data = (folder / "manifest.json").read_bytes()
    for at in range(len(data)):
        if chr(data[at]).isspace():
            continue
        (folder / "manifest.json").write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        with pytest.raises(InputError):
            LogitCache.open(folder, IDENTITY)


def test_a_manifest_that_was_deleted_is_written_anew(folder):
    before = tree(folder)
    (folder / "manifest.json").unlink()
    assert fill(create(folder)) == [] and tree(folder) == before
    (folder / "manifest.json").unlink()
    other = create(folder, identity=changed(plan__seed=8))
    assert other.damage([0])[Place(0, 2)] == "a block of another cache"


@pytest.mark.parametrize("place", ["nowhere", "file/below"])
def test_where_nothing_is_the_command_is_named(tmp_path, place):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=f"{place} holds no cache of teacher logits; `python -m train.cache` makes"):
        LogitCache.open(tmp_path / place, IDENTITY)


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


def test_another_format_of_blocks_is_another_cache(folder, monkeypatch):
    for module in (logit_cache, logit_codec, logit_manifest):
        monkeypatch.setattr(module, "FORMAT", 2)
    with pytest.raises(InputError, match="has format 1 and this version reads 2"):
        create(folder)


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
    fill(create(folder))


@pytest.mark.parametrize(("point", "calls"), [("flushed", 22), ("rename", 11), ("renamed", 11)])
def test_killed_at_any_step_of_any_file_it_ends_with_the_same_bytes(tmp_path, whole, point, calls):
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
        fill(create(folder))
        assert tree(folder) == whole, f"killed at call {count}"


def fill_slowly(folder: Path) -> None:
    fill(create(folder, rows_per_block=2), pause=0.005)


def test_killed_again_and_again_it_ends_with_the_same_bytes(tmp_path):
    fill(create(tmp_path / "whole", rows_per_block=2))
    folder, draw, kills = tmp_path / "killed", random.Random(0), 0
    while kills < 40:
        child = FORK.Process(target=fill_slowly, args=(folder,))
        child.start()
        child.join(draw.uniform(0.01, 0.06))
        if child.exitcode is not None:
            break
        child.kill()
        child.join()
        kills += 1
    assert kills >= 3, "it ended before it could be killed"
    fill(create(folder))
    assert tree(folder) == tree(tmp_path / "whole")


# ---- several at once


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


def test_two_that_finish_a_view_do_so_in_turn(folder, whole):
    """Otherwise one could remove what the other has half written."""
    ours, theirs = FORK.Pipe()
    child = FORK.Process(target=finish_when_told, args=(folder, theirs), daemon=True)
    child.start()
    theirs.close()
    assert ours.recv() == "about to write"
    done = []
    second = threading.Thread(target=lambda: done.append(create(folder).finish(0)))
    second.start()
    second.join(0.2)
    assert done == []
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


def test_a_folder_that_may_only_be_read_is_read(folder, monkeypatch):
    """The errors are put there because the superuser may write anywhere."""

    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(os, "open", refuse)
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
