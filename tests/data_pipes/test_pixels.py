"""Whole-batch pixel arithmetic against plain loops. B samples, C channels, H x W pixels."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from data_pipes import pixels, plan
from data_pipes.spec import AugmentSpec, DataSpec

boxes = st.lists(
    st.tuples(st.integers(0, 6), st.integers(0, 9), st.integers(0, 8), st.integers(0, 10)), min_size=1, max_size=6
)


def spec(channels: int) -> DataSpec:
    mean, std = (0.485, 0.456, 0.406)[:channels], (0.229, 0.224, 0.225)[:channels]
    return DataSpec(source="digits", image_size=(16, 16), mean=mean, std=std)


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
    box_B4, fill_C = torch.tensor([[1, 2, 3, 4], [0, 0, 0, 0]]), torch.tensor([7, 8, 9], dtype=torch.uint8)
    image = pixels.erase(image, box_B4, fill_C)
    assert (image[0, 1:4, 2:6] == torch.tensor([7, 8, 9])).all()
    outside = torch.ones(7, 10, dtype=torch.bool)
    outside[1:4, 2:6] = False
    assert torch.equal(image[0][outside], before[0][outside]) and torch.equal(image[1], before[1])


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float16, 2e-3), (torch.float32, 1e-6), (torch.float64, 1e-12)])
@pytest.mark.parametrize("channels", [1, 3])
def test_normalise(dtype, tolerance, channels):
    """As a batch on the device, and one image at a time on the host."""
    level = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16, 1).repeat(2, 1, 1, channels)
    config = spec(channels)
    mean, std = np.array(config.mean), np.array(config.std)
    expected = (level.numpy() / 255 - mean) / std
    normaliser = pixels.Normaliser(config, torch.device("cpu"), dtype)
    ours = normaliser(level)
    assert ours.dtype == dtype and ours.shape == (2, channels, 16, 16)
    assert ours.permute(0, 2, 3, 1).is_contiguous()
    np.testing.assert_allclose(ours.double().numpy().transpose(0, 2, 3, 1), expected, atol=tolerance, rtol=tolerance)
    alone = np.empty((16, 16, channels), ours.numpy().dtype)
    normaliser.write(level[0].numpy(), alone)
    np.testing.assert_allclose(alone.astype(np.float64), expected[0], atol=tolerance, rtol=tolerance)
    assert level.max() == 255  # untouched
    fill = (np.array(config.fill_colour) / 255 - mean) / std
    np.testing.assert_allclose(normaliser.fill_C, fill, atol=1e-6)


@pytest.mark.parametrize("channels", [1, 3])
def test_levels_are_what_was_normalised(channels):
    level = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16, 1).repeat(1, 1, 1, channels)
    image = pixels.Normaliser(spec(channels), torch.device("cpu"), torch.float32)(level)
    assert torch.equal(pixels.levels(image, spec(channels)), level)
    assert not torch.equal(pixels.levels(image + 0.02, spec(channels)), level)  # control: a level is 1/58


def blended(image, partner, share, box):
    """One image of a mixed pair, pixel by pixel."""
    out = share * image + (1 - share) * partner
    y, x, h, w = box
    out[:, y : y + h, x : x + w] = partner[:, y : y + h, x : x + w]
    return out


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_mixup_and_cutmix(dtype):
    torch.manual_seed(0)
    image = torch.randn(6, 3, 7, 10, dtype=dtype)
    before = image.clone()
    place_B = torch.tensor([1, 0, 3, 2, 4, 5])
    blend_B = torch.tensor([0.3, 0.3, 1.0, 1.0, 1.0, 1.0], dtype=torch.float64)
    paste_B4 = torch.tensor([[0, 0, 0, 0]] * 2 + [[2, 3, 4, 5]] * 2 + [[0, 0, 0, 0]] * 2)
    mixed = pixels.mix(image, place_B, blend_B, paste_B4)
    assert mixed.dtype == dtype and torch.equal(image, before)
    for i in range(6):
        expected = blended(image[i], image[place_B[i]], blend_B[i].item(), paste_B4[i].tolist())
        torch.testing.assert_close(mixed[i], expected)
    assert torch.equal(mixed[4:], image[4:])
    assert torch.equal(mixed[2, :, :2], image[2, :, :2]) and not torch.equal(mixed[2], image[2])  # cutmix is exact
    assert (mixed[0] - image[0]).abs().max() > 0.5  # control


def test_mixing_conserves_a_pairs_sum():
    image = torch.rand(2, 1, 8, 8, dtype=torch.float64)
    place, box = torch.tensor([1, 0]), torch.tensor([[1, 1, 3, 3]] * 2)
    for blend, paste in ((0.2, torch.zeros_like(box)), (1.0, box)):
        mixed = pixels.mix(image, place, torch.full((2,), blend, dtype=torch.float64), paste)
        torch.testing.assert_close(mixed.sum(0), image.sum(0))


def test_what_is_finished_depends_on_the_config_and_not_on_the_batch():
    image = torch.randn(4, 3, 6, 6)
    plan_B = plan.training(0, 0, AugmentSpec(mixup=1.0), np.full((4, 2), 6, np.int32), (6, 6))
    untouched = plan.evaluation(np.full((4, 2), 6, np.int32), 1.0, (6, 6))

    def finished(plan_B: plan.Plan, augment: AugmentSpec) -> torch.Tensor:
        left = replace(spec(3), augment=augment)
        return pixels.finish(image, pixels.Columns.of(plan_B, plan_B.partner_N, left, torch.device("cpu")))

    assert finished(plan_B, AugmentSpec(rotation=9)) is image
    mixed = finished(plan_B, AugmentSpec(mixup=1.0))
    columns = (torch.from_numpy(column) for column in (plan_B.partner_N, plan_B.blend_N, plan_B.paste_N4))
    assert torch.equal(mixed, pixels.mix(image, *columns)) and not torch.equal(mixed, image)
    whole = finished(untouched, AugmentSpec(cutmix=1.0))
    assert torch.equal(whole, image) and whole is not image
