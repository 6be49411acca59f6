"""Single images through single rows of a plan. H x W pixels, C channels."""

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms.v2 import functional as T

import reference
from data_pipes import plan
from data_pipes.executors import render
from data_pipes.plan import Plan
from data_pipes.spec import AugmentSpec


def one(size_HW, box=None, matrix_23=None) -> Plan:
    """A plan of one row that crops and warps."""
    crop = box or (0, 0, *size_HW)
    return Plan(
        crop_N4=np.array([crop], np.int32),
        matrix_N23=np.array([np.eye(2, 3) if matrix_23 is None else matrix_23], np.float64),
        erase_N4=np.zeros((1, 4), np.int32),
        partner_N=np.zeros(1, np.int64),
        blend_N=np.ones(1),
        paste_N4=np.zeros((1, 4), np.int32),
    )


def rendered(image, output_HW, size_HW=None, box=None, matrix_23=None):
    size_HW = size_HW or image.shape[:2]
    [row] = render.renderings(one(size_HW, box, matrix_23), np.array([size_HW], np.int32), output_HW, encoded=False)
    return render.render(image, row, output_HW)


def test_the_reduction_leaves_the_margin_times_the_outputs_resolution():
    sides = np.array([223, 448, 895, 896, 1791, 1792, 3583, 3584, 9999])
    square_B2 = np.stack([sides, sides], axis=1)
    assert render.reduction(square_B2, (224, 224), 2).tolist() == [1, 1, 1, 2, 2, 4, 4, 8, 8]
    assert render.reduction(square_B2, (224, 224), 0.5).tolist() == [1, 4, 4, 8, 8, 8, 8, 8, 8]
    assert render.reduction(np.array([[4000, 900]]), (224, 224), 2).tolist() == [2]
    mixed = render.reduction(np.array([[448, 448]] * 2), (224, 224), np.array([2.0, 0.75]))
    assert mixed.tolist() == [1, 2]


@pytest.mark.parametrize(
    ("augment", "flips", "turned"),
    [
        (AugmentSpec(), {None}, False),
        (AugmentSpec(horizontal_flip=0.5, vertical_flip=0.5), {None, 0, 1, -1}, False),
        (AugmentSpec(crop_padding=4), {None}, True),
        (AugmentSpec(horizontal_flip=0.5, rotation=20), {None}, True),
        (AugmentSpec(zoom=(0.8, 0.9)), {None}, True),
    ],
)
def test_flips_are_told_from_affine_maps(augment, flips, turned):
    size_N2 = np.tile(np.array([[500, 400]], np.int32), (64, 1))
    rows = render.renderings(plan.training(0, 0, augment, size_N2, (224, 200)), size_N2, (224, 200), encoded=True)
    assert {row.flip for row in rows} == flips
    assert any(row.affine_23 is not None for row in rows) is turned
    assert {row.reduce for row in rows} <= ({1, 2} if turned else {1})


@pytest.mark.parametrize("code", [0, 1, -1])
@pytest.mark.parametrize("channels", [1, 3])
def test_flips_are_exact(code, channels):
    image = reference.noise(20, 31, channels)
    mirrored_23 = np.array([[-1, 0, 31] if code else [1, 0, 0], [0, 1, 0] if code == 1 else [0, -1, 20]])
    expected = image[:: 1 if code == 1 else -1, :: 1 if code == 0 else -1]
    assert np.array_equal(rendered(image, (20, 31), matrix_23=mirrored_23), expected)


def test_resize_is_torchvisions_in_one_three_and_four_channels():
    image = reference.noise(61, 47)
    expected = T.resize(torch.from_numpy(image).permute(2, 0, 1), [20, 33], antialias=True).permute(1, 2, 0).numpy()
    assert np.array_equal(render.resize(image, (20, 33)), expected)
    assert np.array_equal(render.resize(render.padded(image), (20, 33))[..., :3], expected)
    assert np.array_equal(render.resize(image[..., :1], (20, 33)), expected[..., :1])
    assert render.resize(image, (61, 47)) is image


def test_an_affine_map_is_black_outside_and_leaves_its_input_alone():
    image = np.full((8, 8, 1), 200, np.uint8)
    moved = rendered(image, (8, 8), matrix_23=[[1, 0, 3], [0, 1, 0]])
    assert (moved[:, :5] == 200).all() and (moved[:, 5:] == 0).all() and (image == 200).all()
    half = rendered(image, (8, 8), matrix_23=[[1, 0, 3.5], [0, 1, 0]])
    assert (half[:, 4] == 100).all()


@settings(max_examples=60)
@given(st.data())
def test_a_crop_of_a_smaller_rendering_lies_where_it_should(data):
    """A ramp tells where each output pixel looked: within a tenth of one, and three roundings of half a level."""
    height, width, out = 960, 1280, 48
    h, w = data.draw(st.integers(96, height)), data.draw(st.integers(96, width))
    y, x = data.draw(st.integers(0, height - h)), data.draw(st.integers(0, width - w))
    small_HW = data.draw(st.sampled_from([(480, 640), (240, 320), (200, 200), (120, 160)]))
    rows, columns = np.meshgrid(np.linspace(0, 200, small_HW[0]), np.linspace(0, 200, small_HW[1]), indexing="ij")
    for ramp, start, length, total, small, axis in (
        (rows, y, h, height, small_HW[0], 0),
        (columns, x, w, width, small_HW[1], 1),
    ):
        image = np.round(ramp).astype(np.uint8)[..., None]
        drawn = rendered(image, (out, out), (height, width), (y, x, h, w)).astype(float)
        centre = (start + (np.arange(out) + 0.5) * length / out) * small / total - 0.5
        expected = np.clip(centre, 0, small - 1) * 200 / (small - 1)
        level_per_pixel = 200 * length / total / out
        gap = np.abs(drawn[..., 0].mean(axis=1 - axis) - expected)[2:-2]
        assert gap.max() <= 1.5 + 0.1 * level_per_pixel, (gap.max(), level_per_pixel)


@pytest.mark.parametrize("side", [1, 2, 3])
def test_images_of_a_pixel_or_two_are_rendered(side):
    image = np.full((side, side, 3), 90, np.uint8)
    assert (rendered(image, (8, 8)) == 90).all()
    assert (rendered(image, (8, 8), (500, 400), (499, 399, 1, 1)) == 90).all()


def test_large_shrinks_are_antialiased():
    """White noise of 512 pixels to 32: without antialias its spread would stay, with it almost all averages out."""
    image = reference.noise(512, 512, 1)
    drawn = rendered(image, (32, 32), (1024, 1024), (3, 5, 1000, 1001))
    assert drawn.std() < 10 < cv2.resize(image, (32, 32), interpolation=cv2.INTER_LINEAR).std()
