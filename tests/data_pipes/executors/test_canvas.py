"""Splits decoded once. N images, H x W pixels, C channels."""

import errno
import fcntl
import hashlib
import io
import json
import logging
import multiprocessing
import os
import random
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import functional as T

import reference
from configs import heartbeat, resources, stopping
from configs.errors import InputError, UsageError
from configs.stopping import StoppedError
from data_pipes.executors import canvas, canvas_file, canvas_writer, choice
from data_pipes.sources import source
from data_pipes.sources.images import FileImages
from data_pipes.sources.index import scan
from data_pipes.sources.samples import Samples
from data_pipes.spec import DataSpec


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("HEARTCUT_CACHE", str(folder))
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    logger = logging.getLogger("data_pipes")
    before = logger.level
    logger.setLevel(logging.NOTSET)  # a run in this process may have set it
    yield folder
    logger.setLevel(before)


def spec(size_HW=(28, 28), channels=1, **changes) -> DataSpec:
    shape = {"source": "digits", "mean": (0.4,) * channels, "std": (0.2,) * channels, "threads": 2}
    return DataSpec(image_size=size_HW, **{**shape, **changes})


def load(config, samples, *words, **named):
    return canvas.load(config, samples, choice.canvas_size(config, samples.common_size), *words, **named)


def squash(config, samples, row_R):
    return canvas.squash(config, samples, row_R, choice.canvas_size(config, samples.common_size))


@pytest.mark.parametrize("side_HW", [(28, 28), (64, 64), (20, 50)])
def test_small_images_of_one_size_are_kept_exactly(side_HW):
    images = np.stack([reference.noise(*side_HW, 1, seed) for seed in range(9)])
    samples = reference.in_memory(images)
    assert np.array_equal(squash(spec(side_HW), samples, np.arange(len(samples))).numpy(), images)
    rgb = squash(spec(side_HW, channels=3), samples, np.arange(len(samples))).numpy()
    assert rgb.shape == (9, *side_HW, 3) and np.array_equal(rgb, np.repeat(images, 3, axis=3))


def test_rows_of_a_selection_come_in_its_order():
    images = np.stack([reference.noise(8, 8, 1, seed) for seed in range(9)])
    chosen = reference.in_memory(images).select(np.array([7, 0, 3]))
    assert np.array_equal(squash(spec(), chosen, np.arange(len(chosen))).numpy(), images[[7, 0, 3]])


def test_squashing_is_torchvisions_resize():
    images = [reference.picture(90, 120, 3, 0), reference.picture(200, 70, 3, 1), reference.picture(15, 15, 3, 2)]
    squashed = squash(spec((40, 30), channels=3), reference.in_memory(images), np.arange(len(images))).numpy()
    assert squashed.shape == (3, 46, 34, 3)
    for image, ours in zip(images, squashed, strict=True):
        theirs = T.resize(torch.from_numpy(image).permute(2, 0, 1), [46, 34], antialias=True).permute(1, 2, 0).numpy()
        assert np.array_equal(ours, theirs)


def test_large_files_are_decoded_at_a_reduced_scale_with_little_loss(tmp_path, monkeypatch):
    stream = io.BytesIO()
    Image.fromarray(reference.picture(600, 900)).save(stream, "JPEG", quality=95)
    (tmp_path / "0.jpg").write_bytes(stream.getvalue())
    table = scan(tmp_path, ("0.jpg",))
    samples = replace(reference.in_memory([reference.noise(600, 900)]), size_N2=table.size_N2, images=table.images())
    asked, whole, read = [], samples.read(0, channels=3), FileImages.read

    def watched(self, row, *, channels, reduce=1):
        asked.append(reduce)
        return read(self, row, channels=channels, reduce=reduce)

    monkeypatch.setattr(FileImages, "read", watched)
    ours = squash(spec((64, 64), channels=3), samples, np.arange(1)).numpy()[0]
    theirs = T.resize(torch.from_numpy(whole).permute(2, 0, 1), [73, 73], antialias=True).permute(1, 2, 0).numpy()
    assert asked == [4] and reference.psnr(ours, theirs) > 45


