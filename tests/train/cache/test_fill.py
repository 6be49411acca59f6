"""train.cache: whoever fills a cache and however often it is killed, the bytes are the same; what is bad is mended."""

from __future__ import annotations

import random
import re
import shutil
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import forked
import tiny_digits
from configs import locks, reader
from configs.errors import InputError
from configs.stopping import StoppedError
from data_pipes.logits.cache import ROWS_PER_BLOCK, LogitCache
from tiny_digits import CACHED, SAMPLES, SMALL_BLOCKS
from train.cache import __main__ as train_cache
from train.cache import fill
from train.cache.config import CacheConfig
from train.cache.filler import Filler
from train.live_teacher import LiveTeacher
from train.processes import make_accelerator
from train.run_folder import status

ROWS = (64, 64, 64, 64, 31)
# Samples that a process asked the teacher for, slowly enough for another one to have its share.
COUNTED = """
import time
from train.cache.filler import Filler
fill, logits = Filler.fill, Filler.logits
def counted(own, view):
    done = fill(own, view)
    print("done", done, flush=True)
    return done
def slow(own, view, row_R):
    time.sleep(0.05)
    return logits(own, view, row_R)
Filler.fill, Filler.logits = counted, slow
"""
# Of two jobs that know nothing of each other none begins alone.
TOGETHER = """
import os, pathlib, time
from train.cache import fill as caching
prepare, ready = caching.prepare, pathlib.Path({folder!r})
def prepared(*args):
    filler = prepare(*args)
    (ready / str(os.getpid())).touch()
    while len(list(ready.iterdir())) < 2:
        time.sleep(0.01)
    return filler
caching.prepare = prepared
"""


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setitem(LogitCache.create.__func__.__kwdefaults__, "rows_per_block", 64)


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A teacher, its cache, and a run with the teacher online. Not to be changed."""
    home = tmp_path_factory.mktemp("home")
    tiny_digits.save(home / "teacher.safetensors")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(LogitCache.create.__func__.__kwdefaults__, "rows_per_block", 64)
        tiny_digits.fill(home)
    tiny_digits.train(home, "online")
    return home


@pytest.fixture(scope="module")
def whole(home) -> dict[str, bytes]:
    """The files of the cache."""
    files = tiny_digits.tree(home / "cache")
    assert len(files) == 1 + 2 * (1 + len(ROWS))
    return files


@pytest.fixture
def folder(home, tmp_path) -> Path:
    """A copy of it."""
    return shutil.copytree(home / "cache", tmp_path / "cache")


@pytest.fixture
def asked(monkeypatch) -> list[tuple[int, int]]:
    """(view, number of samples) of every block that was made."""
    found, real = [], Filler.logits
    monkeypatch.setattr(
        Filler, "logits", lambda own, view, row_R: found.append((view, len(row_R))) or real(own, view, row_R)
    )
    return found


def at(folder: Path) -> list[str]:
    return ["--distill.cache", str(folder)]


def done(process: forked.Ended) -> int:
    assert process.code == 0, process.stderr[-3000:]
    return sum(int(line.split()[1]) for line in process.stdout.splitlines() if line.startswith("done "))


# ---- many processes, one cache


@pytest.mark.launcher
def test_two_processes_write_the_bytes_of_one_and_share_the_work(home, whole, tmp_path):
    words = tiny_digits.words(home, "none", *at(tmp_path / "cache"))
    ended = forked.run_world(2, "train.cache", *words, prelude=SMALL_BLOCKS + COUNTED)
    shares = [done(process) for process in ended]
    assert sum(shares) == 2 * SAMPLES and min(shares) > 0
    assert tiny_digits.tree(tmp_path / "cache") == whole


@pytest.mark.launcher
def test_two_jobs_at_once_write_the_same_bytes_and_ask_for_no_sample_twice(home, whole, tmp_path):
    words = tiny_digits.words(home, "none", *at(tmp_path / "cache"))
    (tmp_path / "ready").mkdir()
    prelude = SMALL_BLOCKS + COUNTED + TOGETHER.format(folder=str(tmp_path / "ready"))
    with ThreadPoolExecutor(2) as pool:
        jobs = [pool.submit(forked.run, "train.cache", *words, prelude=prelude) for _ in range(2)]
        shares = [done(job.result()) for job in jobs]
    assert sum(shares) == 2 * SAMPLES and min(shares) > 0
    assert tiny_digits.tree(tmp_path / "cache") == whole


@pytest.mark.launcher
def test_two_processes_read_what_one_has_written(home, tmp_path):
    """Against the same two processes with the teacher online: sums over processes are rounded in another order."""
    runs = {}
    for name, options in (("online", []), ("cached", CACHED)):
        ended = forked.run_world(2, "train.distill", *tiny_digits.words(home, tmp_path / name, *options))
        assert [process.code for process in ended] == [0, 0], ended[0].stderr[-3000:]
        runs[name] = tiny_digits.losses(tmp_path / name), tiny_digits.sha(tmp_path / name)
    assert runs["cached"] == runs["online"]
    assert runs["cached"][0] != tiny_digits.losses(home / "online")  # control: micro-batches were others


# ---- killed

KILLS = [
    "train.cache.filler:Filler.logits",
    "pathlib:Path.replace",
    "os:fsync",
    "data_pipes.logits.cache:LogitCache.finish",
]


@pytest.mark.launcher
def test_killed_again_and_again_it_ends_with_the_same_bytes(home, whole, tmp_path):
    """In the teacher, beside a file that is half written, and before a view is declared complete."""
    words, draw = tiny_digits.words(home, "none", *at(tmp_path / "cache")), random.Random()
    for place in KILLS:
        nth = 1 if place.endswith("finish") else draw.randint(1, 3)
        ended = forked.run("train.cache", *words, prelude=SMALL_BLOCKS + forked.killed_at(place, nth))
        assert ended.code == -signal.SIGKILL, f"{place} {nth}: {ended.stderr[-3000:]}"
        left = tiny_digits.tree(tmp_path / "cache")
        assert all(whole[name] == content for name, content in left.items() if not name.endswith(".partial"))
    ended = forked.run("train.cache", *words, prelude=SMALL_BLOCKS + COUNTED)
    assert 0 < done(ended) < 2 * SAMPLES
    assert tiny_digits.tree(tmp_path / "cache") == whole


@pytest.mark.launcher
def test_write_through_killed_in_a_fill_ends_with_the_weights_of_online_training(home, whole, tmp_path):
    words = tiny_digits.words(
        home, tmp_path / "run", *at(tmp_path / "cache"), "--distill.teacher_logits", "write_through"
    )
    words += ["--distill.verify", "0"]
    for nth, views in ((3, []), (5, ["view-0000.json"])):  # in the first view; after its rest, in the second
        ended = forked.run("train.distill", *words, prelude=SMALL_BLOCKS + forked.killed_at(KILLS[0], nth))
        assert ended.code == -signal.SIGKILL, ended.stderr[-3000:]
        assert sorted(path.name for path in (tmp_path / "cache").glob("view-*.json")) == views
    ended = forked.run("train.distill", *words, prelude=SMALL_BLOCKS + COUNTED)
    assert done(ended) == sum(ROWS[1:])
    assert tiny_digits.tree(tmp_path / "cache") == whole
    assert tiny_digits.sha(tmp_path / "run") == tiny_digits.sha(home / "online")
    assert tiny_digits.losses(tmp_path / "run") == tiny_digits.losses(home / "online")


# ---- disks

FULL = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (2600, 2600))
"""


