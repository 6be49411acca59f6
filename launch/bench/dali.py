"""Plain DALI pipelines as people write them: its own reader, shuffling and random operators. B samples, H x W pixels.

The operators after the reader are those of data_pipes/executors/dali_graph.py in the same sizes; only where their
arguments come from differs. Imported only where DALI is installed.
"""

from __future__ import annotations

import math as numbers
from collections.abc import Callable
from typing import Any

import torch
from nvidia.dali import Pipeline, fn, math, types
from nvidia.dali.data_node import DataNode
from torch.utils.dlpack import from_dlpack

from data_pipes.executors.dali_graph import decoder_options, decodes_whole
from data_pipes.plan import SizeHW
from data_pipes.spec import AugmentSpec, DataSpec
from launch.bench.rounds import Lap, Stopwatch
from launch.bench.work import Work


class DaliLoader:
    """A pipeline with its own reader. Nothing is in flight between laps, unlike with DALI's iterators."""

    def __init__(self, work: Work, graph: Callable[[DataNode, Work], DataNode], *, deliver: bool) -> None:
        """`graph`: from encoded files to what the pipeline gives; `deliver`: as a torch tensor on the device."""
        self._work, self._deliver = work, deliver
        self._cuda = work.device.type == "cuda"
        pipeline = Pipeline(
            batch_size=work.batch_size,
            num_threads=work.spec.thread_count,
            device_id=(work.device.index or 0) if self._cuda else None,
            seed=1 + work.seed % (2**31 - 1),
            prefetch_queue_depth=work.spec.prefetch,
            exec_dynamic=True,
        )
        with pipeline:
            encoded, _ = fn.readers.file(files=paths(work), random_shuffle=True, name="files")
            pipeline.set_outputs(graph(encoded, work))
        pipeline.build()
        self._pipeline: Any = pipeline
        pipeline.schedule_run()  # the first one starts as many runs as the queue is deep; each later one starts one
        for _ in range(work.spec.prefetch):
            self._take()

    def lap(self, images: int) -> Lap:
        """See `Variant.lap`."""
        batches, prefetch = images // self._work.batch_size, self._work.spec.prefetch
        watch = Stopwatch(self._work.settle)
        for number in range(batches + prefetch):
            if number >= prefetch:
                self._take()
            if number < batches:
                self._pipeline.schedule_run()
        return watch.lap(images)

    def close(self) -> None:
        """End DALI's threads."""
        self._pipeline = None

    def _take(self) -> torch.Tensor | None:
        """Return the oldest batch, as the executor `dali` does."""
        stream = torch.cuda.current_stream(self._work.device) if self._cuda else None
        (output,) = self._pipeline.share_outputs(cuda_stream=stream)
        self._pipeline.release_outputs()
        if not self._deliver:
            return None
        batch = output.as_tensor()
        if stream is None:
            return from_dlpack(batch).permute(0, 3, 1, 2)
        from nvidia.dali.plugin.pytorch import feed_ndarray

        image_BHWC = torch.empty(batch.shape(), dtype=torch.float32, device=self._work.device)
        feed_ndarray(batch, image_BHWC, cuda_stream=stream)
        return image_BHWC.permute(0, 3, 1, 2)


def paths(work: Work) -> list[str]:
    """The files of a pass; LeftOut if there are none."""
    return [str(work.files.root / work.files.path_N[row]) for row in work.samples.row_N]


def whole(encoded: DataNode, work: Work) -> DataNode:
    """Decoding alone."""
    return fn.decoders.image(encoded, **decoder_options(_device(work), work.spec))


