"""Boxes against torchvision's own parameters. H x W pixels, N boxes."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torchvision.transforms import RandomErasing, RandomResizedCrop

from data_pipes import boxes
from data_pipes.draws import uniform
from data_pipes.spec import AugmentSpec, Operator

N = 20_000
OUT = (48, 64)
RATIO = (3 / 4, 4 / 3)


def sizes(height: int, width: int, count: int = N) -> np.ndarray:
    return np.tile(np.array([height, width], np.int32), (count, 1))


def random_boxes(size_N2: np.ndarray, scale, ratio=RATIO, *, whole_side=True, view=0):
    def draw(attempt: int) -> np.ndarray:
        return uniform(0, view, Operator.CROP, (len(size_N2), 4), attempt)

    return boxes.random_boxes(size_N2, scale, ratio, draw, whole_side=whole_side)


def test_area_is_uniform_and_aspect_log_uniform_where_every_box_fits():
    side, scale = 5000, (0.2, 0.6)  # sqrt(0.6 * 4 / 3) < 1: never rejected
    box_N4, found = random_boxes(sizes(side, side), scale)
    y, x, h, w = box_N4.T.astype(float)
    area, aspect = h * w / side**2, w / h
    assert found.all()
    assert stats.kstest(area, stats.uniform(0.2, 0.4).cdf).pvalue > 1e-3
    span = np.log(RATIO[1] / RATIO[0])
    assert stats.kstest(np.log(aspect), stats.uniform(np.log(RATIO[0]), span).cdf).pvalue > 1e-3
    assert stats.kstest(y / (side - h + 1), "uniform").pvalue > 1e-3
    assert stats.kstest(x / (side - w + 1), "uniform").pvalue > 1e-3
    # Controls: a range 5 % wider, an aspect uniform itself, and a place that never reaches the last row are seen.
    assert stats.kstest(area, stats.uniform(0.2, 0.42).cdf).pvalue < 1e-3
    assert stats.kstest(aspect, stats.uniform(RATIO[0], RATIO[1] - RATIO[0]).cdf).pvalue < 1e-3
    assert stats.kstest(y / (side - h + 1) * 0.96, "uniform").pvalue < 1e-3


def test_every_place_of_a_small_box_is_taken_the_last_included():
    box_N4, _ = random_boxes(sizes(8, 8), (0.25, 0.25), (1.0, 1.0))
    assert (box_N4[:, 2:] == 4).all()
    counts = np.unique(box_N4[:, :2], axis=0, return_counts=True)[1]
    assert len(counts) == 25 and stats.chisquare(counts).pvalue > 1e-3


def features(box_N4: np.ndarray) -> dict[str, np.ndarray]:
    y, x, h, w = np.asarray(box_N4, dtype=float).T
    joint = {"area x aspect": h * w * np.log(w / h), "bottom": y + h, "right": x + w, "y x": y * x}
    return {"area": h * w, "aspect": w / h, "y": y, "x": x, "h": h, "w": w, **joint}


def test_crops_are_distributed_as_torchvisions():
    """Rejection, joint shape and place on a photograph of 375 x 500 and crops down to 8 %."""
    torch.manual_seed(0)
    image = torch.empty(1).expand(3, 375, 500)
    theirs = features([RandomResizedCrop.get_params(image, [0.08, 1.0], list(RATIO)) for _ in range(6000)])
    box_N4, found = random_boxes(sizes(375, 500), (0.08, 1.0))
    ours = features(np.where(found[:, None], box_N4, boxes.central_boxes(sizes(375, 500), RATIO)))
    for name, values in ours.items():
        assert stats.ks_2samp(values, theirs[name]).pvalue > 1e-3, name
    wrong = features(random_boxes(sizes(375, 500), (0.15, 1.0))[0])
    assert stats.ks_2samp(wrong["area"], theirs["area"]).pvalue < 1e-3  # control


@pytest.mark.parametrize("size_HW", [(32, 32), (40, 24)])
def test_erased_boxes_are_distributed_as_torchvisions(size_HW):
    torch.manual_seed(0)
    image = torch.empty(1).expand(3, *size_HW)
    drawn = [RandomErasing.get_params(image, (0.02, 0.33), (0.3, 3.3), [0.0])[:4] for _ in range(6000)]
    theirs = features([box for box in drawn if box[2:] != size_HW])
    tall = (1 / 3.3, 1 / 0.3)
    box_N4, found = random_boxes(sizes(*size_HW), (0.02, 0.33), tall, whole_side=False)
    ours = features(box_N4[found])
    for name, values in ours.items():
        assert stats.ks_2samp(values, theirs[name]).pvalue > 1e-3, name
    turned = features(random_boxes(sizes(*size_HW), (0.02, 0.33), (0.5, 1.0), whole_side=False)[0])
    assert stats.ks_2samp(turned["w"], theirs["w"]).pvalue < 1e-3  # control


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 60), st.integers(1, 60), st.booleans())
def test_boxes_lie_inside(height, width, whole_side):
    box_N4, found = random_boxes(sizes(height, width, 50), (0.01, 1.0), whole_side=whole_side)
    y, x, h, w = box_N4[found].T
    assert (y >= 0).all() and (x >= 0).all() and (h > 0).all() and (w > 0).all()
    slack = 0 if whole_side else 1
    assert (h + slack <= height).all() and (w + slack <= width).all()
    assert (y + h <= height).all() and (x + w <= width).all()
    assert (box_N4[~found] == 0).all()


@pytest.mark.parametrize("size_HW", [(20, 400), (400, 20), (7, 100), (333, 31), (3, 1000)])
def test_extreme_images_fall_back_to_torchvisions_central_crop(size_HW):
    box_N4, found = random_boxes(sizes(*size_HW, 50), (0.5, 1.0))
    assert not found.any() and (box_N4 == 0).all()
    theirs = RandomResizedCrop.get_params(torch.empty(1).expand(3, *size_HW), [0.5, 1.0], list(RATIO))
    assert boxes.central_boxes(sizes(*size_HW, 1), RATIO)[0].tolist() == list(theirs)


def test_the_fallback_is_the_whole_image_when_its_aspect_is_allowed():
    assert boxes.central_boxes(sizes(100, 110, 1), RATIO)[0].tolist() == [0, 0, 100, 110]


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 700), st.integers(1, 700), st.floats(0.05, 1), st.integers(1, 300), st.integers(1, 300))
def test_centre_boxes_are_centred_inside_and_of_the_outputs_aspect(height, width, share, out_h, out_w):
    y, x, h, w = boxes.centre_boxes(sizes(height, width, 1), share, (out_h, out_w))[0].tolist()
    assert y >= 0 and x >= 0 and h >= 1 and w >= 1 and y + h <= height and x + w <= width
    assert abs(2 * y + h - height) <= 1 and abs(2 * x + w - width) <= 1
    unit = min(height / out_h, width / out_w) * share
    assert abs(h - max(1, unit * out_h)) <= 0.5 + 1e-9 and abs(w - max(1, unit * out_w)) <= 0.5 + 1e-9


def test_centre_boxes_are_224_of_256():
    assert boxes.centre_boxes(sizes(256, 340, 1), 0.875, (224, 224))[0].tolist() == [16, 58, 224, 224]


def test_erasing_comes_as_often_as_asked_and_inside_the_output():
    y, x, h, w = boxes.erase(0, 0, AugmentSpec(erase=0.3), N, OUT).T
    erased = h > 0
    assert stats.binomtest(int(erased.sum()), N, 0.3).pvalue > 1e-3
    assert ((y + h <= OUT[0]) & (x + w <= OUT[1]) & (w > 0))[erased].all() and (w[~erased] == 0).all()
    area = (h * w / (OUT[0] * OUT[1]))[erased]
    assert area.min() > 0.015 and area.max() < 0.35
    assert (boxes.erase(0, 0, AugmentSpec(erase=1.0), 1000, OUT)[:, 2] > 0).mean() > 0.99


def test_erased_boxes_never_span_a_side_as_torchvisions_do_not():
    spec = AugmentSpec(erase=1.0, erase_scale=(0.7, 1.0), erase_ratio=(1.0, 1.0))
    height_N, width_N = boxes.erase(0, 0, spec, 2000, (16, 16))[:, 2:].T
    assert height_N.max() == 15 and width_N.max() == 15


def test_crops_of_extreme_images_fall_back_inside_the_image():
    size_N2 = np.array([[20, 400], [400, 20], [300, 400]], np.int32)
    crop_N4 = boxes.crop(0, 0, AugmentSpec(crop_scale=(0.5, 1.0)), size_N2)
    assert crop_N4[:2].tolist() == [[0, 186, 20, 27], [186, 0, 27, 20]]
    assert crop_N4[2, 2] * crop_N4[2, 3] > 0.49 * 300 * 400
