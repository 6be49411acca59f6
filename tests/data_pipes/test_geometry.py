"""Boxes and matrices against torchvision's own parameters. H x W pixels, N boxes."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torchvision.transforms import InterpolationMode, RandomErasing, RandomResizedCrop
from torchvision.transforms import functional as F
from torchvision.transforms.functional import _get_inverse_affine_matrix

import reference
from data_pipes import geometry
from data_pipes.draws import Operator, uniform

N = 20_000
RATIO = (3 / 4, 4 / 3)


def sizes(height: int, width: int, count: int = N) -> np.ndarray:
    return np.tile(np.array([height, width], np.int32), (count, 1))


def boxes(size_N2: np.ndarray, scale, ratio=RATIO, *, whole_side=True, view=0):
    def draw(attempt: int) -> np.ndarray:
        return uniform(0, view, Operator.CROP, (len(size_N2), 4), attempt)

    return geometry.random_boxes(size_N2, scale, ratio, draw, whole_side=whole_side)


def test_area_is_uniform_and_aspect_log_uniform_where_every_box_fits():
    side, scale = 5000, (0.2, 0.6)  # sqrt(0.6 * 4 / 3) < 1: never rejected
    box_N4, found = boxes(sizes(side, side), scale)
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
    box_N4, _ = boxes(sizes(8, 8), (0.25, 0.25), (1.0, 1.0))
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
    box_N4, found = boxes(sizes(375, 500), (0.08, 1.0))
    ours = features(np.where(found[:, None], box_N4, geometry.centred_boxes(sizes(375, 500), RATIO)))
    for name, values in ours.items():
        assert stats.ks_2samp(values, theirs[name]).pvalue > 1e-3, name
    wrong = features(boxes(sizes(375, 500), (0.15, 1.0))[0])
    assert stats.ks_2samp(wrong["area"], theirs["area"]).pvalue < 1e-3  # control


@pytest.mark.parametrize("size_HW", [(32, 32), (40, 24)])
def test_erased_boxes_are_distributed_as_torchvisions(size_HW):
    torch.manual_seed(0)
    image = torch.empty(1).expand(3, *size_HW)
    drawn = [RandomErasing.get_params(image, (0.02, 0.33), (0.3, 3.3), [0.0])[:4] for _ in range(6000)]
    theirs = features([box for box in drawn if box[2:] != size_HW])
    tall = (1 / 3.3, 1 / 0.3)
    box_N4, found = boxes(sizes(*size_HW), (0.02, 0.33), tall, whole_side=False)
    ours = features(box_N4[found])
    for name, values in ours.items():
        assert stats.ks_2samp(values, theirs[name]).pvalue > 1e-3, name
    turned = features(boxes(sizes(*size_HW), (0.02, 0.33), (0.5, 1.0), whole_side=False)[0])
    assert stats.ks_2samp(turned["w"], theirs["w"]).pvalue < 1e-3  # control


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 60), st.integers(1, 60), st.booleans())
def test_boxes_lie_inside(height, width, whole_side):
    box_N4, found = boxes(sizes(height, width, 50), (0.01, 1.0), whole_side=whole_side)
    y, x, h, w = box_N4[found].T
    assert (y >= 0).all() and (x >= 0).all() and (h > 0).all() and (w > 0).all()
    slack = 0 if whole_side else 1
    assert (h + slack <= height).all() and (w + slack <= width).all()
    assert (y + h <= height).all() and (x + w <= width).all()
    assert (box_N4[~found] == 0).all()


@pytest.mark.parametrize("size_HW", [(20, 400), (400, 20), (7, 100), (333, 31), (3, 1000)])
def test_extreme_images_fall_back_to_torchvisions_central_crop(size_HW):
    box_N4, found = boxes(sizes(*size_HW, 50), (0.5, 1.0))
    assert not found.any() and (box_N4 == 0).all()
    theirs = RandomResizedCrop.get_params(torch.empty(1).expand(3, *size_HW), [0.5, 1.0], list(RATIO))
    assert geometry.centred_boxes(sizes(*size_HW, 1), RATIO)[0].tolist() == list(theirs)


def test_the_last_resort_is_the_whole_image_when_its_aspect_is_allowed():
    assert geometry.centred_boxes(sizes(100, 110, 1), RATIO)[0].tolist() == [0, 0, 100, 110]


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 700), st.integers(1, 700), st.floats(0.05, 1), st.integers(1, 300), st.integers(1, 300))
def test_centre_boxes_are_centred_inside_and_of_the_outputs_aspect(height, width, share, out_h, out_w):
    y, x, h, w = geometry.centre_boxes(sizes(height, width, 1), share, (out_h, out_w))[0].tolist()
    assert y >= 0 and x >= 0 and h >= 1 and w >= 1 and y + h <= height and x + w <= width
    assert abs(2 * y + h - height) <= 1 and abs(2 * x + w - width) <= 1
    unit = min(height / out_h, width / out_w) * share
    assert abs(h - max(1, unit * out_h)) <= 0.5 + 1e-9 and abs(w - max(1, unit * out_w)) <= 0.5 + 1e-9


def test_centre_boxes_are_224_of_256():
    assert geometry.centre_boxes(sizes(256, 340, 1), 0.875, (224, 224))[0].tolist() == [16, 58, 224, 224]


affines = st.tuples(
    st.floats(-180, 180),
    st.floats(-60, 60),
    st.floats(0.3, 3),
    st.integers(-20, 20),
    st.integers(-20, 20),
    st.integers(1, 300),
    st.integers(1, 300),
)


@settings(max_examples=200, deadline=None)
@given(affines)
def test_inverse_affine_is_torchvisions(parameters):
    degrees, shear, zoom, dx, dy, height, width = parameters
    arguments = (np.array([v]) for v in (degrees, shear, zoom))
    ours = geometry.inverse_affine(*arguments, np.array([[float(dx), float(dy)]]), (height, width))[0]
    centre = [width / 2, height / 2]
    theirs = _get_inverse_affine_matrix(centre, degrees, [dx, dy], zoom, [shear, 0.0])
    np.testing.assert_allclose(ours.reshape(-1), theirs, atol=1e-9, rtol=1e-9)
    if 1 < abs(degrees) % 90 < 89:  # control: the other direction of rotation is another matrix
        other = _get_inverse_affine_matrix(centre, -degrees, [dx, dy], zoom, [shear, 0.0])
        assert np.abs(ours.reshape(-1) - other).max() > 1e-3


@pytest.mark.parametrize(("degrees", "shear", "zoom", "shift"), [(25, 0, 1, (0, 0)), (-50, 12, 1.3, (3, -5))])
def test_the_matrix_carries_out_torchvisions_affine(degrees, shear, zoom, shift):
    picture_CHW = torch.from_numpy(reference.picture(61, 48)).permute(2, 0, 1)
    arguments = (np.array([float(v)]) for v in (degrees, shear, zoom))
    matrix = geometry.inverse_affine(*arguments, np.array([shift], float), (61, 48))[0]
    ours = reference.affine(picture_CHW, matrix)
    theirs = F.affine(picture_CHW, degrees, list(shift), zoom, [shear, 0.0], InterpolationMode.BILINEAR)
    gap = (ours.int() - theirs.int()).abs()
    assert gap.max() <= 1 and gap.float().mean() < 0.02
    mirrored = F.affine(picture_CHW, -degrees, list(shift), zoom, [shear, 0.0], InterpolationMode.BILINEAR)
    assert (ours.int() - mirrored.int()).abs().float().mean() > 5  # control


def test_flips_and_translations_move_pixels_exactly():
    picture_CHW = torch.from_numpy(reference.noise(7, 10)).permute(2, 0, 1)
    yes, no = np.array([True]), np.array([False])
    flip_x, flip_y = geometry.flips(yes, no, (7, 10))[0], geometry.flips(no, yes, (7, 10))[0]
    assert torch.equal(reference.affine(picture_CHW, flip_x), picture_CHW.flip(2))
    assert torch.equal(reference.affine(picture_CHW, flip_y), picture_CHW.flip(1))
    assert np.array_equal(geometry.flips(no, no, (7, 10))[0], np.eye(2, 3))
    moved = reference.affine(picture_CHW, geometry.translation([2], [-1])[0])
    assert torch.equal(moved[:, 1:, :-2], picture_CHW[:, :-1, 2:])
    assert moved[:, 0].max() == 0 and moved[:, :, -2:].max() == 0


def test_maps_compose_as_their_matrices_multiply():
    rng = np.random.default_rng(0)
    outer_N23, inner_N23 = rng.normal(size=(2, 50, 2, 3))
    last_N13 = np.tile([[0.0, 0, 1]], (50, 1, 1))
    product_N33 = np.concatenate([outer_N23, last_N13], axis=1) @ np.concatenate([inner_N23, last_N13], axis=1)
    np.testing.assert_allclose(geometry.compose(outer_N23, inner_N23), product_N33[:, :2], atol=1e-12)
    assert not np.allclose(geometry.compose(inner_N23, outer_N23), product_N33[:, :2])  # control
