from __future__ import annotations

import io
import logging
import multiprocessing
import os
import re
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from configs import heartbeat, stopping
from configs.errors import InputError
from configs.stopping import StoppedError
from data_pipes.sources import examination, index_files
from data_pipes.sources.examination import examine
from data_pipes.sources.index import scan

COLUMNS = ("byte_N", "crc_N", "size_N2", "orientation_N", "reason_N")


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("HEARTCUT_CACHE", str(folder))
    return folder


def encoded(kind: str, size: tuple[int, int] = (200, 160), **options) -> bytes:
    ramp = np.linspace(0, 255, size[0] * size[1] * 3).reshape(size[1], size[0], 3).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(ramp)).save(stream, kind, **options)
    return stream.getvalue()


def folder_of(tmp_path: Path, n: int = 6) -> tuple[Path, list[str]]:
    root = tmp_path / "images"
    (root / "sub").mkdir(parents=True)
    exif = Image.Exif()
    exif[0x0112] = 6
    for i in range(n):
        (root / f"sub/{i}.jpg").write_bytes(encoded("JPEG", (20 + i, 10), exif=exif))
    (root / "sub/0.jpg").write_bytes(b"text")
    return root, [f"sub/{i}.jpg" for i in range(n)]


def test_the_table_is_right_for_any_number_of_threads(tmp_path):
    root, paths = folder_of(tmp_path)
    table = scan(root, paths, threads=3)
    assert table.ok.tolist() == [False] + [True] * 5
    assert table.size_N2[1:].tolist() == [[20 + i, 10] for i in range(1, 6)]  # lying images, upright
    assert table.size_N2[0].tolist() == [0, 0] and table.orientation_N[1:].tolist() == [6] * 5
    for row, path in enumerate(paths):
        data = (root / path).read_bytes()
        assert table.byte_N[row] == len(data) and table.crc_N[row] == zlib.crc32(data)
    assert table.images().read(3, channels=3).shape == (23, 10, 3)