def augmented(encoded: DataNode, work: Work) -> DataNode:
    """The config's augmentation by DALI's random operators, normalised H x W x C."""
    spec, augment = work.spec, work.spec.augment
    crop: dict[str, Any] = {
        "random_area": augment.crop_scale,
        "random_aspect_ratio": augment.crop_ratio,
        "num_attempts": 10,
    }
    if augment.crop_scale is None:
        image = fn.resize(whole(encoded, work), size=spec.image_size, antialias=True)
    elif decodes_whole(_device(work), spec):
        image = fn.random_resized_crop(whole(encoded, work), size=spec.image_size, antialias=True, **crop)
    else:
        image = fn.decoders.image_random_crop(encoded, **crop, **decoder_options(_device(work), spec))
        image = fn.resize(image, size=spec.image_size, antialias=True)
    if augment.warps:
        image = fn.warp_affine(image, matrix=matrix(augment, spec.image_size), fill_value=0)
    elif augment.flips:
        across, down = (_coin(p) for p in (augment.horizontal_flip, augment.vertical_flip))
        image = fn.flip(image, horizontal=across, vertical=down)
    if augment.erase:
        image = erased(image, spec)
    return fn.crop_mirror_normalize(
        image,
        mean=[255 * mean for mean in spec.mean],
        std=[255 * std for std in spec.std],
        dtype=types.FLOAT,
        output_layout="HWC",
    )


def matrix(augment: AugmentSpec, size_HW: SizeHW) -> DataNode:
    """One random affine of everything that moves pixels after the crop: destination to source, 2 x 3."""
    centre = [size_HW[1] / 2, size_HW[0] / 2]
    parts = [fn.transforms.scale(scale=fn.stack(*_signs(augment)), center=centre)]
    if augment.crop_padding:
        steps = fn.random.uniform(range=[0, 2 * augment.crop_padding + 1], shape=[2])
        parts.append(fn.transforms.translation(offset=math.floor(steps) - augment.crop_padding))
    if augment.rotation:
        parts.append(fn.transforms.rotation(angle=_symmetric(augment.rotation), center=centre))
    if augment.affine:
        parts.append(fn.transforms.rotation(angle=_symmetric(augment.affine), center=centre))
    if any(augment.translate):
        shift = [_symmetric(share * side) for share, side in zip(augment.translate, size_HW[::-1], strict=True)]
        parts.append(fn.transforms.translation(offset=fn.stack(*shift)))
    if augment.zoom != (1.0, 1.0):
        zoom = fn.random.uniform(range=augment.zoom)
        parts.append(fn.transforms.scale(scale=fn.stack(zoom, zoom), center=centre))
    if augment.shear:
        angles = fn.stack(_symmetric(augment.shear), types.Constant(0.0))
        parts.append(fn.transforms.shear(angles=angles, center=centre))
    return fn.transforms.combine(*parts) if len(parts) > 1 else parts[0]


def erased(image: DataNode, spec: DataSpec) -> DataNode:
    """A box of random area, aspect ratio and position, in the share of images that the config erases."""
    augment, (height, width) = spec.augment, spec.image_size
    area = fn.random.uniform(range=augment.erase_scale) * (height * width)
    low, high = (numbers.log(ratio) for ratio in augment.erase_ratio)
    aspect = math.exp(fn.random.uniform(range=[low, high]))
    tall, wide = (math.min(math.sqrt(side), limit) for side, limit in ((area * aspect, height), (area / aspect, width)))
    y, x = (fn.random.uniform(range=[0.0, 1.0]) for _ in range(2))
    shown = _coin(augment.erase)
    return fn.erase(
        image,
        anchor=fn.stack(y * (height - tall), x * (width - wide)),
        shape=fn.stack(shown * tall, shown * wide),
        axis_names="HW",
        fill_value=[float(level) for level in spec.fill_colour],
    )


def _device(work: Work) -> str:
    return "gpu" if work.device.type == "cuda" else "cpu"


def _coin(probability: float) -> DataNode:
    return fn.random.coin_flip(probability=probability)


def _signs(augment: AugmentSpec) -> list[DataNode]:
    return [1.0 - 2.0 * _coin(p) for p in (augment.horizontal_flip, augment.vertical_flip)]


def _symmetric(largest: float) -> DataNode:
    return fn.random.uniform(range=[-largest, largest])