@pytest.mark.launcher
def test_a_disk_that_takes_no_more_is_an_error_of_one_line_and_the_next_run_goes_on(home, whole, folder):
    """By the kernel's limit on the size of a file; a block has 2,624 bytes, and a config less."""
    for block in range(2, 5):
        (folder / "view-0001" / f"block-{block:05d}.logits").unlink()
    (folder / "view-0001.json").unlink()
    words, left = tiny_digits.words(home, "none", *at(folder)), tiny_digits.tree(folder)
    ended = forked.run("train.cache", *words, prelude=FULL)
    path = folder / "view-0001" / "block-00002.logits"
    assert ended.code == 74 and f"error: {path}: File too large" in ended.stderr and "Traceback" not in ended.stderr
    assert tiny_digits.tree(folder) == left
    ended = forked.run("train.cache", *words, prelude=COUNTED)
    assert done(ended) == sum(ROWS[2:]) and tiny_digits.tree(folder) == whole


# ---- damaged


def flipped(folder: Path) -> list[str]:
    path = folder / "view-0001" / "block-00002.logits"
    content = bytearray(path.read_bytes())
    content[-3] ^= 8
    path.write_bytes(content)
    return ["view-0001/block-00002.logits (block 2, positions 128 to 191): the checksum differs"]


