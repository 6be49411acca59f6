"""Real digits through the graph with normalisation inside, and through our own evaluation view."""

from dataclasses import replace

import numpy as np
import torch
from sklearn.datasets import load_digits

import heartcut
from models.export.parity import TOLERANCE
from models.export.pixel_input import PixelInput, normalised, quantised
from models.export.runtime import OnnxNet


def digits(count):
    """uint8 N x 12 x 12 x 1."""
    level_NHW = (load_digits().images[:count] * 255 / 16).astype(np.uint8)
    return np.pad(level_NHW, ((0, 0), (2, 2), (2, 2)))[..., None]


def test_real_images_give_the_logits_of_the_float_path(small, small_pixels):
    net, card, _ = small
    pixel_NHWC = digits(65)
    ours = heartcut.Predictor(net, replace(card, eval_crop=1.0))
    wanted_NK = ours.logits(pixel_NHWC.repeat(3, axis=3))
    found_NK = OnnxNet(small_pixels)(torch.from_numpy(pixel_NHWC))
    assert wanted_NK.std(dim=0).min() > 1e-2
    assert (found_NK - wanted_NK).abs().max() <= TOLERANCE * wanted_NK.std()


def test_normalisation_is_per_channel(small):
    card = replace(small[1], input_CHW=(3, 2, 5), mean=(0.1, 0.5, 0.9), std=(0.2, 0.3, 0.4))
    pixel_BHWC = torch.randint(0, 256, (4, 2, 5, 3), dtype=torch.uint8)
    expected = (pixel_BHWC.numpy() / 255 - np.array(card.mean)) / np.array(card.std)
    for found in (PixelInput(torch.nn.Identity(), card)(pixel_BHWC), normalised(pixel_BHWC, card)):
        assert found.dtype == torch.float32
        np.testing.assert_allclose(found.permute(0, 2, 3, 1).numpy(), expected, atol=1e-5)


def test_quantised_images_have_the_nearest_levels():
    image_BCHW = torch.tensor([-0.5, 0.0, 0.4 / 255, 0.6 / 255, 1.0, 7.0]).view(1, 1, 2, 3)
    assert quantised(image_BCHW).flatten().tolist() == [0, 0, 0, 1, 255, 255]
    assert quantised(torch.rand(2, 3, 4, 5)).shape == (2, 4, 5, 3)
