"""Pictures of a plan show what the network gets. R rows, H x W pixels, C channels."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import reference
from data_pipes import contact_sheet
from data_pipes.executors import build
from data_pipes.loader import Layout, PlanLoader
from data_pipes.spec import AugmentSpec, DataSpec

CPU = torch.device("cpu")
MIXED = AugmentSpec(
    crop_scale=(0.5, 1.0), horizontal_flip=0.5, rotation=20, erase=0.3, mixup=0.5, cutmix=1.0, mix_probability=0.8
)


def spec(size_HW=(24, 20), channels=3, augment=MIXED, **changes) -> DataSpec:
    shape = {"mean": (0.4, 0.5, 0.6)[:channels], "std": (0.3,) * channels, "threads": 1}
    return DataSpec(source="digits", image_size=size_HW, augment=augment, **{**shape, **changes})


def levels(config, samples, view, seed) -> np.ndarray:
    """What PlanLoader feeds the network in one view, by row of the split, as levels again."""
    layout = Layout(batch_size=4, micro_batch_size=4)
    loader_seed = None if view == -1 else seed
    executor = build.build(build.choose(config, samples, CPU), config, samples, CPU, torch.float64)
    feed = PlanLoader(samples, config, layout, executor, seed=loader_seed, device=CPU, dtype=torch.float64)
    image_NHWC = np.zeros((len(samples), *config.image_size, config.channels))
    for batch in feed.epoch(max(view, 0)):
        real = batch.weight_B > 0
        image_BHWC = batch.image_BCHW.permute(0, 2, 3, 1).numpy()
        shown = (image_BHWC * np.array(config.std) + np.array(config.mean)) * 255
        image_NHWC[batch.index_B[real]] = shown[real]
    feed.close()
    return image_NHWC


@pytest.mark.parametrize("name", ["host", "resident"])
@pytest.mark.parametrize("channels", [1, 3])
def test_tiles_are_the_loaders_images(name, channels):
    images = [reference.picture(70 + i, 90 - i, channels, i) for i in range(15)]
    samples, config = reference.in_memory(images), spec(channels=channels, executor=name)
    rows = np.array([0, 4, 9, 14])
    columns = contact_sheet.tiles(config, samples, rows, 3, seed=5)
    assert len(columns) == 4 and all(column.shape == (4, 24, 20, channels) for column in columns)
    for view, column in zip((-1, 0, 1, 2), columns, strict=True):
        fed = levels(config, samples, view, 5)[rows]
        assert column.dtype == np.uint8 and np.abs(column - fed).max() <= 0.5 + 1e-3
    unmixed = contact_sheet.tiles(spec(channels=channels, executor=name, augment=AugmentSpec()), samples, rows, 1, 5)
    assert np.array_equal(unmixed[0], columns[0])
    assert not np.array_equal(unmixed[1], columns[1])  # control
    other = contact_sheet.tiles(config, samples, rows, 1, seed=6)
    assert not np.array_equal(other[1], columns[1])


def test_rows_come_in_the_order_asked_for():
    samples, config = reference.in_memory([reference.noise(30, 30, 3, i) for i in range(9)]), spec()
    sorted_rows = contact_sheet.tiles(config, samples, np.array([2, 7]), 2, 0)
    other_rows = contact_sheet.tiles(config, samples, np.array([7, 2]), 2, 0)
    for one, other in zip(sorted_rows, other_rows, strict=True):
        assert np.array_equal(one, other[::-1]) and not np.array_equal(one[0], one[1])


@pytest.mark.parametrize("first", [(32, 32), (32, 30)])
def test_a_few_rows_are_drawn_by_the_executor_of_the_whole_split(first):
    """`auto` and the canvas' size depend on all sizes of the split: the run's, not those of the rows on the sheet."""
    images = [reference.noise(*first, 3, 0), reference.noise(200, 150, 3, 1), reference.noise(31, 33, 3, 2)]
    samples, config = reference.in_memory(images), spec(augment=AugmentSpec(), executor="auto")
    column = contact_sheet.tiles(config, samples, np.array([0]), 0, 0)[0]
    assert np.abs(column - levels(config, samples, -1, 0)[:1]).max() <= 0.5 + 1e-3


def test_a_few_rows_of_a_canvas_are_the_runs_own():
    images = [reference.noise(32, 32, 3, 0), reference.noise(40, 35, 3, 1)]
    samples, config = reference.in_memory(images), spec(augment=AugmentSpec(), executor="resident")
    column = contact_sheet.tiles(config, samples, np.array([0]), 0, 0)[0]
    assert np.abs(column - levels(config, samples, -1, 0)[:1]).max() <= 0.5 + 1e-3


def words(rows: list[tuple[str, str]]) -> contact_sheet.Words:
    return contact_sheet.Words(title="t", detail="d", columns=["evaluation", "view 0", "view 1"], rows=rows)


@pytest.mark.parametrize(("side_HW", "zoom"), [((8, 8), 14), ((28, 20), 6), ((112, 150), 1), ((224, 224), 1)])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_sheet_holds_every_tile_magnified(side_HW, zoom, channels):
    columns = [np.stack([reference.noise(*side_HW, channels, 10 * x + y) for y in range(2)]) for x in range(3)]
    sheet = np.asarray(contact_sheet.compose(columns, words([("cat", "a"), ("dog", "b")])))
    gap, above, names = contact_sheet.GAP, contact_sheet.HEAD + contact_sheet.LINE, contact_sheet.NAMES
    height, width = side_HW[0] * zoom, side_HW[1] * zoom
    assert sheet.shape == (above + 2 * (height + gap) + gap, gap + names + 3 * (width + gap), 3)
    for x in range(3):
        for y in range(2):
            top, left = above + y * (height + gap), gap + names + x * (width + gap)
            tile = columns[x][y].repeat(zoom, axis=0).repeat(zoom, axis=1)
            assert np.array_equal(
                sheet[top : top + height, left : left + width], np.broadcast_to(tile, (*tile.shape[:2], 3))
            )
    assert (sheet[above : above + height, :names] < 100).any()  # the class is there


def test_a_name_without_room_ends_in_an_ellipsis_and_stays_in_its_column():
    columns = [np.full((1, 112, 112, 1), 255, np.uint8)] * 3
    long, cut, other = (
        np.asarray(contact_sheet.compose(columns, words([(name, "a")]))) for name in ("x" * 90, "x" * 40, "y" * 40)
    )
    assert np.array_equal(long, cut) and not np.array_equal(cut, other)


def test_the_sheet_has_samples_spread_over_the_classes_in_their_first_views():
    samples = reference.in_memory([reference.noise(8, 8, 1, i) for i in range(30)])
    config = spec((8, 8), 1, replace(MIXED, mixup=0, cutmix=0))
    rows = np.array([0, 27, 1, 2])  # of classes 0, 0, 1 and 2: three classes, four rows
    columns = contact_sheet.tiles(config, samples, rows, 2, 7)
    expected = contact_sheet.compose(
        columns,
        contact_sheet.Words(
            title="4 of 30 images (train), as the network sees them",
            detail="Training views: crop 50 to 100 % of the area, flip left-right (50 %), rotate ±20°, "
            "erase a box (30 %)",
            columns=["evaluation", "view 0", "view 1"],
            rows=[(f"class {row % 3}", str(row)) for row in rows],
        ),
    )
    drawn = contact_sheet.draw(config, samples, images=4, views=2, seed=7)
    assert drawn.tobytes() == expected.tobytes()
    assert drawn.tobytes() != contact_sheet.draw(config, samples, images=4, views=2, seed=8).tobytes()  # control


def test_rows_are_shared_out_over_the_classes():
    samples = reference.in_memory([reference.noise(8, 8, 1, i) for i in range(9)])
    uneven = replace(samples, label_N=np.array([5, 5, 5, 5, 5, 5, 2, 1, 1]), classes=tuple("abcdef"))
    assert contact_sheet.by_class(uneven, 3).tolist() == [7, 6, 0]
    assert contact_sheet.by_class(uneven, 5).tolist() == [7, 8, 6, 0, 5]
    assert contact_sheet.by_class(uneven, 2).tolist() == [8, 3]
    assert sorted(contact_sheet.by_class(uneven, 99).tolist()) == list(range(9))


def test_samples_without_labels_have_a_sheet_too():
    samples = reference.in_memory([reference.noise(8, 8, 1, i) for i in range(3)])
    unlabelled, config = replace(samples, label_N=np.full(3, -1, np.int64)), spec((8, 8), 1, AugmentSpec())
    one, all_three = (contact_sheet.draw(config, unlabelled, images=n, views=0, seed=0) for n in (1, 99))
    assert all_three.height - one.height == 2 * (112 + contact_sheet.GAP)