def truncated(folder: Path) -> list[str]:
    path = folder / "view-0000" / "block-00004.logits"
    path.write_bytes(path.read_bytes()[:-1])
    return ["view-0000/block-00004.logits (block 4, positions 256 to 286): 1303 bytes instead of 1304"]


def missing(folder: Path) -> list[str]:
    (folder / "view-0000" / "block-00000.logits").unlink()
    return ["view-0000/block-00000.logits (block 0, positions 0 to 63): missing"]


def without_manifest(folder: Path) -> list[str]:
    (folder / "view-0001.json").unlink()
    return ["has no view 1 of the 2"]


def misplaced(folder: Path) -> list[str]:
    shutil.copy(folder / "view-0001" / "block-00003.logits", folder / "view-0001" / "block-00001.logits")
    return ["view-0001/block-00001.logits (block 1, positions 64 to 127): block 3 of view 1, with 64 rows"]


DAMAGE = {flipped: [(1, 64)], truncated: [(0, 31)], missing: [(0, 64)], without_manifest: [], misplaced: [(1, 64)]}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_named_before_the_first_step_and_mended_alone(home, whole, folder, tmp_path, asked, damage):
    [message] = damage(folder)
    times = {name: (folder / name).stat().st_mtime_ns for name in whole if (folder / name).exists()}
    with pytest.raises(InputError, match=re.escape(message)):
        tiny_digits.train(home, tmp_path / "run", *CACHED, *at(folder))
    assert not list((tmp_path / "run").glob("checkpoints/step-*"))
    asked.clear()  # of what is compared
    tiny_digits.fill(home, *at(folder), "--repair", "true")
    assert asked == DAMAGE[damage] and tiny_digits.tree(folder) == whole
    touched = {name for name, time in times.items() if (folder / name).stat().st_mtime_ns != time}
    assert len(touched) <= 2 and all("0001" in name or damage in (truncated, missing) for name in touched)
    tiny_digits.fill(home, *at(folder), "--repair", "true")  # the control: what is sound is left alone
    assert asked == DAMAGE[damage]


def test_damage_to_any_of_many_views_is_named_before_the_first_step(home, folder, tmp_path):
    many = ["--views", "6", "--epochs", "6"]
    tiny_digits.fill(home, *at(folder), *many)
    path = folder / "view-0002" / "block-00001.logits"
    content = path.read_bytes()
    for wrong in (content[:-1], content[:-1] + bytes([content[-1] ^ 1])):
        path.write_bytes(wrong)
        with pytest.raises(InputError, match=r"view-0002/block-00001\.logits"):
            tiny_digits.train(home, tmp_path / "run", *CACHED, *at(folder), *many)
        assert not list((tmp_path / "run").glob("checkpoints/step-*"))


@pytest.mark.launcher
def test_all_processes_hear_of_damage_that_one_has_found(home, folder, tmp_path):
    [message] = flipped(folder)  # in the second view, which the second process reads
    words = tiny_digits.words(home, tmp_path / "run", *CACHED, *at(folder), "--distill.verify", "0")
    ended = forked.run_world(2, "train.distill", *words)
    assert [process.code for process in ended] == [66, 66] and all(message in process.stderr for process in ended)
    assert not any("epoch 1/" in process.stderr for process in ended)


@pytest.mark.launcher
def test_two_processes_mend_what_is_bad_and_no_more(home, whole, folder):
    for damage in DAMAGE:
        damage(folder)
    words = tiny_digits.words(home, "none", *at(folder), "--repair", "true")
    ended = forked.run_world(2, "train.cache", *words, prelude=COUNTED)
    assert sum(done(process) for process in ended) == sum(rows for made in DAMAGE.values() for _, rows in made)
    assert tiny_digits.tree(folder) == whole


