"""Affine maps: torchvision's own matrices, and drawn as torchvision draws them. N samples; destination to source."""

from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torchvision.transforms import InterpolationMode, RandomAffine, RandomRotation
from torchvision.transforms import functional as F
from torchvision.transforms.functional import _get_inverse_affine_matrix

import reference
from data_pipes import affines
from data_pipes.spec import AugmentSpec

N = 20_000
OUT = (48, 64)
GEOMETRY = {"rotation": 30.0, "affine": 20.0, "translate": (0.1, 0.2), "zoom": (0.8, 1.3), "shear": 15.0}
FLIPS = {"horizontal_flip": 0.5, "vertical_flip": 0.25}


def maps(count: int = N, seed: int = 0, view: int = 0, **augment) -> np.ndarray:
    return affines.random_maps(seed, view, AugmentSpec(**augment), count, OUT)


parameters = st.tuples(
    st.floats(-180, 180),
    st.floats(-60, 60),
    st.floats(0.3, 3),
    st.integers(-20, 20),
    st.integers(-20, 20),
    st.integers(1, 300),
    st.integers(1, 300),
)


@settings(max_examples=200, deadline=None)
@given(parameters)
def test_inverse_affine_is_torchvisions(drawn):
    degrees, shear, zoom, dx, dy, height, width = drawn
    arguments = (np.array([v]) for v in (degrees, shear, zoom))
    ours = affines.inverse_affine(*arguments, np.array([[float(dx), float(dy)]]), (height, width))[0]
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
    matrix = affines.inverse_affine(*arguments, np.array([shift], float), (61, 48))[0]
    ours = reference.affine(picture_CHW, matrix)
    theirs = F.affine(picture_CHW, degrees, list(shift), zoom, [shear, 0.0], InterpolationMode.BILINEAR)
    gap = (ours.int() - theirs.int()).abs()
    assert gap.max() <= 1 and gap.float().mean() < 0.02
    mirrored = F.affine(picture_CHW, -degrees, list(shift), zoom, [shear, 0.0], InterpolationMode.BILINEAR)
    assert (ours.int() - mirrored.int()).abs().float().mean() > 5  # control


def test_flips_and_translations_move_pixels_exactly():
    picture_CHW = torch.from_numpy(reference.noise(7, 10)).permute(2, 0, 1)
    yes, no = np.array([True]), np.array([False])
    flip_x, flip_y = affines.flips(yes, no, (7, 10))[0], affines.flips(no, yes, (7, 10))[0]
    assert torch.equal(reference.affine(picture_CHW, flip_x), picture_CHW.flip(2))
    assert torch.equal(reference.affine(picture_CHW, flip_y), picture_CHW.flip(1))
    assert np.array_equal(affines.flips(no, no, (7, 10))[0], np.eye(2, 3))
    moved = reference.affine(picture_CHW, affines.translation([2], [-1])[0])
    assert torch.equal(moved[:, 1:, :-2], picture_CHW[:, :-1, 2:])
    assert moved[:, 0].max() == 0 and moved[:, :, -2:].max() == 0


def test_maps_compose_as_their_matrices_multiply():
    rng = np.random.default_rng(0)
    outer_N23, inner_N23 = rng.normal(size=(2, 50, 2, 3))
    last_N13 = np.tile([[0.0, 0, 1]], (50, 1, 1))
    product_N33 = np.concatenate([outer_N23, last_N13], axis=1) @ np.concatenate([inner_N23, last_N13], axis=1)
    np.testing.assert_allclose(affines.compose(outer_N23, inner_N23), product_N33[:, :2], atol=1e-12)
    assert not np.allclose(affines.compose(inner_N23, outer_N23), product_N33[:, :2])  # control


