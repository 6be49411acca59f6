"""A plan as a graph of NVIDIA DALI operators, the same on a GPU and on a CPU. It contains no random operator.

Inputs are pushed one batch at a time, under the names below. Suffixes: B samples, 2 is (y, x), C channels.

    files     path_B   encoded names    start_B2, stop_B2   the crop, in pixels of the upright image (whole ones)
    canvas    image_B  uint8 H x W x C  start_B2, stop_B2   the crop, in pixels of the canvas (fractions)
    both      matrix_B23, or across_B and down_B (flips)     erase_B2, hole_B2 (the erased box: corner and size)
"""

from __future__ import annotations

from typing import Any

import torch
from nvidia.dali import Pipeline, fn, types
from nvidia.dali.data_node import DataNode

from data_pipes.plan import SizeHW
from data_pipes.spec import AugmentSpec, DataSpec

# Results of an operator that may wait for the next one. With 1, a GPU gets no work for a batch until it has finished
# the batch before, and is idle in between.
QUEUE_DEPTH = 2
DALI_TYPES = {torch.float16: types.FLOAT16, torch.float32: types.FLOAT, torch.float64: types.FLOAT}


def build(spec: DataSpec, device_id: int | None, dtype: torch.dtype, batch_size: int, *, canvas: bool) -> Pipeline:
    """The pipeline for batches of up to `batch_size` images: normalised, H x W x C of `dtype` (float32 for float64).

    dtype: uint8 leaves out the normalisation. device_id: None is the CPU.
    """
    # Only with the dynamic executor do outputs belong to the caller. It ignores exec_pipelined; false lets the first
    # schedule_run() start one run, where true starts as many as the queue is deep, of which one has been fed.
    pipeline = Pipeline(
        batch_size=batch_size,
        num_threads=spec.thread_count,
        device_id=device_id,
        seed=0,
        prefetch_queue_depth=QUEUE_DEPTH,
        exec_pipelined=False,
        exec_dynamic=True,
    )
    device = "cpu" if device_id is None else "gpu"
    with pipeline:
        image = _crop_of_canvas(device, spec.image_size) if canvas else _crop_of_file(device, spec)
        image = _affine(image, spec.augment)
        if spec.augment.erase:
            image = fn.erase(
                image, anchor=_floats("erase_B2"), shape=_floats("hole_B2"), axis_names="HW",
                fill_value=[float(level) for level in spec.fill_colour],
            )  # fmt: skip
        pipeline.set_outputs(image if dtype == torch.uint8 else _normalised(image, spec, dtype))
    pipeline.build()
    return pipeline


def _floats(name: str) -> DataNode:
    return fn.external_source(name=name, batch=True, dtype=types.FLOAT)


def _integers(name: str) -> DataNode:
    return fn.external_source(name=name, batch=True, dtype=types.INT32)


def _crop_of_file(device: str, spec: DataSpec) -> DataNode:
    # If a memory-mapped file were truncated, the process would be killed; reading is no slower.
    encoded = fn.io.file.read(fn.external_source(name="path_B", batch=True, dtype=types.UINT8), dont_use_mmap=True)
    options = decoder_options(device, spec)
    box = {"start": _integers("start_B2"), "end": _integers("stop_B2"), "axis_names": "HW"}
    crop_of = _crop_of_whole if decodes_whole(device, spec) else _crop_alone
    return fn.resize(crop_of(encoded, box, options), size=spec.image_size, antialias=True)


def decoder_options(device: str, spec: DataSpec) -> dict[str, Any]:
    """Arguments of every decoder of DALI's. device: gpu or cpu."""
    options = {
        "device": "mixed" if device == "gpu" else "cpu",
        "adjust_orientation": True,
        "jpeg_fancy_upsampling": spec.dali.fancy_upsampling,
        "output_type": types.RGB if spec.channels == 3 else types.GRAY,
    }
    return options | ({"hw_decoder_load": spec.dali.hw_decoder_load} if device == "gpu" else {})


def decodes_whole(device: str, spec: DataSpec) -> bool:
    """Whether images are decoded whole and then cropped: nvJPEG before 13.2 interpolates colour in no other way.

    Crops of JPEG files with subsampled colour, that is, of nearly all photographs, are left to the CPU otherwise, with
    two warnings for each.
    """
    return device == "gpu" and spec.dali.fancy_upsampling


def _crop_alone(encoded: DataNode, box: dict[str, Any], options: dict[str, Any]) -> DataNode:
    return fn.decoders.image_slice(encoded, **box, **options)


def _crop_of_whole(encoded: DataNode, box: dict[str, Any], options: dict[str, Any]) -> DataNode:
    """The same pixels."""
    return fn.slice(fn.decoders.image(encoded, **options), **box)


def _crop_of_canvas(device: str, output_HW: SizeHW) -> DataNode:
    canvas = fn.external_source(name="image_B", batch=True, device=device, layout="HWC", dtype=types.UINT8)
    return fn.resize(canvas, size=output_HW, roi_start=_floats("start_B2"), roi_end=_floats("stop_B2"), antialias=True)


def _affine(image: DataNode, augment: AugmentSpec) -> DataNode:
    if augment.warps:
        return fn.warp_affine(image, matrix=_floats("matrix_B23"), fill_value=0)
    if augment.flips:
        return fn.flip(image, horizontal=_integers("across_B"), vertical=_integers("down_B"))
    return image


def _normalised(image: DataNode, spec: DataSpec, dtype: torch.dtype) -> DataNode:
    return fn.crop_mirror_normalize(
        image,
        mean=[255 * mean for mean in spec.mean],
        std=[255 * std for std in spec.std],
        dtype=DALI_TYPES[dtype],
        output_layout="HWC",
    )
