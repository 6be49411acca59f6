"""Whole-batch pixel arithmetic against plain loops. B samples, C channels, H x W pixels."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from data_pipes import pixels

boxes = st.lists(
    st.tuples(st.integers(0, 6), st.integers(0, 9), st.integers(0, 8), st.integers(0, 10)), min_size=1, max_size=6
)


@settings(max_examples=60, deadline=None)
@given(boxes)
def test_box_mask(box_B4):
    mask_BHW = pixels.box_mask(torch.tensor(box_B4, dtype=torch.int32), (7, 10))
    expected = np.zeros((len(box_B4), 7, 10), bool)
    for i, (y, x, h, w) in enumerate(box_B4):
        expected[i, y : y + h, x : x + w] = True
    assert mask_BHW.dtype == torch.bool and np.array_equal(mask_BHW.numpy(), expected)


def test_erase_fills_the_box_and_nothing_else():
    image = torch.randint(0, 256, (2, 7, 10, 3), dtype=torch.uint8)
    before = image.clone()
    pixels.erase(image, torch.tensor([[1, 2, 3, 4], [0, 0, 0, 0]]), torch.tensor([7, 8, 9], dtype=torch.uint8))
    assert (image[0, 1:4, 2:6] == torch.tensor([7, 8, 9])).all()
    outside = torch.ones(7, 10, dtype=torch.bool)
    outside[1:4, 2:6] = False
    assert torch.equal(image[0][outside], before[0][outside]) and torch.equal(image[1], before[1])


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-12)])
@pytest.mark.parametrize("channels", [1, 3])
def test_normalise(dtype, tolerance, channels):
    image = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16, 1).repeat(2, 1, 1, channels)
    mean, std = [0.485, 0.456, 0.406][:channels], [0.229, 0.224, 0.225][:channels]
    ours = pixels.normalise(image, torch.tensor(mean, dtype=dtype), torch.tensor(std, dtype=dtype))
    expected = ((image.numpy() / 255 - np.array(mean)) / np.array(std)).transpose(0, 3, 1, 2)
    assert ours.dtype == dtype and ours.shape == (2, channels, 16, 16)
    np.testing.assert_allclose(ours.double().numpy(), expected, atol=tolerance, rtol=tolerance)
    assert image.dtype == torch.uint8 and image.max() == 255  # untouched


def blended(image, mate, share, box):
    """One image of a mixed pair, pixel by pixel."""
    out = share * image + (1 - share) * mate
    y, x, h, w = box
    out[:, y : y + h, x : x + w] = mate[:, y : y + h, x : x + w]
    return out


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_mixup_and_cutmix(dtype):
    torch.manual_seed(0)
    image = torch.randn(6, 3, 7, 10, dtype=dtype)
    before = image.clone()
    mate_B = torch.tensor([1, 0, 3, 2, 4, 5])
    blend_B = torch.tensor([0.3, 0.3, 1.0, 1.0, 1.0, 1.0], dtype=torch.float64)
    paste_B4 = torch.tensor([[0, 0, 0, 0]] * 2 + [[2, 3, 4, 5]] * 2 + [[0, 0, 0, 0]] * 2)
    mixed = pixels.mix(image, mate_B, blend_B, paste_B4)
    assert mixed.dtype == dtype and torch.equal(image, before)
    for i in range(6):
        expected = blended(image[i], image[mate_B[i]], blend_B[i].item(), paste_B4[i].tolist())
        torch.testing.assert_close(mixed[i], expected)
    assert torch.equal(mixed[4:], image[4:])
    assert torch.equal(mixed[2, :, :2], image[2, :, :2]) and not torch.equal(mixed[2], image[2])  # cutmix is exact
    assert (mixed[0] - image[0]).abs().max() > 0.5  # control


def test_mixing_conserves_a_pairs_sum():
    image = torch.rand(2, 1, 8, 8, dtype=torch.float64)
    mate, box = torch.tensor([1, 0]), torch.tensor([[1, 1, 3, 3]] * 2)
    for blend, paste in ((0.2, torch.zeros_like(box)), (1.0, box)):
        mixed = pixels.mix(image, mate, torch.full((2,), blend, dtype=torch.float64), paste)
        torch.testing.assert_close(mixed.sum(0), image.sum(0))
