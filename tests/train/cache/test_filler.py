"""Filling a cache: a sample's logits are those that training would ask for, and it is asked for once.

N samples, R rows of a block, K classes.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import reference
import tiny_digits
from configs.errors import InputError
from cpu_loader import cpu_loader
from data_pipes.batch import Batch
from data_pipes.loader import Layout
from data_pipes.logits.cache import LogitCache
from data_pipes.logits.codec import Codec
from data_pipes.spec import AugmentSpec, DataSpec
from models.artefact import Card
from models.counting import measure
from train.cache import filler
from train.cache.filler import FAR, Difference, Filler, require_close
from train.live_teacher import LiveTeacher
from train.processes import make_accelerator
from train.student import Signals

K, ROWS = 5, 8
PLAIN = AugmentSpec(rotation=20, erase=0.5, horizontal_flip=0.5)
MIXED = replace(PLAIN, mixup=0.4, cutmix=1.0, mix_probability=0.8)
FLOAT32, FLOAT16, TOP_K = Codec("float32"), Codec("float16"), Codec("top_k", 2)
SPEC = DataSpec(source="digits", image_size=(8, 8), mean=(0.4,), std=(0.3,), executor="resident", threads=1)
NET, MODEL = tiny_digits.network(0, K)
OWN = {"mean": (0.5,), "std": (0.5,), "eval_crop": 1.0, "cost": measure(NET, (1, 8, 8))}
CARD = Card(model=MODEL, classes=tuple("abcde"), input_CHW=(1, 8, 8), **OWN)


class Teacher:
    """A live one that notes which samples it was asked for; of some it does not know what to say."""

    name = "the teacher t.safetensors"

    def __init__(self, *sick: int) -> None:
        self.live, self.sick, self.asked = LiveTeacher(NET, CARD, SPEC), torch.tensor(sick), []

    def __call__(self, batch: Batch, autocast) -> Signals:
        self.asked += [(batch.view, i) for i in batch.index_B[batch.weight_B > 0].tolist()]
        signals = self.live(batch, autocast)
        ill_B = torch.isin(batch.index_B, self.sick)
        return Signals(logits_BK=signals.logits_BK.masked_fill(ill_B[:, None], torch.nan), features_L=[])


def images(count: int):
    samples = reference.in_memory(np.stack([reference.noise(8, 8, 1, seed) for seed in range(count)]), K)
    return replace(samples, key_N=tuple(f"images/{i}.png" for i in range(count)))


def build(folder: Path, count=37, *, micro=6, augment=MIXED, codec=FLOAT32, teacher=None) -> Filler:
    layout = Layout(batch_size=micro, micro_batch_size=micro)
    loader = cpu_loader(images(count), replace(SPEC, augment=augment), layout, seed=7)
    cache = LogitCache.create(folder, {}, samples=count, classes=K, codec=codec, rows_per_block=ROWS)
    return Filler(cache, loader, teacher or Teacher(), make_accelerator("float32"))


def online(own: Filler, view: int) -> np.ndarray:
    """N x K: what the teacher says in an epoch of training."""
    logit_NK = np.full((len(own.loader.dataset), K), np.nan, np.float32)
    for batch in own.loader.epoch(view):
        answer_BK = own.teacher.live(batch, own.accelerator.autocast()).logits_BK
        logit_NK[batch.index_B] = answer_BK.numpy()
    return logit_NK


def spoil(own: Filler, view: int, order_N: np.ndarray) -> None:
    """Other rows in a view, with the right checksums and manifests."""
    logit_NK = own.cache.read(view).dense()[order_N]
    own.cache.discard([(view, block) for block in range(len(own.cache.blocks))])
    for block, rows in enumerate(own.cache.blocks):
        own.cache.write(view, block, logit_NK[rows])
    assert own.cache.finish(view) and own.cache.damage([view]) == {}


# ---- what is asked


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 23).filter(lambda n: n % ROWS != 1), st.integers(1, 6), st.booleans(), st.integers(0, 3))
def test_logits_are_those_of_training_bit_for_bit(tmp_path_factory, count, half, mixed, view):
    """Whatever the size of a micro-batch, and wherever in it a sample comes; with an odd number, for the lone one."""
    check_bits(build(tmp_path_factory.mktemp("x"), count, micro=2 * half, augment=MIXED if mixed else PLAIN), view)


@pytest.mark.parametrize("micro", [2, 4, 6])
@pytest.mark.parametrize("count", [ROWS + 1, 1])
def test_so_are_those_of_a_lone_sample_that_has_a_block_to_itself(tmp_path, count, micro):
    check_bits(build(tmp_path, count, micro=micro), 0)


def check_bits(own: Filler, view: int) -> None:
    count = len(own.loader.dataset)
    row_N = own.rows(view)
    assert sorted(row_N) == list(range(count))
    expected_NK = online(own, view)
    assert np.array_equal(own.logits(view, row_N), expected_NK[row_N])
    assert own.fill(view) == count
    assert np.array_equal(own.cache.read(view).dense(), expected_NK[row_N])
    assert count < 3 or not np.array_equal(online(own, view + 1), expected_NK)  # control: views differ
    own.loader.close()


def test_each_sample_is_asked_for_once(tmp_path):
    own = build(tmp_path)
    assert [own.fill(view) for view in (0, 3, 0, 3)] == [37, 37, 0, 0]
    assert sorted(own.teacher.asked) == [(view, i) for view in (0, 3) for i in range(37)]
    assert own.cache.views == [0, 3] and own.cache.missing(0) == []


def test_only_what_is_missing_is_asked_for(tmp_path):
    own = build(tmp_path)
    own.fill(0)
    before = tiny_digits.tree(tmp_path)
    own.cache.discard([(0, 2), (0, 4)])
    own.teacher.asked.clear()
    assert own.fill(0) == 8 + 5
    rows = np.concatenate([own.rows(0)[own.cache.blocks[block]] for block in (2, 4)])
    assert sorted(own.teacher.asked) == sorted((0, i) for i in rows)
    assert tiny_digits.tree(tmp_path) == before
    own.cache.discard([(0, None)])  # its manifest alone
    assert own.fill(0) == 0 and tiny_digits.tree(tmp_path) == before


def test_it_waits_for_blocks_that_another_process_makes(tmp_path, monkeypatch):
    own, other, waits = build(tmp_path), build(tmp_path), []
    monkeypatch.setattr(own.cache, "claim", lambda view, block: nullcontext(False))

    def sleep(seconds: float) -> None:
        waits.append(other.fill(1) if waits else 0)

    monkeypatch.setattr(filler, "time", SimpleNamespace(sleep=sleep))
    assert own.fill(1) == 0 and waits == [0, 37]
    assert own.teacher.asked == [] and own.cache.views == [1]


# ---- what is refused


def test_logits_that_are_not_finite_name_the_sample_and_are_not_written(tmp_path):
    own = build(tmp_path)
    place = int(np.flatnonzero(own.rows(0) == 20)[0])
    sick = build(tmp_path, teacher=Teacher(20))
    with pytest.raises(
        InputError, match=r"t\.safetensors: its logits are NaN or infinite for 1 samples of view 0: images/20\.png"
    ):
        sick.fill(0)
    left = sick.cache.missing(0)
    assert left[0] == place // ROWS  # blocks before it were made
    assert sick.cache.views == [] and not list(tmp_path.rglob("*.partial"))
    assert own.fill(0) == sum(own.cache.blocks[block].stop - own.cache.blocks[block].start for block in left)
    assert np.array_equal(own.cache.read(0).dense(), online(own, 0)[own.rows(0)])


def test_a_damaged_block_is_not_declared_complete(tmp_path):
    own = build(tmp_path)
    own.fill(1)
    (tmp_path / "view-0001.json").unlink()
    path = tmp_path / "view-0001" / "block-00002.logits"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"view 1 is damaged; `python -m train\.cache \.\.\. --repair` mends it"):
        own.fill(1)
    assert own.cache.views == []


# ---- comparing


@pytest.mark.parametrize("codec", [FLOAT32, FLOAT16, TOP_K])
@pytest.mark.parametrize("count", [1, 2, 37])
def test_a_sound_cache_does_not_differ(tmp_path, codec, count):
    """The teacher's own logits are stored and read like the cached ones before they are compared."""
    own = build(tmp_path, count, codec=codec)
    for view in (0, 1):
        own.fill(view)
    for asked in (1, 16, 1000):
        report = own.compare([0, 1], asked, seed=3)
        assert report.relative == report.largest == 0
        assert 1 <= report.samples <= 2 * count
        require_close(report, tmp_path)


