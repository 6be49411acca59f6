"""A teacher that answers from disk: training from it is training with it, and another one's answers are refused.

N samples, B of a micro-batch, K classes.
"""

from __future__ import annotations

import copy
import json
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import fields, replace
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import reference
import tiny_digits
from configs import reader
from configs.errors import InputError
from cpu_loader import cpu_loader
from data_pipes import mixing
from data_pipes.drawn import Views
from data_pipes.executors import canvas
from data_pipes.loader import Layout, PlanLoader
from data_pipes.logits import cache as logit_cache
from data_pipes.logits.cache import LogitCache
from data_pipes.logits.codec import Codec
from data_pipes.logits.manifest import put
from data_pipes.sources import arrays, source
from data_pipes.sources.samples import Samples
from data_pipes.spec import AugmentSpec, DataSpec
from models import artefact, counting
from models.adopt.conversion import ORIGIN_SHA
from models.artefact import Card, Score
from train.cache import teacher as cached_teacher
from train.cache.filler import Filler
from train.cache.teacher import CachedTeacher, Stored
from train.compress import chain
from train.compress.config import CompressConfig
from train.config import DistillConfig
from train.loaders import choose_executor, training_loader
from train.processes import make_accelerator
from train.step import Step

CODECS = [Codec("float32"), Codec("float16"), Codec("top_k", 3)]
VERIFIED = r"cached logits differ from the teacher's own by up to .* in spite of its manifest"


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A teacher, its cache in float32 with small blocks, and a run with the teacher online. Not to be changed."""
    home = tmp_path_factory.mktemp("home")
    tiny_digits.save(home / "teacher.safetensors")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(LogitCache.create.__func__.__kwdefaults__, "rows_per_block", 64)
        tiny_digits.fill(home)
    tiny_digits.train(home, "online")
    return home


@pytest.fixture
def asked(monkeypatch) -> list[tuple[int, int]]:
    """Every (view, sample) for which a teacher was asked in order to fill or to compare."""
    found, real = [], Filler.logits

    def logits(own: Filler, view: int, row_R: np.ndarray) -> np.ndarray:
        found.extend((view, int(row)) for row in row_R)
        return real(own, view, row_R)

    monkeypatch.setattr(Filler, "logits", logits)
    return found


def cached(home: Path, tmp_path: Path, *options: str) -> Path:
    """Train from the cache, in another folder."""
    return tiny_digits.train(home, tmp_path / "run", *tiny_digits.CACHED, *options)


def same(one: Path, other: Path) -> bool:
    """Every line of metrics, but for seconds, and every weight."""
    metrics = [tiny_digits.untimed(run) for run in (one, other)]
    return metrics[0] == metrics[1] and tiny_digits.sha(one) == tiny_digits.sha(other)


def gap(one: Path, other: Path, name: str = "step/loss") -> float:
    pairs = zip(tiny_digits.losses(one), tiny_digits.losses(other), strict=True)
    return max(abs(a[name] - b[name]) for a, b in pairs)


def rewrite(cache: LogitCache, view: int, order_N: np.ndarray) -> None:
    """Rows in another order, with the right checksums and manifests."""
    logit_NK = cache.read(view).dense()[order_N]
    cache.discard([(view, block) for block in range(len(cache.blocks))])
    for block, rows in enumerate(cache.blocks):
        cache.write(view, block, logit_NK[rows])
    assert cache.finish(view) and cache.damage([view]) == {}


def opened(folder: Path) -> LogitCache:
    return LogitCache.open(folder, json.loads((folder / "manifest.json").read_text())["identity"])


# ---- online and cached


def test_training_from_float32_repeats_online_training_bit_for_bit(home, tmp_path, capsys):
    run = cached(home, tmp_path)
    steps = tiny_digits.losses(run)
    assert len(steps) == 4 * tiny_digits.STEPS and steps[0].keys() >= {"step/loss", "step/kd", "step/ce"}
    assert same(run, home / "online")
    assert f"of {home / 'cache'} are the teacher's own, to 0\n" in capsys.readouterr().err


def test_logits_of_the_neighbouring_row_give_other_losses(home, tmp_path, monkeypatch):
    """The control: the comparison above notices one row."""
    real = CachedTeacher._read

    def read(own: CachedTeacher, view: int) -> Stored:
        stored = real(own, view)
        return Stored(stored.value_Nk.roll(1, 0), stored.index_Nk, stored.tail_N, stored.classes)

    monkeypatch.setattr(CachedTeacher, "_read", read)
    run = cached(home, tmp_path)
    first, right = tiny_digits.losses(run)[0], tiny_digits.losses(home / "online")[0]
    assert first["step/ce"] == right["step/ce"] and abs(first["step/kd"] - right["step/kd"]) > 0.01
    assert not same(run, home / "online")


def test_float16_moves_the_loss_by_less_than_1e_4(home, tmp_path):
    """Measured: by up to 2.7e-5 of about 2, in any of 20 steps."""
    shutil.copy(home / "teacher.safetensors", tmp_path)
    half = ["--distill.store", "auto"]
    assert opened(tiny_digits.fill(tmp_path, *half)).layout.codec.kind == "float16"
    run = tiny_digits.train(tmp_path, "run", *tiny_digits.CACHED, *half)
    assert 0 < gap(run, home / "online") < 1e-4


def test_top_k_of_70_classes_moves_the_loss_by_less_than_2e_2(tmp_path, monkeypatch):
    """Six of 70 logits share what is left; from files in folders."""
    monkeypatch.setenv("HEARTCUT_CACHE", str(tmp_path / "index"))
    classes = tuple(f"{number:02d}" for number in range(70))
    for number, name in enumerate(classes):
        (tmp_path / "data" / "train" / name).mkdir(parents=True)
        for i in range(3):
            image = reference.noise(8, 8, 1, seed=3 * number + i)[..., 0]
            Image.fromarray(image).save(tmp_path / "data" / "train" / name / f"{i}.png")
    tiny_digits.save(tmp_path / "teacher.safetensors", classes=classes)
    data = ["--data.source", "folder", "--data.root", str(tmp_path / "data"), "--data.validation_fraction", "0.33"]
    data += ["--epochs", "2", "--distill.store", "top_k"]
    online = tiny_digits.train(tmp_path, "online", *data)
    cache = opened(tiny_digits.fill(tmp_path, *data))
    trained_on = (online / "split.csv").read_text(encoding="utf-8").count("\ntrain,")
    assert 70 <= trained_on <= 140  # one to two of three in each class
    assert (cache.layout.codec, cache.layout.samples) == (Codec("top_k", 64), trained_on)
    run = tiny_digits.train(tmp_path, "cached", *tiny_digits.CACHED, *data)
    assert 0 < gap(run, online) < 2e-2


def test_another_seed_of_the_student_shares_the_views(home, tmp_path):
    seeds = ["--seed", "1", "--view_seed", "0", "--epochs", "2"]  # the cache was filled with seed 0 and no view_seed
    run = cached(home, tmp_path, *seeds)
    online = tiny_digits.train(home, tmp_path / "online", *seeds)
    assert same(run, online)
    assert tiny_digits.losses(run)[0] != tiny_digits.losses(home / "online")[0]


def test_epochs_go_on_behind_those_of_runs_before(home, tmp_path):
    """Views and orders both."""
    later = ["--first_epoch", "3", "--epochs", "3"]
    run, online = cached(home, tmp_path, *later), tiny_digits.train(home, tmp_path / "online", *later)
    assert same(run, online)
    assert tiny_digits.losses(run)[0]["step/kd"] != tiny_digits.losses(home / "online")[0]["step/kd"]  # view 1


# ---- write_through


def test_write_through_fills_each_view_once_before_its_first_epoch(home, tmp_path, monkeypatch, asked):
    """And a second run asks for nothing."""
    told, fill, begin = [], Filler.fill, CachedTeacher.begin
    monkeypatch.setattr(Filler, "fill", lambda own, view: told.append(f"fill {view}") or fill(own, view))
    monkeypatch.setattr(CachedTeacher, "begin", lambda own, epoch: told.append(f"epoch {epoch}") or begin(own, epoch))
    through = ["--distill.teacher_logits", "write_through", "--distill.cache", str(tmp_path / "cache")]
    run = cached(home, tmp_path, *through)
    assert told == ["epoch 0", "fill 0", "epoch 1", "fill 1", "epoch 2", "epoch 3"]
    assert sorted(asked) == [(view, row) for view in (0, 1) for row in range(tiny_digits.SAMPLES)]
    assert same(run, home / "online")
    asked.clear()
    told.clear()
    again = tiny_digits.train(home, tmp_path / "again", *through, "--distill.verify", "0")
    assert asked == [] and told == [f"epoch {number}" for number in range(4)]
    assert same(again, run)
    tiny_digits.train(home, tmp_path / "verified", *through, "--epochs", "1")
    assert 64 <= len(asked) <= 66  # those that are compared
    views = [opened(folder / "cache").read(view).dense() for folder in (home, tmp_path) for view in (0, 1)]
    assert np.array_equal(views[0], views[2]) and np.array_equal(views[1], views[3])


# ---- chains


COMPRESS = [
    *("--config", str(tiny_digits.DIGITS / "compress.yaml"), "--teacher_training", "null", "--onnx", "false"),
    *tiny_digits.SMALL_DATA,
    *("--student.model.widths", "[2, 4, 8]", "--student.epochs", "2", "--student.views", "3"),
    *("--cut.epochs", "1", "--cut.final_epochs", "3", "--cut.views", "3", "--cut.recalibration", "0"),
    *("--cut.prune.kind", "unstructured", "--cut.prune.steps", "2", "--cut.prune.budget.parameters", "700"),
    *("--student.optim.warmup_epochs", "0", "--cut.optim.warmup_epochs", "0", "--test", "false"),
    *("--track.pictures", "false"),
]


def test_a_student_and_the_chain_of_its_cuts_go_on_through_the_views_of_one_cache(home, tmp_path, monkeypatch, asked):
    """Two epochs, a cut, one epoch, a cut, three epochs; view 0 was there before."""
    shown, real = [], PlanLoader._tickets

    def tickets(own: PlanLoader, number: int, first_step: int):
        if own._seed is not None:
            rows = np.concatenate([ticket.epoch.row_E[ticket.part] for ticket in real(own, number, first_step)])
            shown.append((own.views.of(number), rows.tobytes()))
        return real(own, number, first_step)

    monkeypatch.setattr(PlanLoader, "_tickets", tickets)
    tiny_digits.fill(home, "--distill.cache", str(tmp_path / "cache"), "--views", "1")
    through = ["--student.distill.teacher_logits", "write_through", "--student.distill.cache", str(tmp_path / "cache")]
    found, teacher = {}, ["--teacher", str(home / "teacher.safetensors"), "--student.distill.store", "float32"]
    for name, options in (("online", []), ("through", [*through, "--student.distill.verify", "0"])):
        asked.clear()
        own = [*COMPRESS, *teacher, "--run_dir", str(tmp_path / name), *options]
        chain.run(reader.read(CompressConfig, own, prog="x", description="x"))
        found[name] = tiny_digits.sha(tmp_path / name)
        assert [view for view, _ in shown] == [0, 1, 2, 0, 1, 2]
        assert len({rows for _, rows in shown}) == 6  # views come again, orders do not
        shown.clear()
    assert found["online"] == found["through"]
    assert sorted(asked) == [(view, row) for view in (1, 2) for row in range(tiny_digits.SAMPLES)]


# ---- what is refused


def samples() -> Samples:
    """The training split."""
    config = reader.read(DistillConfig, tiny_digits.words(Path(), "none"), prog="x", description="x")
    return source.load(config.data, "train")


def relabelled(monkeypatch, home: Path, tmp_path: Path) -> list[str]:
    whole, row = arrays.digits(), int(samples().key_N[0])
    label_N = whole.label_N.copy()
    label_N[row] = (label_N[row] + 1) % 10
    monkeypatch.setattr(arrays, "digits", lambda: whole._replace(label_N=label_N))
    return []


def reversed_classes(monkeypatch, home: Path, tmp_path: Path) -> list[str]:
    whole, classes = arrays.digits(), tiny_digits.CLASSES[::-1]
    monkeypatch.setattr(arrays, "digits", lambda: whole._replace(classes=classes))
    return ["--teacher", str(tiny_digits.save(tmp_path / "teacher.safetensors", classes=classes))]


def retrained(monkeypatch, home: Path, tmp_path: Path) -> list[str]:
    return ["--teacher", str(tiny_digits.save(tmp_path / "teacher.safetensors", seed=1))]


def other_draws(monkeypatch, home: Path, tmp_path: Path) -> list[str]:
    real = mixing.matching
    monkeypatch.setattr(mixing, "matching", lambda seed, view, count: real(seed + 1, view, count))
    return []


def other_decoder(monkeypatch, home: Path, tmp_path: Path) -> list[str]:
    monkeypatch.setattr(canvas, "DECODER", "OpenCV 9")
    return []


def options(*words: str) -> Callable[..., list[str]]:
    return lambda *_: list(words)


FOREIGN = {
    "view_seed": (options("--view_seed", "1"), "plan.seed: the cache has 0, this run has 1"),
    "seed": (options("--seed", "1"), "plan.seed: the cache has 0, this run has 1"),
    "erase": (options("--data.augment.erase", "0.25"), "plan.augment.erase: the cache has 0.5, this run has 0.25"),
    "mixup": (options("--data.augment.mixup", "0.2"), "plan.augment.mixup: the cache has 0.4, this run has 0.2"),
    "image_size": (options("--data.image_size", "[8, 9]"), "plan.image_size[1]: the cache has 8, this run has 9"),
    "draws": (other_draws, "plan.probe_crc: the cache has"),
    "mean": (options("--data.mean", "[0.3]"), "data.mean[0]: the cache has 0.3058, this run has 0.3"),
    "std": (options("--data.std", "[0.3]"), "data.std[0]: the cache has 0.3665, this run has 0.3"),
    "label": (relabelled, "data.samples: the cache has"),
    "split": (options("--data.split_seed", "1"), "data.samples: the cache has"),
    "class order": (reversed_classes, "data.classes[0]: the cache has '0', this run has '9'"),
    "executor": (
        options("--data.executor", "host"),
        "pixels.executor: the cache has 'resident, canvas_scale 1.14', this",
    ),
    "canvas_scale": (options("--data.canvas_scale", "1.5"), "this run has 'resident, canvas_scale 1.5'"),
    "decoder": (other_decoder, "this run has 'OpenCV 9'"),
    "teacher": (retrained, "teacher.sha256: the cache has"),
    "precision": (
        options("--precision", "float64"),
        "teacher.precision: the cache has 'float32', this run has 'float64'",
    ),
    "store": (options("--distill.store", "float16"), "stores float32; distill.store is float16: leave it out, or fill"),
    "views": (
        options("--views", "4"),
        "has no view 2, 3 of the 4 that this run shows: fill it with `python -m train.c",
    ),
    "epochs": (options("--views", "null"), "has no view 2, 3 of the 4 that this run shows"),
    "first_epoch": (options("--views", "null", "--first_epoch", "7"), "has no view 7, 8, 9, 10 of the 4"),
    "folder": (options("--distill.cache", "/nowhere"), "/nowhere holds no cache of teacher logits; `python -m train"),
}


@pytest.mark.parametrize(("change", "message"), FOREIGN.values(), ids=FOREIGN)
def test_a_cache_of_something_else_is_refused_before_the_first_step(home, tmp_path, monkeypatch, change, message):
    monkeypatch.setattr(Step, "__call__", lambda *_: pytest.fail("a step was taken"))
    with pytest.raises(InputError) as refusal:
        cached(home, tmp_path, *change(monkeypatch, home, tmp_path))
    assert message in str(refusal.value)
    assert not list((tmp_path / "run").glob("checkpoints/step-*"))


@pytest.mark.parametrize("change", ["store", "erase", "teacher"])
def test_write_through_adds_nothing_to_a_cache_of_something_else(home, tmp_path, monkeypatch, change):
    before = tiny_digits.tree(home / "cache")
    through = ["--distill.teacher_logits", "write_through", "--views", "4"]
    with pytest.raises(InputError, match="teacher logits of something else"):
        cached(home, tmp_path, *through, *FOREIGN[change][0](monkeypatch, home, tmp_path))
    assert tiny_digits.tree(home / "cache") == before


# Whether a few logits tell it: a mean that is a little off moves them little, and the same logits of other classes not.
UNCHECKED = {"view_seed": True, "erase": True, "split": True, "teacher": True, "mean": False, "class order": False}


@pytest.mark.parametrize(("change", "verified"), UNCHECKED.items())
def test_without_the_comparison_of_fields_it_would_train(home, tmp_path, monkeypatch, change, verified):
    """The control. Where logits are far from its own, asking the teacher for a few is enough to know."""
    monkeypatch.setattr(logit_cache, "refuse", lambda *_: None)
    own = FOREIGN[change][0](monkeypatch, home, tmp_path)
    with pytest.raises(InputError, match=VERIFIED) if verified else nullcontext():
        cached(home, tmp_path, *own, "--epochs", "1")
    assert (tmp_path / "run" / "done").exists() is not verified
    monkeypatch.setattr(Filler, "compare", lambda *_, **__: pytest.fail("teacher was asked"))
    run = cached(home, tmp_path / "unverified", *own, "--epochs", "1", "--distill.verify", "0")
    assert len(tiny_digits.losses(run)) == tiny_digits.STEPS


def leaves(value: Any, *path: Any) -> Iterator[tuple[Any, ...]]:
    """The way to every number and text in a JSON value."""
    if not isinstance(value, dict | list):
        yield path
        return
    for key, member in value.items() if isinstance(value, dict) else enumerate(value):
        yield from leaves(member, *path, key)


def test_every_field_of_the_identity_is_compared_and_named(home, tmp_path):
    folder = shutil.copytree(home / "cache", tmp_path / "cache")
    config = reader.read(
        DistillConfig, tiny_digits.words(home, "none", "--distill.cache", str(folder)), prog="x", description="x"
    )
    accelerator, layout = make_accelerator("float32"), opened(folder).layout
    chosen = choose_executor(accelerator, config.data, samples())
    loader = training_loader(config, accelerator, samples(), Layout(batch_size=64, micro_batch_size=64), chosen)
    for to_fill in (False, True):
        cached_teacher.open_cache(config, loader, chosen, to_fill=to_fill)  # the control
    names = [re.sub(r"\.(\d+)", r"[\1]", ".".join(map(str, path))) for path in leaves(layout.identity)]
    for name, path in zip(names, leaves(layout.identity), strict=True):
        content = copy.deepcopy(layout.identity)
        parent = reduce(lambda member, key: member[key], path[:-1], content)
        parent[path[-1]] = "another"
        put(folder / "manifest.json", replace(layout, identity=content).content)
        for to_fill in (False, True):
            with pytest.raises(InputError, match=rf"something else; {re.escape(name)}: the cache has 'another'"):
                cached_teacher.open_cache(config, loader, chosen, to_fill=to_fill)
    loader.close()
    assert {name.split(".")[2].partition("[")[0] for name in names if name.startswith("plan.augment.")} == {
        field.name for field in fields(AugmentSpec)
    }
    assert {name.partition("[")[0] for name in names if not name.startswith("plan.augment.")} == {
        *("plan.seed", "plan.image_size", "plan.probe_crc", "data.samples", "data.mean", "data.std", "data.classes"),
        *("pixels.executor", "pixels.decoder", "teacher.model", "teacher.sha256", "teacher.mean", "teacher.std"),
        "teacher.precision",
    }


def test_what_no_logit_depends_on_may_differ(home, tmp_path):
    free = ["--data.threads", "2", "--data.prefetch", "1", "--epochs", "1", "--batch_size", "32"]
    free += ["--distill.alpha", "0.9", "--distill.temperature", "3", "--distill.store", "auto"]
    cached(home, tmp_path, *free, "--student.widths", "[4, 4, 4]")


@pytest.mark.parametrize("view", [0, 1])
def test_rows_in_another_order_are_caught_though_every_checksum_holds(home, tmp_path, view):
    cache = opened(shutil.copytree(home / "cache", tmp_path / "cache"))
    blocks = [np.roll(np.arange(rows.start, rows.stop), 2) for rows in cache.blocks]
    rewrite(cache, view, np.concatenate(blocks))
    other = ["--distill.cache", str(cache.folder)]
    with pytest.raises(InputError, match=VERIFIED):
        cached(home, tmp_path, *other)
    assert not list((tmp_path / "run").glob("checkpoints/step-*"))
    with pytest.raises(InputError, match=VERIFIED):
        tiny_digits.fill(home, *other, "--verify", "32")
    run = cached(home, tmp_path, *other, "--distill.verify", "0")  # the control: nothing else notices
    assert not same(run, home / "online")


# ---- one view after another

SIDE, COUNT = (6, 5), 23
SPEC = DataSpec(
    source="digits",
    image_size=SIDE,
    mean=(0.4,),
    std=(0.3,),
    executor="resident",
    threads=1,
    augment=AugmentSpec(mixup=0.4, cutmix=1.0, erase=0.5),
)


def feed(views: Views) -> PlanLoader:
    samples = reference.in_memory(np.stack([reference.noise(*SIDE, 1, seed) for seed in range(COUNT)]), 7)
    layout = Layout(batch_size=4, micro_batch_size=4)
    return cpu_loader(samples, SPEC, layout, seed=3, views=views)


def known(view: int) -> np.ndarray:
    """N x K: the logits of each sample in a view."""
    return np.random.default_rng(view).normal(0, 3, (COUNT, 7)).astype(np.float32)


def write(cache: LogitCache, loader: PlanLoader, view: int) -> int:
    row_N = Filler(cache, loader, None, None).rows(view)  # type: ignore[arg-type]
    for block, rows in enumerate(cache.blocks):
        cache.write(view, block, known(view)[row_N][rows])
    assert cache.finish(view)
    return COUNT


def teacher(folder: Path, loader: PlanLoader, numbers: range, codec=CODECS[0], fill=None) -> CachedTeacher:
    cache = LogitCache.create(folder, {}, samples=COUNT, classes=7, codec=codec, rows_per_block=8)
    for view in () if fill else numbers:
        write(cache, loader, view)
    return CachedTeacher(cache, loader, torch.device("cpu"), numbers, fill)


def answers(own: CachedTeacher, loader: PlanLoader, epoch: int) -> torch.Tensor:
    """N x K: what it says in an epoch, padding included."""
    own.begin(epoch)
    logit_NK = torch.full((COUNT, 7), torch.nan)
    for batch in loader.epoch(epoch):
        signals = own(batch, nullcontext())
        assert signals.features_L == []
        logit_NK[batch.index_B] = signals.logits_BK
    return logit_NK


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("views", [Views(seed=5), Views(seed=5, count=3), Views(seed=5, count=3, first=4)])
def test_each_sample_gets_the_logits_of_its_own_view(tmp_path, codec, views):
    loader = feed(views)
    own = teacher(tmp_path, loader, range(5) if views.count is None else range(3), codec)
    for epoch in range(5):
        view = views.of(epoch)
        whole = codec.decode(codec.encode(known(view)), COUNT, 7).dense()
        torch.testing.assert_close(answers(own, loader, epoch), torch.from_numpy(whole), atol=1e-6, rtol=0)
        if codec.kind != "top_k":
            assert np.array_equal(answers(own, loader, epoch).numpy(), whole)
    own.close()
    loader.close()


@pytest.mark.parametrize(("share", "reads", "most"), [(0.1, 4, 4), (0.0, 12, 2)])
def test_all_views_are_kept_or_only_two(tmp_path, monkeypatch, share, reads, most):
    """When they fit each is read once; when not, again in each round, and the answers are the same."""
    loader = feed(Views(seed=5, count=4))
    numbers, real = [], LogitCache.read
    monkeypatch.setattr(LogitCache, "read", lambda cache, view: numbers.append(view) or real(cache, view))
    monkeypatch.setattr(cached_teacher, "MEMORY_SHARE", share)
    own = teacher(tmp_path, loader, range(4))
    for epoch in range(11):
        assert np.array_equal(answers(own, loader, epoch).numpy(), known(epoch % 4))
        assert len(own._kept) <= most
    own.close()
    assert len(numbers) == reads and numbers[:4] == [0, 1, 2, 3]
    loader.close()


@pytest.mark.parametrize(("factor", "kept"), [(1.0, True), (0.999, False)])
def test_whether_they_fit_is_a_share_of_the_free_memory(tmp_path, monkeypatch, factor, kept):
    loader = feed(Views(seed=5, count=4))
    need = 4 * (COUNT * 7 * 4 + 3 * 64)
    monkeypatch.setattr(
        cached_teacher, "_free_memory", lambda device: factor * need / cached_teacher.MEMORY_SHARE + kept
    )
    own = teacher(tmp_path, loader, range(4))
    assert own._keep is kept
    own.close()
    loader.close()


def test_the_next_view_is_read_ahead_and_what_is_wrong_with_it_is_said_when_it_is_due(tmp_path):
    loader = feed(Views(seed=5))
    own = teacher(tmp_path, loader, range(2))
    block = tmp_path / "view-0001" / "block-00002.logits"
    content = block.read_bytes()
    block.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    answers(own, loader, 0)
    own._pool.shutdown()
    block.write_bytes(content)  # too late: it was read in the first epoch
    with pytest.raises(InputError, match=r"damaged in 1 files of view 1: view-0001/block-00002\.logits .*the checksum"):
        own.begin(1)
    own.close()
    loader.close()


def test_a_view_that_is_not_there_is_made_and_not_read_ahead(tmp_path):
    loader, made = feed(Views(seed=5, count=2)), []
    own = teacher(tmp_path, loader, range(2), fill=lambda view: made.append(view) or write(own._cache, loader, view))
    for epoch in range(6):
        assert np.array_equal(answers(own, loader, epoch).numpy(), known(epoch % 2))
        assert made == [0, 1][: epoch + 1]
    own.close()
    loader.close()


def test_an_epoch_that_was_not_begun_is_not_answered(tmp_path):
    loader = feed(Views(seed=5))
    own = teacher(tmp_path, loader, range(2))
    own.begin(0)
    with pytest.raises(AssertionError, match="begin was not called for this view"):
        own(next(loader.epoch(1)), nullcontext())
    own.close()
    loader.close()


# ---- a teacher at its own size

LARGE = ("--data.image_size", "[12, 12]", "--epochs", "2")
STUDENT = ("--distill.teacher_size", "student")


def test_a_teacher_at_its_own_size_is_cached_as_it_answers(home, tmp_path):
    shutil.copy(home / "teacher.safetensors", tmp_path)
    tiny_digits.fill(tmp_path, *LARGE)
    online = tiny_digits.train(tmp_path, "online", *LARGE)
    cached = tiny_digits.train(tmp_path, "cached", *LARGE, *tiny_digits.CACHED)
    assert tiny_digits.losses(cached) == tiny_digits.losses(online)
    message = r"teacher\.size: the cache has \[8, 8\], this run has nothing"
    with pytest.raises(InputError, match=message):
        tiny_digits.train(tmp_path, "other", *LARGE, *STUDENT, *tiny_digits.CACHED)


def test_a_cache_at_the_students_size_is_refused_at_the_teachers_own(home, tmp_path):
    shutil.copy(home / "teacher.safetensors", tmp_path)
    tiny_digits.fill(tmp_path, *LARGE, *STUDENT)
    with pytest.raises(InputError, match=r"teacher\.size: the cache has nothing, this run has \[8, 8\]"):
        tiny_digits.train(tmp_path, "run", *LARGE, *tiny_digits.CACHED)


def test_a_cache_holds_for_both_where_the_sizes_are_equal(home, tmp_path):
    shutil.copytree(home / "cache", tmp_path / "cache")
    shutil.copy(home / "teacher.safetensors", tmp_path)
    own = tiny_digits.train(tmp_path, "own", *tiny_digits.CACHED)
    student = tiny_digits.train(tmp_path, "student", *STUDENT, *tiny_digits.CACHED)
    assert tiny_digits.sha(own) == tiny_digits.sha(student)


def test_an_adopted_teacher_is_told_by_what_it_was_made_from(tmp_path):
    net, spec = tiny_digits.network(0)
    own = {"mean": (0.5,), "std": (0.5,), "eval_crop": 1.0, "cost": counting.measure(net, (1, 8, 8))}
    made = Card(model=spec, classes=tiny_digits.CLASSES, input_CHW=(1, 8, 8), **own, lineage={"stage": "adopt"})
    one = replace(made, lineage={"stage": "adopt", ORIGIN_SHA: "a"})
    measured = replace(one, scores={"validation": Score(correct=1, total=2)})
    other = replace(made, lineage={"stage": "adopt", ORIGIN_SHA: "b"})
    keys = []
    for number, card in enumerate((one, measured, other)):
        artefact.save(tmp_path / f"{number}.safetensors", net, card)
        keys.append(cached_teacher._weights(str(tmp_path / f"{number}.safetensors"), card))
    assert keys[0] == keys[1] != keys[2]
