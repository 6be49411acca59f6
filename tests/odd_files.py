"""Small generated image files of every kind that the index accepts."""

from __future__ import annotations

import io

import cv2
import numpy as np
from PIL import Image, features

import reference


def encode(image, kind="JPEG", **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def picture(height=30, width=40) -> Image.Image:
    return Image.fromarray(reference.picture(height, width))


def turned(kind, orientation, **options) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encode(picture(), kind, exif=exif, **options)


def deep(suffix, *shape) -> bytes:
    return cv2.imencode(suffix, np.random.default_rng(2).integers(0, 65536, shape, dtype=np.uint16))[1].tobytes()


def odd_files() -> dict[str, bytes]:
    image, alpha = picture(), Image.fromarray(reference.noise(30, 40, 1)[..., 0])
    clear = Image.merge("RGBA", (*image.split(), alpha))
    files = {
        "cmyk.jpg": encode(image.convert("CMYK"), quality=95),
        "progressive.jpg": encode(image, progressive=True),
        "grey.jpg": encode(image.convert("L")),
        "rgb-inside.jpg": encode(image, keep_rgb=True),
        "phone.jpg": encode(image, "MPO", save_all=True, append_images=[image]),
        "really-png.jpg": encode(image, "PNG"),
        "one.jpg": encode(picture(1, 1)),
        "line.jpg": encode(picture(1, 500)),
        "odd-sides.jpg": encode(picture(31, 41), subsampling=2),
        "one.png": encode(picture(1, 1), "PNG"),
        "grey.png": encode(image.convert("L"), "PNG"),
        "bits.png": encode(image.convert("1"), "PNG"),
        "palette.png": encode(image.quantize(16), "PNG"),
        "palette-transparent.png": encode(image.quantize(16), "PNG", transparency=3),
        "alpha.png": encode(clear, "PNG"),
        "grey-alpha.png": encode(Image.merge("LA", (image.convert("L"), alpha)), "PNG"),
        "deep-grey.png": deep(".png", 30, 40),
        "deep.png": deep(".png", 30, 40, 3),
        "deep.tif": deep(".tiff", 30, 40, 3),
        "cmyk.tif": encode(image.convert("CMYK"), "TIFF"),
        "palette.tif": encode(image.quantize(16), "TIFF"),
        "lzw.tif": encode(image, "TIFF", compression="tiff_lzw"),
        "alpha.tif": encode(clear, "TIFF"),
        "palette.bmp": encode(image.quantize(16), "BMP"),
        "rgb.bmp": encode(image, "BMP"),
        "lossy.webp": encode(image, "WEBP"),
        "alpha.webp": encode(clear, "WEBP", lossless=True, exact=True),
        "first-frame.gif": encode(image.quantize(16), "GIF", save_all=True, append_images=[image.quantize(4)]),
        "moving.webp": encode(image, "WEBP", save_all=True, append_images=[image], lossless=True),
    }
    if features.check("avif"):
        files |= {f"turned-{orientation}.avif": turned("AVIF", orientation) for orientation in (1, 3, 6)}
    for orientation in range(1, 9):
        files[f"turned-{orientation}.jpg"] = turned("JPEG", orientation)
        files[f"turned-{orientation}.png"] = turned("PNG", orientation)
        files[f"turned-{orientation}.tif"] = turned("TIFF", orientation)
        files[f"turned-{orientation}.webp"] = turned("WEBP", orientation, lossless=True)
    return files