def test_the_number_of_samples_is_about_what_was_asked_for(tmp_path):
    own = build(tmp_path, 401, micro=100)
    own.fill(0)
    for asked in (20, 101, 400, 9999):
        assert abs(own.compare([0], asked, seed=0).samples - min(asked, 401)) <= 1
    drawn = []
    for seed in (1, 1, 2):
        own.teacher.asked.clear()
        own.compare([0], 20, seed=seed)
        drawn.append(own.teacher.asked[:])
    assert drawn[0] == drawn[1] != drawn[2]


@pytest.mark.parametrize("codec", [FLOAT32, FLOAT16, TOP_K])
@pytest.mark.parametrize("augment", [PLAIN, MIXED])
def test_rows_that_were_exchanged_are_found(tmp_path, codec, augment):
    own = build(tmp_path, codec=codec, augment=augment)
    own.fill(0)
    spoil(own, 0, np.roll(np.arange(37), 2))
    report = own.compare([0], 16, seed=0)
    assert report.relative > 1 > FAR
    with pytest.raises(InputError, match=r"differ from the teacher's own by up to \d.*of these views, in spite of its"):
        require_close(report, tmp_path)


def test_another_view_is_found(tmp_path):
    own = build(tmp_path)
    for view in (0, 1):
        own.fill(view)
    other = own.cache.read(1).dense()
    own.cache.discard([(0, block) for block in range(len(own.cache.blocks))])
    for block, rows in enumerate(own.cache.blocks):
        own.cache.write(0, block, other[rows])
    assert own.cache.finish(0)
    assert own.compare([0], 16, seed=0).relative > FAR and own.compare([1], 16, seed=0).relative == 0