# ---- arrays


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("own", [1, 3])
@pytest.mark.parametrize("rows", [range(9), [7, 0, 3]])
def test_an_array_is_the_canvas_without_a_file(cache, own, channels, rows):
    images = np.stack([reference.picture(12, 10, own, seed) for seed in range(9)])
    samples = reference.in_memory(images).select(np.array(rows))
    ours = load(spec((12, 10), channels), samples, decode=never)
    assert torch.equal(ours, squash(spec((12, 10), channels), samples, np.arange(len(rows))))
    assert ours.shape == (len(rows), 12, 10, channels) and ours.is_contiguous() and list(cache.iterdir()) == []


def test_a_whole_array_is_not_copied():
    images = np.stack([reference.noise(8, 8, 1, seed) for seed in range(5)])
    samples = reference.in_memory(images)
    assert load(spec((8, 8)), samples).data_ptr() == samples.images.pixel_NHWC.ctypes.data
    assert load(spec((8, 8)), samples.select(np.arange(4))).data_ptr() != samples.images.pixel_NHWC.ctypes.data


@pytest.mark.filterwarnings("error")
def test_an_array_that_may_not_be_written_is_copied():
    """torch cannot protect it; the data sets are read with np.frombuffer."""
    data = reference.noise(40, 8, 1).tobytes()
    samples = reference.in_memory(np.frombuffer(data, np.uint8).reshape(5, 8, 8, 1))
    load(spec((8, 8)), samples)[:] = 0
    assert samples.images.pixel_NHWC.any()


def test_a_large_array_is_squashed_and_not_kept(cache, monkeypatch):
    monkeypatch.setattr(canvas, "KEPT_FROM", 1)
    samples = reference.in_memory(np.stack([reference.noise(64, 64, 1, seed) for seed in range(9)]))
    ours = load(spec((20, 20)), samples)
    assert torch.equal(ours, squash(spec((20, 20)), samples, np.arange(9))) and list(cache.iterdir()) == []


# ---- files

COUNT = 40
PHOTO = spec((12, 10), channels=3)  # canvas 14 x 11


def never(row_R):
    raise AssertionError("decoded")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("photographs")
    for i in range(COUNT):
        Image.fromarray(reference.picture(20 + i % 5, 30 - i % 7, 3, i)).save(root / f"{i:02}.png")
    return root


def photographs(root: Path) -> Samples:
    """Every file of a folder."""
    paths = tuple(sorted(path.name for path in root.iterdir()))
    table = scan(root, paths, 1)
    n = len(paths)
    return Samples(
        split="train",
        classes=("a", "b"),
        key_N=paths,
        label_N=np.arange(n) % 2,
        size_N2=table.size_N2,
        row_N=np.arange(n),
        images=table.images(),
    )


@pytest.fixture
def samples(folder, monkeypatch) -> Samples:
    """A split of photographs that is worth keeping, in six blocks."""
    monkeypatch.setattr(canvas, "KEPT_FROM", COUNT)
    monkeypatch.setattr(canvas_file, "BLOCK_ROWS", 7)
    return photographs(folder)


@pytest.fixture
def right(samples) -> torch.Tensor:
    return squash(PHOTO, samples, np.arange(COUNT))


def kept(cache: Path, suffix: str = ".pixels") -> Path:
    (file,) = cache.glob(f"canvas-*{suffix}")
    return file


def test_the_second_load_decodes_nothing(samples, right, cache, caplog):
    caplog.set_level(logging.INFO)
    assert torch.equal(load(PHOTO, samples), right)
    assert "canvas: 40 images of 14 x 11 decoded in" in caplog.text and f"kept in {kept(cache)}" in caplog.text
    with pytest.raises(AssertionError, match="decoded"):  # negative control: another decoder's name misses the file
        load(PHOTO, samples, never, "another decoder")
    again = load(PHOTO, samples, never)
    assert torch.equal(again, right) and again.is_contiguous()
    assert f"canvas: 40 images of 14 x 11 read from {kept(cache)} in" in caplog.text
    assert {record.levelname for record in caplog.records} == {"INFO"}


def test_a_load_ends_when_it_is_asked_to_stop_and_the_next_one_sweeps(samples, right, cache, monkeypatch):
    old, young = cache / ".canvas-0a.pixels.0123abcd.partial", cache / ".canvas-0b.pixels.0123abcd.partial"
    for path in (old, young):  # of other data sets
        path.touch()
    os.utime(old, (0, 0))
    with monkeypatch.context() as patch, pytest.raises(StoppedError, match="SIGTERM was received"):
        patch.setattr(stopping, "_asked", ["SIGTERM was received"])
        load(PHOTO, samples, never)
    assert [path.name for path in cache.glob(".*.partial")] == [young.name]
    assert torch.equal(load(PHOTO, samples), right)  # the control