def test_affine_is_distributed_as_torchvisions():
    torch.manual_seed(0)
    drawn = [RandomAffine.get_params([-20, 20], [0.1, 0.2], [0.8, 1.3], [-15, 15], [64, 48]) for _ in range(6000)]
    theirs = {
        "angle": np.array([d[0] for d in drawn]),
        "dx": np.array([d[1][0] for d in drawn], float),
        "dy": np.array([d[1][1] for d in drawn], float),
        "zoom": np.array([d[2] for d in drawn]),
        "shear": np.array([d[3][0] for d in drawn]),
    }
    ours = reference.affine_parameters(maps(**{**GEOMETRY, "rotation": 0.0}), OUT)
    np.testing.assert_allclose(ours["dx"], np.rint(ours["dx"]), atol=1e-4)
    ours["dx"], ours["dy"] = np.rint(ours["dx"]), np.rint(ours["dy"])
    assert ours["dx"].min() == -6 and ours["dx"].max() == 6 and ours["dy"].min() == -10 and ours["dy"].max() == 10
    for name, values in ours.items():
        assert stats.ks_2samp(values, theirs[name]).pvalue > 1e-3, name
        assert stats.ks_2samp(values * 1.1, theirs[name]).pvalue < 1e-3, name  # control: 10 % too wide
    for one, other in combinations(ours.values(), 2):
        assert abs(np.corrcoef(one, other)[0, 1]) < 5 / np.sqrt(N)


def test_rotation_is_distributed_as_torchvisions():
    torch.manual_seed(0)
    theirs = np.array([RandomRotation.get_params([-30, 30]) for _ in range(6000)])
    ours = reference.affine_parameters(maps(rotation=30.0), OUT)
    assert stats.ks_2samp(-ours["angle"], theirs).pvalue > 1e-3
    assert stats.kstest(ours["angle"], stats.uniform(-30, 60).cdf).pvalue > 1e-3
    np.testing.assert_allclose(ours["zoom"], 1, atol=1e-6)
    np.testing.assert_allclose(ours["dx"], 0, atol=1e-4)


@pytest.mark.parametrize("padding", [1, 4])
def test_padded_crops_shift_by_every_whole_number_alike(padding):
    matrix_N23 = maps(crop_padding=padding)
    assert (matrix_N23[:, :, :2] == np.eye(2)).all()
    shift_N2 = matrix_N23[:, :, 2]
    assert (shift_N2 == np.rint(shift_N2)).all() and shift_N2.min() == -padding and shift_N2.max() == padding
    counts = np.unique(shift_N2, axis=0, return_counts=True)[1]
    assert len(counts) == (2 * padding + 1) ** 2 and stats.chisquare(counts).pvalue > 1e-3


def test_flips_come_as_often_as_asked_and_independently():
    matrix_N23 = maps(**FLIPS)
    horizontal, vertical = matrix_N23[:, 0, 0] == -1, matrix_N23[:, 1, 1] == -1
    assert stats.binomtest(int(horizontal.sum()), N, 0.5).pvalue > 1e-3
    assert stats.binomtest(int(vertical.sum()), N, 0.25).pvalue > 1e-3
    assert stats.binomtest(int((horizontal & vertical).sum()), N, 0.125).pvalue > 1e-3
    assert stats.binomtest(int(horizontal.sum()), N, 0.52).pvalue < 1e-3  # control
    assert (maps(1000, horizontal_flip=1.0)[:, 0, 0] == -1).all()


def cube(matrix_N23: np.ndarray) -> np.ndarray:
    return np.concatenate([matrix_N23, np.tile([[[0.0, 0.0, 1.0]]], (len(matrix_N23), 1, 1))], axis=1)


@pytest.mark.parametrize("padding", [0, 3])
def test_the_matrix_is_padded_crop_flips_rotation_affine_in_this_order(padding):
    pieces = [{"crop_padding": padding}, FLIPS, {"rotation": 30.0}, {**GEOMETRY, "rotation": 0.0}]
    expected = np.eye(3)
    for piece in pieces:
        expected = expected @ cube(maps(300, 1, 2, **piece))
    together = maps(300, 1, 2, crop_padding=padding, **FLIPS, **GEOMETRY)
    np.testing.assert_allclose(together, expected[:, :2], atol=2e-5)
    swapped = cube(maps(300, 1, 2, rotation=30.0)) @ cube(maps(300, 1, 2, **FLIPS))
    both = maps(300, 1, 2, **FLIPS, rotation=30.0)
    assert np.abs(swapped[:, :2] - both).max() > 1  # control: order matters