def test_after_a_repair_training_ends_as_before(home, folder, tmp_path):
    for damage in DAMAGE:
        damage(folder)
    tiny_digits.fill(home, *at(folder), "--repair", "true")
    run = tiny_digits.train(home, tmp_path / "run", *CACHED, *at(folder))
    assert tiny_digits.sha(run) == tiny_digits.sha(home / "online")


def test_without_repair_what_is_declared_complete_is_not_looked_at(home, folder, asked):
    flipped(folder)
    before = tiny_digits.tree(folder)
    tiny_digits.fill(home, *at(folder))
    assert asked == [] and tiny_digits.tree(folder) == before


@pytest.mark.launcher
def test_the_commands_leave_with_66_and_one_line(home, folder, tmp_path):
    [message] = flipped(folder)
    ended = forked.run("train.distill", *tiny_digits.words(home, tmp_path / "run", *CACHED, *at(folder)))
    assert ended.code == 66 and message in ended.stderr and "--repair` mends it" in ended.stderr
    assert "Traceback" not in ended.stderr
    ended = forked.run("train.cache", *tiny_digits.words(home, "none", *at(folder), "--view_seed", "1"))
    assert ended.code == 66 and "plan.seed: the cache has 0, this run has 1" in ended.stderr
    assert "Traceback" not in ended.stderr


# ---- a teacher that says nothing


def test_a_teacher_whose_logits_are_infinite_is_refused_with_the_sample(home, tmp_path):
    tiny_digits.save(tmp_path / "teacher.safetensors", scale=9e37)  # each weight is finite
    with pytest.raises(InputError, match=r"teacher\.safetensors: its logits are NaN .* \d+ samples of view 0: \d+$"):
        tiny_digits.fill(tmp_path, "--distill.teacher_check", "0")
    assert set(tiny_digits.tree(tmp_path / "cache")) == {"manifest.json"}


# ---- verify and dry_run


def test_verify_compares_and_changes_nothing(home, whole, folder, capsys):
    tiny_digits.fill(home, *at(folder), "--verify", "32")
    shown = capsys.readouterr().out
    assert re.search(
        r"the cached logits of \d+ samples differ from the teacher's own by at most 0; one sample's by 0", shown
    )
    assert tiny_digits.tree(folder) == whole
    with pytest.raises(InputError, match=r"has views \[0, 1\] and no view \d; `python -m train\.cache` makes one"):
        tiny_digits.fill(home, *at(folder), "--verify", "999", "--views", "4")


def test_more_views_are_added_to_those_that_are_there(home, whole, folder, asked):
    tiny_digits.fill(home, *at(folder), "--views", "3")
    assert asked == [(2, rows) for rows in ROWS]
    assert {name: content for name, content in tiny_digits.tree(folder).items() if "view-0002" not in name} == whole


@pytest.mark.parametrize("store", ["float32", "float16"])
def test_a_dry_run_says_what_it_costs_and_writes_nothing(home, tmp_path, monkeypatch, capsys, asked, store):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(LogitCache.create.__func__.__kwdefaults__, "rows_per_block", ROWS_PER_BLOCK)
    words = ["--distill.cache", "new", "--distill.store", store]
    tiny_digits.fill(home, *words, "--run_dir", str(tmp_path / "run"), "--dry_run", "true")
    shown = capsys.readouterr().out
    assert row(shown, "in a run of this config, online") == f"{4 * SAMPLES:,}" and row(shown, "folder") == "new"
    assert not list(tmp_path.iterdir()) and asked == []
    tiny_digits.fill(home, *words)
    assert row(shown, "for a cache of 2 views, once") == f"{sum(count for _, count in asked):,}" == f"{2 * SAMPLES:,}"
    files = (tmp_path / "new").rglob("*.logits")
    assert row(shown, "bytes") == f"{sum(path.stat().st_size for path in files):,}"


@pytest.mark.parametrize(
    ("views", "first"), [("1", "1"), ("4", "2"), ("null", "2"), ("7", "2"), ("8", "3"), ("12", "4")]
)
def test_it_pays_from_this_run_on(home, capsys, views, first):
    """Views over epochs, and one run more: then the teacher was asked less than online."""
    tiny_digits.fill(home, "--distill.cache", "new", "--dry_run", "true", "--views", views)
    assert row(capsys.readouterr().out, "less from run") == first