def test_the_worst_sample_is_named(tmp_path):
    own = build(tmp_path)
    for view in (0, 1):
        own.fill(view)
    order_N = np.arange(37)
    order_N[12] = 30
    spoil(own, 1, order_N)
    report = own.compare([0, 1], 10_000, seed=0)
    assert report.where == f"view 1, sample images/{own.rows(1)[12]}.png" and report.samples == 74


def test_what_is_no_number_is_not_close():
    report = Difference(samples=1, largest=0.0, relative=float("nan"), where="view 0, sample x")
    with pytest.raises(InputError, match="cached logits differ"):
        require_close(report, "folder")
    require_close(replace(report, relative=FAR), "folder")


@pytest.mark.parametrize(("process", "order"), [(0, [0, 1, 2, 3, 4]), (1, [1, 2, 3, 4, 0]), (2, [3, 4, 0, 1, 2])])
def test_processes_begin_at_different_blocks(tmp_path, monkeypatch, process, order):
    """Where nothing can be locked, three processes that all began at the first would compute everything three times."""
    own, taken, claim = build(tmp_path), [], LogitCache.claim

    def noted(self, view, block):
        taken.append(block)
        return claim(self, view, block)

    monkeypatch.setattr(LogitCache, "claim", noted)
    world = SimpleNamespace(process_index=process, num_processes=3, autocast=own.accelerator.autocast)
    assert replace(own, accelerator=world).fill(0) == 37
    assert taken == order