def test_a_decoder_that_is_passed_in_decodes(samples, right):
    blocks = []

    def decode(row_R):
        blocks.append(row_R.tolist())
        return 255 - right[row_R]

    assert torch.equal(load(PHOTO, samples, decode, "inverted"), 255 - right)
    assert [row for block in blocks for row in block] == list(range(COUNT)) and len(blocks) == 6
    assert torch.equal(load(PHOTO, samples), right), "two decoders have two canvases"


@pytest.mark.parametrize("wrong", [lambda block: block.float(), lambda block: block[:-1], lambda block: block[:1]])
def test_what_a_decoder_returns_is_not_converted(samples, right, wrong):
    with pytest.raises(AssertionError):
        load(PHOTO, samples, lambda row_R: wrong(right[row_R]))


@pytest.mark.parametrize(
    "changed",
    [spec((12, 12), channels=3), spec((12, 10), channels=1), spec((12, 10), channels=3, canvas_scale=1.5)],
)
def test_another_shape_is_another_canvas(samples, changed):
    load(PHOTO, samples)
    with pytest.raises(AssertionError, match="decoded"):
        load(changed, samples, never)
    ours = load(changed, samples)
    assert torch.equal(ours, squash(changed, samples, np.arange(COUNT)))
    load(replace(PHOTO, threads=1, mean=(0.1,) * 3), samples, never)  # negative control: the pixels are the same


def test_the_order_of_the_samples_is_part_of_the_key(samples, right):
    load(PHOTO, samples)
    turned = samples.select(np.arange(COUNT)[::-1].copy())
    with pytest.raises(AssertionError, match="decoded"):
        load(PHOTO, turned, never)
    assert torch.equal(load(PHOTO, turned), right.flip(0))


def test_the_content_of_a_file_is_part_of_the_key(samples, right, folder, tmp_path):
    load(PHOTO, samples)
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    load(PHOTO, photographs(tmp_path), never)  # negative control: the same files elsewhere
    Image.fromarray(255 - reference.picture(20, 30, 3, 0)).save(tmp_path / "00.png")
    changed = load(PHOTO, photographs(tmp_path))
    assert not torch.equal(changed[0], right[0]) and torch.equal(changed[1:], right[1:])


def test_a_file_that_is_not_what_the_index_saw_does_not_enter_a_canvas(samples, folder, tmp_path, cache, monkeypatch):
    """Same size, same time, other pixels: the fingerprint would vouch for what it has never seen, for ever."""
    for path in folder.iterdir():
        Image.open(path).save(tmp_path / f"{path.stem}.bmp")
    stale = photographs(tmp_path)
    file = tmp_path / "17.bmp"
    data, state = file.read_bytes(), file.stat()
    file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert photographs(tmp_path).fingerprint == stale.fingerprint  # the index did not notice
    with pytest.raises(InputError, match=r"17\.bmp: its content has changed"):
        load(PHOTO, stale)
    assert not list(cache.glob("*.pixels")) and not list(cache.glob(".canvas*"))
    monkeypatch.setattr(canvas, "KEPT_FROM", 10)
    load(PHOTO, stale.select(np.arange(18, COUNT)))  # negative control: a split without that file
    file.write_bytes(data)
    load(PHOTO, stale)
    file.unlink()
    with pytest.raises(InputError, match=r"17\.bmp: the file is gone"):
        load(PHOTO, stale, lambda row_R: torch.zeros(len(row_R), 14, 11, 3, dtype=torch.uint8), "reads nothing")


def test_a_small_split_is_not_kept(samples, right, cache, monkeypatch):
    few = samples.select(np.arange(COUNT - 1))
    before = set(cache.iterdir())
    assert torch.equal(load(PHOTO, few), right[:-1]) and set(cache.iterdir()) == before
    load(PHOTO, samples)  # negative control
    assert len(set(cache.iterdir()) - before) == 3


@pytest.mark.parametrize("count", [0, 1])
def test_next_to_no_images(samples, count):
    assert load(PHOTO, samples.select(np.arange(count))).shape == (count, 14, 11, 3)