def test_a_lenient_pillow_is_made_strict_for_the_scan(tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(encoded("JPEG")[:-500])
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    assert examine(tmp_path / "a").reason == ""  # negative control
    assert "truncated" in scan(tmp_path, ["a"]).reason_N[0]
    assert ImageFile.LOAD_TRUNCATED_IMAGES


def test_the_second_scan_reads_no_file(tmp_path, monkeypatch, cache):
    root, paths = folder_of(tmp_path)
    first = scan(root, paths)
    assert len(list(cache.iterdir())) == 1
    monkeypatch.setattr(examination, "examine", lambda *_: pytest.fail("read a file"))
    second = scan(root, paths)
    for name in COLUMNS:
        assert (getattr(first, name) == getattr(second, name)).all()
        assert getattr(first, name).dtype == getattr(second, name).dtype
    (root / "new.jpg").write_bytes(encoded("JPEG"))
    with pytest.raises(pytest.fail.Exception):
        scan(root, [*paths, "new.jpg"])


def test_only_files_that_are_new_or_changed_are_read(tmp_path, monkeypatch):
    root, paths = folder_of(tmp_path, 8)
    first = scan(root, paths)
    (root / "sub/00.jpg").write_bytes(encoded("JPEG"))
    (root / paths[3]).write_bytes(encoded("JPEG", (50, 50)))
    (root / paths[5]).unlink()
    looked_at, examine = [], examination.examine
    monkeypatch.setattr(examination, "examine", lambda path: looked_at.append(path.name) or examine(path))
    now = ["sub/00.jpg", *reversed(paths[:5]), *paths[6:]]
    table = scan(root, now)
    assert sorted(looked_at) == ["00.jpg", "3.jpg"]
    assert table.size_N2[now.index(paths[3])].tolist() == [50, 50]
    for row, path in enumerate(now):
        assert table.byte_N[row] == (root / path).stat().st_size
        if path in (paths[0], paths[1], paths[7]):
            assert table.crc_N[row] == first.crc_N[paths.index(path)]
            assert table.reason_N[row] == first.reason_N[paths.index(path)]


@pytest.mark.parametrize("change", ["size", "time", "new limit"])
def test_a_changed_file_misses_the_cache(tmp_path, monkeypatch, change):
    root, paths = folder_of(tmp_path)
    scan(root, paths)
    state = (root / paths[1]).stat()
    data = b"x" * (state.st_size + (change == "size"))
    (root / paths[1]).write_bytes(data)
    later = state.st_mtime_ns + (change == "time")
    os.utime(root / paths[1], ns=(later, later))
    if change == "new limit":
        monkeypatch.setattr(examination, "PIXEL_LIMIT", 10**8)
    assert scan(root, paths).crc_N[1] == zlib.crc32(data)


def test_same_size_and_time_is_taken_from_the_cache(tmp_path):
    """Negative control, and the documented weakness: such a change is found when the file is read."""
    root, paths = folder_of(tmp_path)
    before = scan(root, paths).crc_N[1]
    state = (root / paths[1]).stat()
    (root / paths[1]).write_bytes(b"x" * state.st_size)
    os.utime(root / paths[1], ns=(state.st_mtime_ns, state.st_mtime_ns))
    assert scan(root, paths).crc_N[1] == before


def test_a_damaged_cache_is_rebuilt(tmp_path, cache, caplog):
    root, paths = folder_of(tmp_path)
    first = scan(root, paths)
    (file,) = cache.iterdir()
    whole = file.read_bytes()
    damages = [b"", b"text", whole[:-30], whole[: len(whole) // 2]]
    damages += [whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :] for at in range(0, len(whole), 29)]
    for damage in damages:
        file.write_bytes(damage)
        again = scan(root, paths)
        assert all((getattr(first, name) == getattr(again, name)).all() for name in COLUMNS)
    assert caplog.text.count("is damaged") > len(damages) // 2
    assert [f.name for f in cache.iterdir()] == [file.name]


def test_a_cache_with_an_object_array_is_not_unpickled(tmp_path, cache):
    root, paths = folder_of(tmp_path)
    scan(root, paths)
    (file,) = cache.iterdir()

    class Bomb:
        def __reduce__(self):
            return Path.touch, (tmp_path / "ran",)

    np.savez(file, **{name: np.array([Bomb()], object) for name in index_files.KINDS})
    assert scan(root, paths).ok.sum() == 5 and not (tmp_path / "ran").exists()


def test_an_unwritable_cache_is_a_warning(tmp_path, monkeypatch, caplog):
    root, paths = folder_of(tmp_path)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HEARTCUT_CACHE", str(tmp_path / "file" / "below"))
    assert scan(root, paths).ok.sum() == 5
    assert "cannot be kept" in caplog.text


def test_a_failed_write_leaves_nothing_behind(tmp_path, cache, monkeypatch, caplog):
    root, paths = folder_of(tmp_path)

    def full(*_args, **_columns):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    assert scan(root, paths).ok.sum() == 5
    assert list(cache.iterdir()) == [] and "No space left" in caplog.text


def scan_often(root: Path, paths: list[str], damage: Path) -> None:
    for i in range(30):
        if i % 3 == 0:
            for file in damage.glob("index-*.npz"):
                file.unlink(missing_ok=True)
        assert scan(root, paths, 1).ok.sum() == 5


def test_processes_at_once_never_see_half_a_cache(tmp_path, cache):
    root, paths = folder_of(tmp_path)
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=scan_often, args=(root, paths, cache)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert not list(cache.glob(".index-*"))


def test_a_file_that_cannot_be_opened_is_not_remembered_as_bad(tmp_path, cache):
    root, paths = folder_of(tmp_path)
    table = scan(root, [*paths, "gone.jpg"])
    assert table.reason_N[-1].startswith("cannot be read: No such file") and list(cache.iterdir()) == []


@pytest.mark.parametrize("path", ["../x.jpg", "a/../../x.jpg", "/etc/x.jpg"])
def test_paths_that_leave_the_root_are_refused(tmp_path, path):
    with pytest.raises(InputError, match="does not lie below"):
        scan(tmp_path, [path])


def test_no_files_at_all(tmp_path):
    assert len(scan(tmp_path, []).path_N) == 0 and scan(tmp_path, []).size_N2.shape == (0, 2)


def test_a_long_scan_says_how_far_it_is(tmp_path, monkeypatch, caplog):
    root, paths = folder_of(tmp_path)
    caplog.set_level(logging.INFO)
    scan(root, paths)
    assert "checked" not in caplog.text  # negative control: a short one does not
    monkeypatch.setattr(heartbeat, "FIRST_SECONDS", 0.0)
    monkeypatch.setattr(heartbeat, "SECONDS", 0.0)
    (tmp_path / "again").mkdir()
    scan(*folder_of(tmp_path / "again"))
    assert re.search(r"checked 6 of 6 images, [\d.,]+ images/s, 0 s left", caplog.text)


@pytest.mark.data("food10")
def test_food10_is_sound(data_root):
    paths = [path.relative_to(data_root).as_posix() for path in sorted(data_root.rglob("*.jpg"))]
    table = scan(data_root, paths)
    assert len(paths) == 3250 and table.ok.all() and (table.size_N2 > 0).all()


def test_a_pass_ends_when_it_is_asked_to_stop_and_keeps_nothing(tmp_path, cache, monkeypatch):
    paths = [f"{number}.bmp" for number in range(40)]
    for path in paths:
        (tmp_path / path).write_bytes(encoded("BMP", (8, 8)))
    looked: list[Path] = []
    real = examination.examine
    monkeypatch.setattr(examination, "examine", lambda path: looked.append(path) or time.sleep(0.01) or real(path))
    monkeypatch.setattr(stopping, "_asked", ["SIGTERM was received"])
    with pytest.raises(StoppedError, match="SIGTERM was received"):
        scan(tmp_path, paths, threads=1)
    assert len(looked) < len(paths) and not list(cache.iterdir())
    monkeypatch.setattr(stopping, "_asked", [])  # the control
    assert scan(tmp_path, paths, threads=1).ok.all() and list(cache.iterdir())
