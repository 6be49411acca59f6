"""An image is the same in whatever form a program hands it over."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

import reference
from configs.errors import InputError
from data_pipes.sources.examination import examine
from data_pipes.sources.given import opened, several
from data_pipes.sources.images import decode, orient

PICTURE = reference.picture(20, 30, 3)


def pixels(image, channels: int = 3) -> np.ndarray:
    return opened(image).images.read(0, channels=channels)


def test_every_form_of_one_image_has_the_same_pixels(tmp_path):
    Image.fromarray(PICTURE).save(tmp_path / "a.png")
    tensor_CHW = torch.from_numpy(PICTURE).permute(2, 0, 1)
    forms = [str(tmp_path / "a.png"), tmp_path / "a.png", Image.open(tmp_path / "a.png"), PICTURE, tensor_CHW]
    for form in forms:
        assert np.array_equal(pixels(form), PICTURE) and opened(form).size_HW == (20, 30)
        assert np.array_equal(pixels(form, 1)[..., 0], cv2.cvtColor(PICTURE, cv2.COLOR_RGB2GRAY))
    assert [opened(form).encoded for form in forms] == [True, True, False, False, False]


def test_grey_is_repeated_for_three_channels(tmp_path):
    grey = PICTURE[..., 0].copy()
    Image.fromarray(grey).save(tmp_path / "a.png")
    forms = [tmp_path / "a.png", Image.fromarray(grey), grey, grey[..., None], torch.from_numpy(grey)]
    for form in [*forms, torch.from_numpy(grey)[None]]:
        assert np.array_equal(pixels(form), np.repeat(grey[..., None], 3, axis=2))
        assert np.array_equal(pixels(form, 1)[..., 0], grey)


def test_alpha_is_dropped():
    alpha = np.dstack([PICTURE, np.full((20, 30), 7, np.uint8)])
    for form in (alpha, torch.from_numpy(alpha).permute(2, 0, 1), Image.fromarray(alpha)):
        assert np.array_equal(pixels(form), PICTURE)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("ending", ["png", "tiff"])
def test_images_of_pillow_are_turned_upright_as_files_are(tmp_path, orientation, ending):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{ending}"
    Image.fromarray(PICTURE).save(path, exif=exif)
    assert np.array_equal(pixels(Image.open(path)), pixels(path))
    assert pixels(path).shape[:2] == ((30, 20) if orientation >= 5 else (20, 30))
    if ending == "png":
        assert np.array_equal(pixels(path), orient(decode(path.read_bytes()), examine(path).orientation))


def test_sixteen_bits_keep_the_high_byte(tmp_path):
    deep = (PICTURE[..., 0].astype(np.uint16) << 8) + 77
    Image.fromarray(deep).save(tmp_path / "a.png")
    assert np.array_equal(pixels(Image.open(tmp_path / "a.png"), 1)[..., 0], PICTURE[..., 0])
    assert np.array_equal(pixels(tmp_path / "a.png", 1)[..., 0], PICTURE[..., 0])


def test_batches_and_iterables_are_taken_apart():
    batch = np.stack([PICTURE, PICTURE[::-1]])
    assert [image.shape for image in several(batch)] == [(20, 30, 3)] * 2
    assert [tuple(image.shape) for image in several(torch.from_numpy(batch).permute(0, 3, 1, 2))] == [(3, 20, 30)] * 2
    assert several("a.png") == ["a.png"] and several(name for name in "ab") == ["a", "b"] and several([]) == []
    assert len(several(PICTURE)) == 1


def torn() -> Image.Image:
    stream = io.BytesIO()
    Image.fromarray(reference.noise(64, 64)).save(stream, "JPEG")
    return Image.open(io.BytesIO(stream.getvalue()[:900]))


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (PICTURE / 255, r"an image array of float64; expected uint8 levels .* \(x \* 255\)"),
        (torch.zeros(3, 4, 5), "an image tensor of float32; expected uint8"),
        (PICTURE.transpose(2, 0, 1), r"an image array of shape \(3, 20, 30\); expected H x W or H x W x 3"),
        (torch.from_numpy(PICTURE), r"an image tensor of shape \(20, 30, 3\); expected H x W or 3 x H x W"),
        (np.zeros((0, 5, 3), np.uint8), r"an image array of shape \(0, 5, 3\)"),
        (Image.new("F", (4, 4)), "a PIL image of mode F; convert it"),
        (torn(), "a PIL image that cannot be read"),
        (7, "not a int"),
        ("gone.jpg", "gone.jpg: cannot be read: No such file"),
        (".", r"\. is a folder; give the images in it"),
    ],
)
def test_what_is_no_image_is_said(image, message):
    with pytest.raises(InputError, match=message):
        opened(image)


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "torn.jpg").write_bytes(b"\xff\xd8\xff\xe0 and no more")
    with pytest.raises(InputError, match=r"torn.jpg: "):
        opened(tmp_path / "torn.jpg")