def test_a_dry_run_says_so_for_a_long_folder_too(home, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    new = tmp_path / ("a folder of a very long name" * 5) / "[red]new[/red]"
    tiny_digits.fill(home, *at(new), "--dry_run", "true")
    shown = capsys.readouterr().out
    assert row(shown, "in a run of this config, online") == f"{4 * SAMPLES:,}"
    assert str(new).replace(" ", "") in "".join(shown.split())


def row(table: str, name: str) -> str:
    (line,) = (line for line in table.splitlines() if name in line)
    return line.split()[-1]


# ---- other processes' micro-batches


@pytest.mark.parametrize(
    ("batch", "micro", "rounding"), [(64, 64, 0.0), (128, 64, 0.0), (2, 2, 1e-5), (300, 300, 1e-5), (64, 32, 1e-5)]
)
def test_the_bytes_depend_on_the_micro_batch_alone_and_only_by_rounding(home, whole, batch, micro, rounding):
    """A matrix product may take another kernel, which sums in another order, for another number of rows."""
    size = ["--batch_size", str(batch), "--micro_batch_size", str(micro)]
    config = reader.read(CacheConfig, tiny_digits.words(home, "none", *size), prog="x", description="x")
    filler = fill.prepare(config, make_accelerator("float32"))
    own, kept = filler.logits(1, filler.rows(1)), filler.cache.read(1).dense()
    assert np.abs(own - kept).max() <= rounding * np.abs(kept).max()
    assert np.abs(own - filler.cache.read(0).dense()).max() > 0.1 * np.abs(kept).max()  # control: another view
    filler.loader.close()


def test_the_executor_is_chosen_before_the_teacher_takes_memory(home, monkeypatch):
    """As in training: with less memory left, another one may be chosen, whose cache training refuses."""
    events: list[str] = []
    choose, move = fill.choose_executor, LiveTeacher.to
    monkeypatch.setattr(fill, "choose_executor", lambda *words: events.append("choose") or choose(*words))
    monkeypatch.setattr(LiveTeacher, "to", lambda *words: events.append("move") or move(*words))
    config = reader.read(CacheConfig, tiny_digits.words(home, "none"), prog="x", description="x")
    fill.prepare(config, make_accelerator("float32")).loader.close()
    assert events == ["choose", "move"]


# ---- its status


def test_a_folder_on_the_command_line_gets_a_status(home, tmp_path, monkeypatch):
    own = tmp_path / "run"
    monkeypatch.setattr(sys, "argv", ["train.cache", *tiny_digits.words(home, own)])
    train_cache.main()
    found = status.read(own)
    assert (found["state"], found["exit_code"], found["kind"], found["starts"]) == ("done", 0, "cache", 1)
    monkeypatch.setattr(Filler, "fill", lambda *_: (_ for _ in ()).throw(StoppedError("told to")))
    monkeypatch.setattr(sys, "argv", ["train.cache", *tiny_digits.words(home, own, *at(tmp_path / "other"))])
    with pytest.raises(StoppedError):
        train_cache.main()
    found = status.read(own)
    assert (found["state"], found["exit_code"], found["starts"]) == ("preempted", 75, 2)


def test_a_run_dir_of_a_config_file_is_left_to_the_training(home, tmp_path):
    config = reader.read(CacheConfig, tiny_digits.words(home, tmp_path / "run"), prog="x", description="x")
    fill.run(config)
    assert not (tmp_path / "run").exists()


def test_a_training_and_another_filler_keep_their_status(home, tmp_path, capsys):
    config = reader.read(CacheConfig, tiny_digits.words(home, "online"), prog="x", description="x")
    before = (home / "online" / "status.json").read_bytes()
    fill.run(config, str(home / "online"))
    assert (home / "online" / "status.json").read_bytes() == before
    with locks.alone(tmp_path, str):
        fill.run(config, str(tmp_path))
    assert not (tmp_path / "status.json").exists() and "another process keeps the status" in capsys.readouterr().err
