"""Micro-batches: every sample once, the same for any number of processes, mixed and resumed exactly.

N samples, G global batch, m micro-batch, W processes, A accumulation; B samples of a micro-batch, K classes.
"""

from dataclasses import replace
from functools import cache
from itertools import chain
from threading import current_thread

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState
from hypothesis import given, settings
from hypothesis import strategies as st

import reference
from configs.errors import UsageError
from cpu_loader import cpu_loader
from data_pipes import pixels, plan
from data_pipes.drawn import Views
from data_pipes.executors import build
from data_pipes.loader import Layout, PlanLoader, partner_places
from data_pipes.pixels import Normaliser
from data_pipes.spec import AugmentSpec, DataSpec

CPU = torch.device("cpu")
SIDE = (6, 5)
PLAIN = AugmentSpec(horizontal_flip=0.5, rotation=20, erase=0.3)
MIXED = replace(PLAIN, mixup=0.5, cutmix=1.0, mix_probability=0.8)
CLASSES = 3


@cache
def split(count: int):
    return reference.in_memory(np.stack([reference.noise(*SIDE, 1, seed) for seed in range(count)]), CLASSES)


def spec(augment=PLAIN, **changes) -> DataSpec:
    values = {"executor": "resident", "threads": 1, "mean": (0.4,), "std": (0.3,), **changes}
    return DataSpec(source="digits", image_size=SIDE, augment=augment, **values)


def loader(count, batch, micro, world=1, rank=0, augment=PLAIN, seed=7, dtype=torch.float64, **changes) -> PlanLoader:
    layout = Layout(batch_size=batch, micro_batch_size=micro, world_size=world, rank=rank)
    return cpu_loader(split(count), spec(augment, **changes), layout, seed=seed, dtype=dtype)


def epoch(count, batch, micro, *, world=1, rank=0, number=0, first_step=0, **changes):
    feed = loader(count, batch, micro, world, rank, **changes)
    batches = list(feed.epoch(number, first_step=first_step))
    feed.close()
    return batches


def steps(count, micro, world, accumulation, **changes):
    """steps[s] lists the micro-batches of step s over all processes, in slot order."""
    batch = micro * world * accumulation
    ranks = [epoch(count, batch, micro, world=world, rank=rank, **changes) for rank in range(world)]
    turns = [[ranks[rank][turn] for rank in range(world)] for turn in range(len(ranks[0]))]
    return [list(chain(*turns[s : s + accumulation])) for s in range(0, len(turns), accumulation)]


def equal(one, other) -> bool:
    tensors = ("image_BCHW", "target_BK", "label_B", "index_B", "weight_B")
    return one.view == other.view and all(torch.equal(getattr(one, t), getattr(other, t)) for t in tensors)


def expected_order(count, augment, number, seed=7):
    partner_N = plan.training(seed, number, augment, split(count).size_N2, SIDE).partner_N
    return plan.order(seed, number, partner_N)


# ---- which rows


layouts = {
    "count": st.integers(1, 60),
    "half": st.integers(1, 4),
    "world": st.integers(1, 3),
    "accumulation": st.integers(1, 3),
}


