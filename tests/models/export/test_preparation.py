"""The words say what our own evaluation view does."""

from dataclasses import replace

import numpy as np
import torch
from PIL import Image

import heartcut
import reference
from models.export import preparation


def test_steps_of_colour_and_of_grey(small):
    grey = preparation.steps(small[1])
    assert grey[1].startswith("convert it to grey") and grey[2].startswith("crop its centre: 0.875 times the largest")
    card = replace(small[1], input_CHW=(3, 20, 30), mean=(0.485, 0.5, 0.25), std=(0.25,) * 3, eval_crop=1.0)
    colour = preparation.steps(card)
    assert "aspect ratio 20:30 (height:width)" in colour[2] and colour[2].startswith("crop its centre: the largest")
    assert "mean 0.485, 0.5, 0.25" in colour[-1] and colour[-1].endswith("of each channel")
    assert preparation.steps(card, normalised=False)[:-1] == colour[:-1]
    assert preparation.sentence(colour).startswith("Turn the image upright (EXIF orientation); convert it to RGB")


def test_following_the_steps_with_pillow_gives_the_evaluation_view(small):
    card = replace(small[1], input_CHW=(3, 24, 36), mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    pixel_HWC = reference.picture(90, 120, 3, seed=1)
    unit = min(90 / 24, 120 / 36) * card.eval_crop
    height, width = round(24 * unit), round(36 * unit)
    top, left = (90 - height) // 2, (120 - width) // 2
    cropped = Image.fromarray(pixel_HWC).crop((left, top, left + width, top + height))
    level_HWC = np.asarray(cropped.resize((36, 24), Image.Resampling.BILINEAR), np.float32)
    expected = ((level_HWC / 255 - card.mean) / card.std).transpose(2, 0, 1)
    found = heartcut.Predictor(torch.nn.Identity(), card).preprocess(pixel_HWC)[0].numpy()
    assert np.abs(found - expected).max() < 1.5 / 255 / 0.22  # a level and rounding
