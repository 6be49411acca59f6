"""The evaluation view of images that a program hands over, as the host executor renders it. N images, C channels."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from data_pipes import plan
from data_pipes.executors.render import render, renderings
from data_pipes.pixels import Normaliser
from data_pipes.sources.examination import strict_pillow
from data_pipes.sources.given import Given, opened
from data_pipes.spec import DataSpec


def views(images: Sequence[Given], spec: DataSpec) -> torch.Tensor:
    """Return float32 N x C x H x W on the CPU, cropped, resized and normalised. InputError: an image cannot be read."""
    normaliser = Normaliser(spec, torch.device("cpu"), torch.float32)
    batch_NHWC = torch.empty((len(images), *spec.image_size, spec.channels))
    out_NHWC = batch_NHWC.numpy()

    def draw(place: int) -> None:
        image = ready[place] or opened(images[place])
        size_12 = np.array([image.size_HW], np.int32)
        fixed = plan.evaluation(size_12, spec.eval_crop, spec.image_size)
        (rendering,) = renderings(fixed, size_12, spec.image_size, encoded=image.encoded)
        pixel_HWC = image.images.read(0, channels=spec.channels, reduce=rendering.reduce)
        normaliser.write(render(pixel_HWC, rendering, spec.image_size), out_NHWC[place])

    with strict_pillow():
        # Only files are opened in threads: a PIL image may be given twice, and reads its file when it is first used.
        ready = [None if isinstance(image, str | os.PathLike) else opened(image) for image in images]
        if len(images) == 1:  # not worth a thread
            draw(0)
        else:
            with ThreadPoolExecutor(spec.thread_count) as pool:
                list(pool.map(draw, range(len(images))))
    return batch_NHWC.permute(0, 3, 1, 2)