@settings(max_examples=60, deadline=None)
@given(augment=st.sampled_from([PLAIN, MIXED]), **layouts)
def test_each_sample_comes_once_in_the_order_of_the_epoch(augment, count, half, world, accumulation):
    micro = 2 * half if augment.mixes else half
    order_N = expected_order(count, augment, 2)
    seen, total = [], micro * world * accumulation
    dealt = steps(count, micro, world, accumulation, augment=augment, number=2)
    assert len(dealt) == -(-count // total)
    for step in dealt:
        assert len(step) == world * accumulation and all(len(batch.index_B) == micro for batch in step)
        index, weight = torch.cat([b.index_B for b in step]), torch.cat([b.weight_B for b in step])
        real = int((weight > 0).sum())
        assert (weight[:real] > 0).all() and (weight[real:] == 0).all()
        # The mean over slots of sum(loss * weight) is the mean over real samples.
        torch.testing.assert_close(weight.sum() / (world * accumulation), torch.tensor(1.0, dtype=torch.float64))
        assert len(torch.unique(weight[:real])) == 1
        seen += index[:real].tolist()
        padding = index[real:].tolist()
        assert set(padding) <= set(order_N.tolist())
        for batch in step:
            label_B = torch.from_numpy(split(count).label_N)[batch.index_B]
            assert torch.equal(batch.label_B, label_B) and batch.view == 2
    assert seen == order_N.tolist()


@settings(max_examples=40, deadline=None)
@given(count=st.integers(1, 60), half=st.integers(1, 3), slots=st.sampled_from([2, 4, 6]), mixed=st.booleans())
def test_micro_batches_do_not_depend_on_the_number_of_processes(count, half, slots, mixed):
    augment = MIXED if mixed else PLAIN
    worlds = [w for w in (1, 2, 3) if slots % w == 0]
    one, *others = [steps(count, 2 * half, w, slots // w, augment=augment, number=1) for w in worlds]
    for other in others:
        assert len(other) == len(one)
        for step, same in zip(one, other, strict=True):
            assert all(equal(a, b) for a, b in zip(step, same, strict=True))
    if count > 4 * half:  # control: micro-batches do differ from one another
        assert not equal(one[0][0], one[0][1])


def test_epochs_and_seeds_have_their_own_order_and_views():
    def key(number, seed):
        batches = epoch(20, 4, 4, number=number, seed=seed)
        return torch.cat([b.index_B for b in batches]).numpy().tobytes(), batches[0].view

    assert key(0, 1) == key(0, 1)
    assert len({key(number, seed)[0] for number in range(3) for seed in range(3)}) == 9
    assert key(2, 1)[1] == 2


def test_padded_rows_are_real_images_of_the_epochs_start():
    plain = epoch(5, 4, 4)
    assert plain[1].weight_B.tolist() == [1, 0, 0, 0]
    assert plain[1].index_B[1:].tolist() == plain[0].index_B[:3].tolist()
    assert torch.equal(plain[1].image_BCHW[1:], plain[0].image_BCHW[:3])
    assert plain[1].image_BCHW.std() > 0.1


# ---- resuming


@pytest.mark.parametrize("augment", [PLAIN, MIXED])
@pytest.mark.parametrize(("world", "rank"), [(1, 0), (2, 1)])
def test_an_epoch_taken_up_at_a_step_is_the_tail_of_the_whole(augment, world, rank):
    arrangement = {"world": world, "rank": rank, "augment": augment, "number": 3}
    whole = epoch(29, 8, 2, **arrangement)
    accumulation = 8 // (2 * world)
    assert len(whole) == 4 * accumulation
    for step in range(5):
        tail = epoch(29, 8, 2, first_step=step, **arrangement)
        assert len(tail) == len(whole) - step * accumulation
        assert all(equal(a, b) for a, b in zip(tail, whole[step * accumulation :], strict=True))
    assert not equal(whole[0], whole[accumulation])  # control


@pytest.mark.parametrize("name", ["host", "resident", "dali"])
def test_views_do_not_depend_on_prefetch_depth(name):
    runs = [epoch(23, 4, 2, augment=MIXED, prefetch=p, executor=name) for p in (1, 3, 50)]
    for run in runs[1:]:
        assert all(equal(a, b) for a, b in zip(run, runs[0], strict=True))


def test_prefetching_keeps_the_asked_number_of_micro_batches_under_way(monkeypatch):
    begun = []
    for depth in (1, 4):
        feed = loader(20, 2, 2, prefetch=depth)
        submit = feed._executor.submit
        monkeypatch.setattr(feed._executor, "submit", lambda *a, submit=submit: begun.append(1) or submit(*a))
        begun.clear()
        batches = feed.epoch(0)
        counts = [(next(batches), len(begun))[1] for _ in range(3)]
        assert counts == [depth + 1, depth + 2, depth + 3]
        batches.close()
        feed.close()


@pytest.mark.parametrize("name", ["host", "resident", "dali"])
@pytest.mark.parametrize("prefetch", [1, 3, 50])
def test_epochs_that_follow_one_another_are_the_same_as_alone(name, prefetch):
    """Also where another epoch comes than was expected, or none does."""
    changes = {"augment": MIXED, "prefetch": prefetch, "executor": name}
    feed = loader(23, 8, 2, **changes)
    for number, first_step in ((0, 0), (1, 0), (2, 0), (5, 0), (6, 1)):
        found = list(feed.epoch(number, first_step=first_step, followed=True))
        alone = epoch(23, 8, 2, number=number, first_step=first_step, **changes)
        assert all(equal(a, b) for a, b in zip(found, alone, strict=True))
    feed.close()


def test_the_next_epoch_is_under_way_when_one_ends(monkeypatch):
    feed, begun = loader(20, 2, 2, prefetch=4), []
    submit, drawn = feed._executor.submit, feed._drawing._draw
    monkeypatch.setattr(feed._executor, "submit", lambda *a: begun.append(1) or submit(*a))
    drawers = []
    monkeypatch.setattr(feed._drawing, "_draw", lambda n: drawers.append((n, current_thread().name)) or drawn(n))
    shown = [len(begun) - at for at, _ in enumerate(feed.epoch(0, followed=True))]
    assert shown == [5] * 10  # the one that is shown, and four
    assert len(begun) == 14
    assert [number for number, _ in drawers] == [0, 1]
    assert drawers[0][1] == current_thread().name and drawers[1][1].startswith("plan")
    assert len(list(feed.epoch(1))) == 10 and len(begun) == 20 and len(drawers) == 2
    list(feed.epoch(2))
    assert len(drawers) == 3 and len(begun) == 30  # the control: none was begun behind epoch 1, which nothing follows
    feed.close()


@pytest.mark.parametrize("name", ["host", "resident", "dali"])
def test_an_epoch_that_was_prepared_is_under_way_and_the_same(name, monkeypatch):
    feed, begun = loader(20, 2, 2, prefetch=3, executor=name), []
    submit = feed._executor.submit
    monkeypatch.setattr(feed._executor, "submit", lambda *a: begun.append(1) or submit(*a))
    alone = list(feed.epoch(0))
    begun.clear()
    feed.prepare(0)
    assert len(begun) == 3
    assert all(equal(a, b) for a, b in zip(feed.epoch(0), alone, strict=True)) and len(begun) == 10
    feed.prepare(0)
    assert [batch.index_B.tolist() for batch in feed.epoch(1)] != [batch.index_B.tolist() for batch in alone]
    feed.close()


def test_a_closed_loader_keeps_no_labels():
    feed = loader(20, 2, 2)
    labels = feed._label_N
    assert len(labels) == 20  # control
    feed.close()
    assert feed._label_N.untyped_storage().nbytes() == 0 and feed._label_N.device == labels.device


def test_the_host_knows_how_many_rows_are_real():
    for world, rank in ((1, 0), (2, 1)):
        feed = loader(21, 8, 4, world=world, rank=rank)
        batches = list(feed.epoch(0))
        assert [batch.real for batch in batches] == [int((batch.weight_B > 0).sum()) for batch in batches]
        assert any(batch.real < 4 for batch in batches)
        feed.close()


# ---- pixels, targets, mixing


def levels(batch) -> np.ndarray:
    return ((batch.image_BCHW * 0.3 + 0.4) * 255).permute(0, 2, 3, 1).numpy()


def test_images_are_the_executors_normalised():
    view = plan.training(7, 4, PLAIN, split(11).size_N2, SIDE)
    worker = build.build(build.choose(spec(), split(11), CPU), spec(), split(11), CPU)
    expected = pixels.levels(worker.submit(np.arange(11), view).result(), spec()).numpy()
    worker.close()
    for batch in epoch(11, 4, 2, number=4):
        np.testing.assert_allclose(levels(batch), expected[batch.index_B], atol=1e-9)
        onehot = torch.nn.functional.one_hot(batch.label_B, CLASSES).double()
        assert torch.equal(batch.target_BK, onehot)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_types_follow_the_dtype(dtype):
    batch = epoch(6, 4, 4, augment=MIXED, dtype=dtype)[0]
    assert batch.image_BCHW.dtype == batch.target_BK.dtype == batch.weight_B.dtype == dtype
    assert batch.label_B.dtype == batch.index_B.dtype == torch.int64
    assert batch.image_BCHW.shape == (4, 1, *SIDE) and batch.target_BK.shape == (4, CLASSES)


@pytest.mark.parametrize("augment", [replace(PLAIN, mixup=0.5), replace(PLAIN, cutmix=1.0), MIXED])
@pytest.mark.parametrize("count", [24, 25, 2, 1])
def test_mixed_batches_are_the_blend_of_the_unmixed_views(augment, count):
    view = plan.training(7, 1, augment, split(count).size_N2, SIDE)
    share_N = plan.label_share(view, SIDE)
    plain = {}
    for batch in epoch(count, 4, 2, number=1, augment=PLAIN):
        plain |= {int(i): image for i, image in zip(batch.index_B, batch.image_BCHW, strict=True)}
    label_N, changed = split(count).label_N, 0
    for batch in epoch(count, 4, 2, number=1, augment=augment):
        torch.testing.assert_close(batch.target_BK.sum(1), torch.ones(2, dtype=torch.float64))
        for i, image, target in zip(batch.index_B.tolist(), batch.image_BCHW, batch.target_BK, strict=True):
            partner = int(view.partner_N[i])
            expected = view.blend_N[i] * plain[i] + (1 - view.blend_N[i]) * plain[partner]
            y, x, h, w = view.paste_N4[i]
            expected[:, y : y + h, x : x + w] = plain[partner][:, y : y + h, x : x + w]
            torch.testing.assert_close(image, expected, atol=1e-12, rtol=0)
            onehot = np.eye(CLASSES)
            soft = share_N[i] * onehot[label_N[i]] + (1 - share_N[i]) * onehot[label_N[partner]]
            np.testing.assert_allclose(target.numpy(), soft, atol=1e-12)
            changed += not torch.equal(image, plain[i])
        assert (batch.label_B.numpy() == label_N[batch.index_B]).all()
    assert changed > 0.5 * count or count == 1  # control


@pytest.mark.parametrize("count", [24, 25])
def test_pairs_are_adjacent_in_every_micro_batch_padding_included(count):
    partner_N = plan.training(7, 0, MIXED, split(count).size_N2, SIDE).partner_N
    for batch in epoch(count, 12, 6, augment=MIXED):
        pairs = batch.index_B.numpy().reshape(-1, 2)
        assert np.array_equal(partner_N[pairs[:, 0]], pairs[:, 1])


def test_every_micro_batch_has_the_same_strides():
    """That of a lone sample, too, which is not mixed: convolutions of one channel choose their algorithm by strides."""
    feed = loader(25, 4, 4, augment=MIXED)
    ordered = plan.pairs(feed.plan(0).partner_N)
    batches = [*feed.epoch(0), *feed.part(0, ordered), *feed.part(0, ordered[-1:])]
    assert len({batch.image_BCHW.stride() for batch in batches}) == 1
    assert batches[-1].index_B.unique().tolist() == [ordered[-1]]
    feed.close()


def test_partners_are_found_and_separated_partners_refused():
    assert partner_places(np.array([4, 9, 2, 2]), np.array([9, 4, 2, 2]), 4).tolist() == [1, 0, 2, 3]
    assert partner_places(np.array([4, 9, 2, 2]), np.array([9, 4, 2, 2]), 2).tolist() == [1, 0, 0, 1]
    with pytest.raises(AssertionError, match="partners were separated"):
        partner_places(np.array([4, 2, 9, 2]), np.array([9, 2, 4, 2]), 4)


def test_an_odd_micro_batch_cannot_be_mixed():
    with pytest.raises(UsageError, match="mixup and cutmix need an even micro-batch; it is 3"):
        loader(12, 6, 3, augment=MIXED)
    loader(12, 6, 3, augment=PLAIN).close()  # controls: without mixing, and in evaluation, it can
    loader(12, 3, 3, augment=MIXED, seed=None).close()
    loader(12, 6, 3, augment=replace(MIXED, mix_probability=0.0)).close()


# ---- views


def shown(views: Views, number: int, **changes):
    """Rows in the order of an epoch, their images in their own order, and the view."""
    layout = Layout(batch_size=4, micro_batch_size=4)
    feed = cpu_loader(split(21), spec(MIXED), layout, seed=7, dtype=torch.float64, views=views, **changes)
    batches = list(feed.epoch(number))
    feed.close()
    row_N, image_NCHW = torch.cat([b.index_B for b in batches])[:21], torch.cat([b.image_BCHW for b in batches])[:21]
    assert len({b.view for b in batches}) == 1
    return row_N.tolist(), image_NCHW[row_N.argsort()].numpy().tobytes(), batches[0].view


def test_views_come_again_and_orders_do_not():
    seen = [shown(Views(seed=7, count=3), number) for number in range(7)]
    assert [view for _, _, view in seen] == [0, 1, 2, 0, 1, 2, 0]
    for number in range(3, 7):
        assert seen[number][1] == seen[number - 3][1] and seen[number][0] != seen[number - 3][0]
    assert len({images for _, images, _ in seen}) == 3  # control


def test_later_runs_go_on_with_views_and_orders_where_the_first_stopped():
    whole = [shown(Views(seed=7), number) for number in range(4)]
    assert [shown(Views(seed=7, first=2), number) for number in range(2)] == whole[2:]
    assert [shown(Views(seed=7, count=3, first=2), number)[2] for number in range(4)] == [2, 0, 1, 2]
    assert whole[0] == shown(None, 0)  # unless given, they are those of the loader's own seed


def beginning(share: float, number: int = 0, *, augment=PLAIN, first_step: int = 0):
    """Micro-batches of an epoch that shows a share of 27 rows in steps of 4."""
    layout, views = Layout(batch_size=4, micro_batch_size=4), Views(seed=7, count=2, share=share)
    feed = cpu_loader(split(27), spec(augment), layout, seed=7, dtype=torch.float64, views=views)
    batches = list(feed.epoch(number, first_step=first_step))
    feed.close()
    return batches


@pytest.mark.parametrize("augment", [PLAIN, MIXED])
@pytest.mark.parametrize(("share", "shown"), [(0.5, 4), (0.3, 2), (0.01, 1), (1.0, 7)])
def test_a_share_of_an_epoch_is_its_beginning_and_a_part_of_its_own(augment, share, shown):
    whole, part = beginning(1.0, augment=augment), beginning(share, augment=augment)
    assert len(whole) == 7 and len(part) == shown
    assert all(equal(one, other) for one, other in zip(part, whole, strict=False))
    later = beginning(share, 2, augment=augment)
    assert part[0].view == later[0].view and not torch.equal(part[0].index_B, later[0].index_B)


def test_a_share_of_an_epoch_is_taken_up_at_a_step_too():
    whole, tail = (beginning(0.5, first_step=first) for first in (0, 3))
    assert len(whole) == 4 and equal(whole[3], tail[0]) and len(tail) == 1


def test_views_and_orders_have_seeds_of_their_own():
    one, other = shown(Views(seed=7), 0), shown(Views(seed=8), 0)
    assert one[1] != other[1]
    layout = Layout(batch_size=4, micro_batch_size=4)
    feed = cpu_loader(split(21), spec(PLAIN), layout, seed=9, views=Views(seed=7))
    row_N = torch.cat([batch.index_B for batch in feed.epoch(0)])[:21]
    assert row_N.tolist() == expected_order(21, PLAIN, 0, seed=9).tolist()
    assert feed.plan(0).crc() == plan.training(7, 0, PLAIN, split(21).size_N2, SIDE).crc()
    feed.close()


# ---- parts of a view


@settings(max_examples=60)
@given(
    count=st.integers(1, 40),
    half=st.integers(1, 4),
    other=st.integers(1, 4),
    mixed=st.booleans(),
    view=st.integers(0, 5),
    data=st.data(),
)
def test_a_part_has_the_pixels_targets_and_rows_of_an_epoch(count, half, other, mixed, view, data):
    """Whole pairs, in the order of `plan.pairs`; the lone one last, or by itself."""
    augment = MIXED if mixed else PLAIN
    epochs = {}
    for batch in epoch(count, 2 * other, 2 * other, number=view, augment=augment):
        rows = zip(batch.index_B.tolist(), batch.image_BCHW, batch.target_BK, batch.label_B, strict=True)
        epochs |= {row: parts for row, *parts in rows}
    micro = 2 * half if mixed else data.draw(st.integers(1, 7))
    feed = loader(count, micro, micro, augment=augment)
    ordered = plan.pairs(feed.plan(view).partner_N)
    starts = data.draw(st.lists(st.integers(0, (count - 1) // 2), unique=True, min_size=1))
    place_R = np.array([i for start in sorted(starts) for i in (2 * start, 2 * start + 1) if i < count])
    seen = []
    for batch in feed.part(view, ordered[place_R]):
        assert len(batch.index_B) == micro and batch.view == view
        real = int((batch.weight_B > 0).sum())
        assert (batch.weight_B[:real] > 0).all() and real > 0
        seen += batch.index_B[:real].tolist()
        for i, row in enumerate(batch.index_B.tolist()):  # padding, too
            image, target, label = epochs[row]
            assert torch.equal(batch.image_BCHW[i], image) and torch.equal(batch.target_BK[i], target)
            assert batch.label_B[i] == label
    feed.close()
    assert seen == ordered[place_R].tolist()


def test_a_part_of_all_rows_is_the_whole_of_a_view_and_another_view_is_not():
    feed = loader(25, 4, 4, augment=MIXED)
    ordered = plan.pairs(feed.plan(1).partner_N)
    batches, others = list(feed.part(1, ordered)), list(feed.part(2, plan.pairs(feed.plan(2).partner_N)))
    assert [b.index_B.tolist() for b in batches][-1] == [ordered[24], ordered[24], ordered[0], ordered[1]]
    assert [(b.weight_B > 0).tolist() for b in batches][-1] == [True, False, False, False]
    one, other = (torch.cat([b.image_BCHW for b in found])[:24] for found in (batches, others))
    assert not torch.equal(one, other)
    feed.close()


def test_a_part_is_no_process_of_several_and_no_epoch(accelerator):
    """Each process gets all the rows that it asks for, and accelerate hears nothing of it."""
    row_R = np.arange(10)
    for rank in (0, 1):
        feed = loader(29, 8, 2, world=2, rank=rank)
        seen = []
        for batch in feed.part(3, row_R):
            seen += batch.index_B[batch.weight_B > 0].tolist()
            assert not accelerator.gradient_state.in_dataloader
        assert seen == row_R.tolist()
        feed.close()


def test_partners_that_are_separated_are_refused_in_a_part_too():
    feed = loader(24, 4, 4, augment=MIXED)
    with pytest.raises(AssertionError, match="partners were separated"):
        list(feed.part(0, plan.pairs(feed.plan(0).partner_N)[1:5]))
    feed.close()


# ---- layout


@pytest.mark.parametrize(("batch", "micro", "world"), [(10, 4, 1), (8, 4, 3), (2, 4, 1), (4, 0, 1)])
def test_a_batch_that_cannot_be_divided_is_refused(batch, micro, world):
    with pytest.raises(UsageError, match=f"batch_size {batch} cannot be divided among {world} processes"):
        Layout(batch_size=batch, micro_batch_size=micro, world_size=world)


def test_accumulation_and_lengths():
    assert Layout(batch_size=24, micro_batch_size=4, world_size=3).accumulation == 2
    feed = loader(50, 24, 4, world=3)
    assert feed.steps == 3 and len(feed) == 6 and len(list(feed.epoch(0))) == 6
    feed.close()
    exact = loader(48, 24, 4)
    assert exact.steps == 2 and len(exact) == len(list(exact.epoch(5))) == 12
    exact.close()


# ---- evaluation


@pytest.mark.parametrize("world", [1, 2, 3])
def test_evaluation_comes_in_order_all_once_and_always_the_same(world):
    ranks = [epoch(17, 4 * world, 4, world=world, rank=r, seed=None, augment=MIXED) for r in range(world)]
    again = [epoch(17, 4 * world, 4, world=world, rank=r, seed=None, number=9) for r in range(world)]
    rows = []
    for turn in range(len(ranks[0])):
        for rank in range(world):
            batch = ranks[rank][turn]
            rows += batch.index_B[batch.weight_B > 0].tolist()
            assert batch.view == -1 and equal(batch, again[rank][turn])
            np.testing.assert_allclose(levels(batch), split(17).images.pixel_NHWC[batch.index_B], atol=1e-9)
    assert rows == list(range(17))


def test_unlabelled_samples_have_no_target():
    bare = replace(split(5), label_N=np.full(5, -1, np.int64), classes=())
    layout = Layout(batch_size=4, micro_batch_size=4)
    feed = cpu_loader(bare, spec(), layout, seed=None)
    for batch in feed.epoch(0):
        assert (batch.label_B == -1).all() and batch.target_BK.shape == (4, 0)
    feed.close()
    partly = replace(split(5), label_N=np.array([0, -1, 2, -1, 1]))
    feed = cpu_loader(partly, spec(), layout, seed=None)
    assert next(feed.epoch(0)).target_BK.sum(1).tolist() == [1, 0, 1, 0]
    feed.close()


# ---- accelerate


@pytest.fixture
def accelerator():
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
    yield Accelerator(cpu=True)
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


@pytest.mark.parametrize("count", [1, 7, 8, 9, 16, 23])
def test_gather_for_metrics_gives_each_sample_once(accelerator, count):
    feed = loader(count, 8, 8, seed=None)
    batches = [(accelerator.gather_for_metrics(b.index_B), accelerator.gather(b.index_B)) for b in feed.epoch(0)]
    assert torch.cat([trimmed for trimmed, _ in batches]).tolist() == list(range(count))
    assert len(torch.cat([padded for _, padded in batches])) == -(-count // 8) * 8  # control: there was padding
    feed.close()


def test_evaluation_does_not_accumulate():
    """accelerate trims the last micro-batch only; with accumulation the ones before it may be padding, too."""
    with pytest.raises(AssertionError, match="nothing to accumulate"):
        loader(9, 8, 2, seed=None)


def test_the_end_of_an_epoch_is_told_with_its_last_micro_batch(accelerator):
    feed = loader(10, 8, 2)
    for number in range(2):
        ends = [accelerator.gradient_state.end_of_dataloader for _ in feed.epoch(number)]
        assert ends == [False] * 7 + [True]
        assert accelerator.gradient_state.active_dataloader is None
    feed.close()


def test_an_epoch_left_in_the_middle_leaves_nothing_behind(accelerator):
    state = accelerator.gradient_state
    feed = loader(10, 2, 2)
    for _ in feed.epoch(0):
        assert state.active_dataloader is feed
        break
    assert not state.in_dataloader and state.dataloader_references == [None]
    batches = feed.epoch(1)
    next(batches)
    batches = feed.epoch(2)  # dropped, as by an exception in the trainer
    whole = list(batches)
    assert len(whole) == 5 and not state.in_dataloader and state.dataloader_references == [None]
    assert all(equal(a, b) for a, b in zip(whole, feed.epoch(2), strict=True))
    feed.close()


def test_validation_inside_of_a_training_epoch(accelerator):
    train, validation = loader(10, 2, 2), loader(3, 2, 2, seed=None)
    epoch_0 = train.epoch(0)
    next(epoch_0)
    assert [accelerator.gradient_state.end_of_dataloader for _ in validation.epoch(0)] == [False, True]
    assert accelerator.gradient_state.active_dataloader is train
    assert not accelerator.gradient_state.end_of_dataloader
    assert len(list(epoch_0)) == 4
    train.close()
    validation.close()


def test_an_error_of_the_executor_reaches_the_trainer_and_closes_the_epoch(accelerator, monkeypatch):
    feed = loader(10, 2, 2)
    monkeypatch.setattr(Normaliser, "write", lambda *a: (_ for _ in ()).throw(RuntimeError("boom")))
    with pytest.raises(RuntimeError, match="boom"):
        next(feed.epoch(0))
    assert not accelerator.gradient_state.in_dataloader
    feed.close()