# ---- damage


def flipped(file: Path, blocks: list[int]) -> None:
    data = bytearray(file.read_bytes())
    for block in blocks:
        data[block * 7 * 14 * 11 * 3 + 100] ^= 4
    file.write_bytes(data)


def cut(file: Path, blocks: list[int]) -> None:
    os.truncate(file, min(blocks) * 7 * 14 * 11 * 3 + 5)


def gone(file: Path, blocks: list[int]) -> None:
    file.unlink()


def no_manifest(file: Path, blocks: list[int]) -> None:
    file.with_suffix(".json").unlink()


def foreign_manifest(file: Path, blocks: list[int]) -> None:
    manifest = json.loads(file.with_suffix(".json").read_text())
    manifest["identity"]["format"] = 0
    file.with_suffix(".json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("damage", "blocks", "named"),
    [
        (flipped, [0], "block 0"),
        (flipped, [5], "block 5"),
        (flipped, [1, 3, 4], "block 4"),
        (cut, [4, 5], "block 4"),
        (gone, list(range(6)), "No such file"),
        (no_manifest, list(range(6)), "has no manifest"),
        (foreign_manifest, list(range(6)), "format is 0"),
    ],
)
def test_only_damaged_blocks_are_decoded_again_and_the_file_is_mended(
    samples, right, cache, caplog, damage, blocks, named
):
    load(PHOTO, samples)
    file = kept(cache)
    before = {path: path.read_bytes() for path in (file, file.with_suffix(".json"))}
    decoded = []

    def decode(row_R):
        decoded.append(int(row_R[0]) // 7)
        return right[row_R]

    damage(file, blocks)
    assert torch.equal(load(PHOTO, samples, decode), right) and decoded == blocks
    (warning,) = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert file.stem in warning and named in warning and "decoded again" in warning
    assert {path: path.read_bytes() for path in before} == before, "mended to the last byte"
    caplog.clear()
    assert torch.equal(load(PHOTO, samples, never), right) and not caplog.records


def test_a_canvas_that_cannot_be_kept_is_in_memory(samples, right, tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HEARTCUT_CACHE", str(tmp_path / "file" / "below"))
    assert torch.equal(load(PHOTO, samples), right)
    (warning,) = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert "cannot be kept (Not a directory)" in warning
    with pytest.raises(AssertionError, match="decoded"):  # negative control: it was not
        load(PHOTO, samples, never)


# ---- crashes


def build(samples: Samples, right: torch.Tensor, pause: float, stop: str, working) -> None:
    """Load as a run does, slowly, to be killed at any time or at one call."""
    torch.set_num_threads(1)

    def die(*_):
        os.kill(os.getpid(), signal.SIGKILL)

    def slow(row_R):
        working.set()
        time.sleep(pause)
        return right[row_R]

    replace_file = Path.replace

    def replace_and_die(self, target):
        replace_file(self, target)
        if target.suffix == stop:
            die()

    if stop.startswith("."):
        Path.replace = replace_and_die
    elif stop == "fsync":
        os.fsync = die
    elif stop == "manifest":
        canvas_writer.write_atomically = die
    load(PHOTO, samples, slow)


def killed(samples: Samples, right: torch.Tensor, *, after: float = 60.0, pause: float = 0.0, stop: str = "") -> None:
    """A load that is killed so many seconds after it began to decode, or at one call."""
    context = multiprocessing.get_context("fork")
    working = context.Event()
    child = context.Process(target=build, args=(samples, right, pause, stop, working))
    child.start()
    assert working.wait(60)
    child.join(after)
    child.kill()
    child.join()
    assert not stop or child.exitcode == -signal.SIGKILL


@pytest.mark.parametrize("damaged", [False, True])
@pytest.mark.parametrize("stop", ["fsync", ".pixels", "manifest", ".json"])
def test_a_run_killed_at_one_call_leaves_nothing_that_is_taken_for_whole(samples, right, cache, stop, damaged):
    if damaged:  # it dies while mending
        load(PHOTO, samples)
        flipped(kept(cache), [2])
    other = right.clone()
    other[15] ^= 255  # as another GPU's decoder might, so that a mixture of the old and the new file would show
    killed(samples, other, stop=stop)
    whole = load(PHOTO, samples, lambda row_R: right[row_R])
    assert torch.equal(whole, right) or (stop == ".json" and torch.equal(whole, other))
    assert torch.equal(load(PHOTO, samples, never), whole)
    assert not list(cache.glob(".canvas*")), "what the dead process left was not removed"


def test_a_run_killed_at_any_time_leaves_nothing_that_is_taken_for_whole(samples, right, cache):
    draw = random.Random(0)
    unfinished = 0
    for _ in range(15):
        killed(samples, right, after=draw.uniform(0, 0.15), pause=0.02)
        unfinished += bool(list(cache.glob(".canvas-*.partial")))
        assert torch.equal(load(PHOTO, samples), right)
        assert torch.equal(load(PHOTO, samples, never), right) and not list(cache.glob(".canvas*"))
        for file in cache.glob("canvas*"):
            file.unlink()
    assert unfinished >= 5, "hardly any process was killed at work"  # negative control


# ---- several processes


def count_and_load(samples: Samples, right: torch.Tensor, folder: Path, lockable: bool, barrier) -> None:
    torch.set_num_threads(1)

    def unsupported(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    def decode(row_R):
        time.sleep(0.03)
        with (folder / "decoded").open("a") as file:
            file.write("x")
        return right[row_R]

    if not lockable:
        fcntl.flock = unsupported
    barrier.wait(60)
    ours = load(PHOTO, samples, decode)
    (folder / str(os.getpid())).write_text(hashlib.sha256(ours.numpy()).hexdigest())


@pytest.mark.parametrize("lockable", [True, False])
def test_processes_at_once_decode_once(samples, right, tmp_path, lockable):
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(3)
    arguments = (samples, right, tmp_path, lockable, barrier)
    children = [context.Process(target=count_and_load, args=arguments) for _ in range(3)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    assert [child.exitcode for child in children] == [0, 0, 0]
    decoded = len((tmp_path / "decoded").read_text())
    # Without locks, which is the negative control, the work is done several times, and is right all the same.
    assert decoded == 6 if lockable else decoded > 6
    results = {(tmp_path / str(child.pid)).read_text() for child in children}
    assert results == {hashlib.sha256(right.numpy()).hexdigest()}
    assert torch.equal(load(PHOTO, samples, never), right)


# ---- memory


def test_a_canvas_that_does_not_fit_is_refused_before_it_is_made(samples, monkeypatch):
    need = COUNT * 14 * 11 * 3
    monkeypatch.setattr(resources, "available_memory", lambda: int(need / canvas.MEMORY_SHARE) - 1)
    with pytest.raises(UsageError) as refused:
        load(PHOTO, samples, never)
    for part in ("40 images", "14 x 11", "18,480 bytes", "80 % of the 23,099", "data.executor host", "canvas_scale"):
        assert part in str(refused.value)
    monkeypatch.setattr(resources, "available_memory", lambda: int(need / canvas.MEMORY_SHARE) + 1)  # negative control
    load(PHOTO, samples)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    load(PHOTO, samples, never)  # two processes share the file
    monkeypatch.setattr(canvas, "KEPT_FROM", COUNT + 1)
    with pytest.raises(UsageError, match="in each of 2 processes"):
        load(PHOTO, samples, never)
    monkeypatch.setattr(resources, "available_memory", lambda: None)
    load(PHOTO, samples)


def mapped_from(tensor: torch.Tensor) -> str:
    """The file that a tensor's memory is mapped from; empty for memory of the process alone."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        start, end = (int(address, 16) for address in line.split()[0].split("-"))
        if start <= tensor.data_ptr() < end:
            return " ".join(line.split()[5:])
    raise AssertionError("not in memory")


@pytest.mark.filterwarnings("error")
def test_processes_share_the_file_and_none_can_write_into_it(samples, right, cache, monkeypatch):
    first, second = load(PHOTO, samples), load(PHOTO, samples, never)
    file = kept(cache)
    assert mapped_from(first) == mapped_from(second) == str(file)
    second[3] = 0
    assert torch.equal(first, right) and torch.equal(load(PHOTO, samples, never), right) and not second[3].any()
    file.unlink()  # a map outlives its name
    assert torch.equal(first, right)
    monkeypatch.setattr(canvas, "KEPT_FROM", COUNT + 1)
    assert "canvas" not in mapped_from(load(PHOTO, samples))  # negative control


@pytest.mark.parametrize("kept_from", [COUNT, COUNT + 1])
def test_a_device_gets_the_canvas_block_by_block(samples, right, monkeypatch, kept_from):
    """The device is one without memory, so that only what passes through the host is looked at."""
    monkeypatch.setattr(canvas, "KEPT_FROM", kept_from)
    monkeypatch.setattr(resources, "available_memory", lambda: 10)  # far less than the canvas
    moved, real = [], torch.Tensor.copy_
    monkeypatch.setattr(torch.Tensor, "copy_", lambda self, block: moved.append(block.clone()) or real(self, block))
    ours = load(PHOTO, samples, device=torch.device("meta"))
    assert ours.device.type == "meta" and ours.shape == right.shape and ours.dtype == torch.uint8
    blocks = [block for block in moved if block.ndim == 4]
    assert [len(block) for block in blocks] == [7, 7, 7, 7, 7, 5] and torch.equal(torch.cat(blocks), right)


def test_an_array_goes_to_a_device_block_by_block(monkeypatch):
    images = np.stack([reference.noise(8, 8, 1, seed) for seed in range(9)])
    samples = reference.in_memory(images).select(np.array([7, 0, 3, 3, 1]))
    monkeypatch.setattr(canvas_file, "BLOCK_ROWS", 2)
    monkeypatch.setattr(resources, "available_memory", lambda: 800)  # two RGB images are 384 bytes, five are 960
    moved, real = [], torch.Tensor.copy_
    monkeypatch.setattr(torch.Tensor, "copy_", lambda self, block: moved.append(block.clone()) or real(self, block))
    assert load(spec((8, 8), 3), samples, device=torch.device("meta")).shape == (5, 8, 8, 3)
    assert [len(block) for block in moved] == [2, 2, 1]
    assert np.array_equal(torch.cat(moved)[..., :1], images[[7, 0, 3, 3, 1]])


def test_an_array_is_refused_only_where_it_is_copied(monkeypatch):
    samples = reference.in_memory(np.stack([reference.noise(8, 8, 1, seed) for seed in range(5)]))
    monkeypatch.setattr(resources, "available_memory", lambda: 10)
    load(spec((8, 8)), samples)
    with pytest.raises(UsageError, match="960 bytes"):
        load(spec((8, 8), channels=3), samples)


# ---- the canvas as a store


def test_resident_samples_are_the_same_samples(samples, right):
    chosen = samples.select(np.array([30, 2, 11]))
    ours = canvas.resident(chosen, load(PHOTO, chosen))
    assert ours.fingerprint == chosen.fingerprint and np.array_equal(ours.size_N2, chosen.size_N2)
    assert ours.key_N == chosen.key_N and len(ours.images) == 3
    for place, row in enumerate([30, 2, 11]):
        assert np.array_equal(ours.read(place, channels=3, reduce=2), right[row].numpy())
        assert ours.read(place, channels=1).shape == (14, 11, 1)
    backwards = canvas.resident(samples, right).select(np.array([5, 4]))
    assert np.array_equal(backwards.read(0, channels=3), right[5].numpy())
    assert backwards.fingerprint == samples.select(np.array([5, 4])).fingerprint


def test_writing_into_what_was_read_does_not_touch_the_canvas(samples, right):
    ours = canvas.resident(samples, right.clone())
    ours.read(3, channels=3)[:] = 0
    assert np.array_equal(ours.read(3, channels=3), right[3].numpy())


# ---- messages


def test_a_long_decode_says_how_far_it_is(samples, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    load(PHOTO, samples)
    assert "canvas: decoded 0 of" not in caplog.text  # negative control: a short one does not
    monkeypatch.setattr(heartbeat, "FIRST_SECONDS", 0.0)
    load(PHOTO, samples, decoder="another")
    assert "canvas: decoded 0 of 40 images, 0.0 images/s, no progress yet" in caplog.text


@pytest.mark.data("food10")
def test_photographs_come_back_bit_for_bit(data_root, cache):
    photo = spec((224, 224), channels=3, source="food11", root=str(data_root))
    samples = source.load(photo, "validation").select(np.arange(0, 600, 2))
    fresh = load(photo, samples)
    assert torch.equal(fresh, squash(photo, samples, np.arange(len(samples))))
    assert torch.equal(load(photo, samples, never), fresh)
