"""Inputs of the DALI graph: names of encoded files or rows of a canvas, and the plan in their pixels. B samples."""

from __future__ import annotations

import hashlib
import logging
import os
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from configs.errors import InputError
from configs.files import write_atomically
from configs.home import cache_folder
from data_pipes.executors import dali_kinds
from data_pipes.mixing import Rows
from data_pipes.plan import Plan
from data_pipes.sources.images import WAITING_THREADS, FileImages
from data_pipes.sources.samples import Samples
from data_pipes.spec import AugmentSpec, DataSpec
from data_pipes.transfer import to_device

logger = logging.getLogger(__name__)
FILES_PER_JOB = 8


class FileFeed:
    """Input from encoded files, which must be the ones that the index saw."""

    def __init__(self, samples: Samples, spec: DataSpec) -> None:
        assert isinstance(samples.images, FileImages) and samples.images.root.is_absolute()
        self._samples, self._images, self._channels = samples, samples.images, spec.channels
        self._pool = ThreadPoolExecutor(max(WAITING_THREADS, spec.thread_count), thread_name_prefix="files")
        self._root, self._stored = str(samples.images.root), samples.row_N.tolist()
        self._stamp_N = np.zeros(len(samples), np.int64)
        self._copies: dict[int, bytes] = {}
        self._telling, self._told = Lock(), False

    def check(self, row_B: Rows) -> list[Future[None]]:
        """Start to look at files in threads. The first job that fails raises InputError for the first file that is
        missing or is not the one that the index saw.

        Checksums are compared before a file's first use and whenever its modification time has changed (2 us to check,
        a millisecond or more on a network file system).
        DALI must never get a file that it cannot parse: version 2.4 reports it and later dies of a segmentation fault.
        """
        rows = np.unique(row_B).tolist()
        parts = [rows[start : start + FILES_PER_JOB] for start in range(0, len(rows), FILES_PER_JOB)]
        return [self._pool.submit(self._check, part) for part in parts]

    def close(self) -> None:
        """Drop queued work and end the threads."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _check(self, rows: list[int]) -> None:
        for row in rows:
            if _stamp(self._path(row)) != self._stamp_N[row] and not self._examine(row):
                self.replace(row)

    def _examine(self, row: int) -> bool:
        """Whether DALI reads a file as our reader does. InputError if it is not the one that the index saw."""
        stamp = _stamp(self._path(row))
        stored = self._stored[row]
        data = self._images.content(stored)
        self._stamp_N[row] = stamp
        orientation = int(self._images.orientation_N[stored])
        return dali_kinds.read_alike(data, orientation=orientation, channels=self._channels)

    def inputs(self, row_B: Rows, plan_B: Plan) -> dict[str, Any]:
        """Names and crops. Names are padded to one length by slashes, which are ignored before an absolute path."""
        names = self._names(row_B)
        length = max(map(len, names))
        path_BL = np.frombuffer(b"".join(name.rjust(length, b"/") for name in names), np.uint8)
        start_B2, size_B2 = plan_B.crop_N4[:, :2], plan_B.crop_N4[:, 2:]
        return {"path_B": path_BL.reshape(-1, length), "start_B2": start_B2, "stop_B2": start_B2 + size_B2}

    def replace(self, row: int) -> None:
        """From now on, feed a PNG copy of a file that DALI cannot read, or reads differently from our reader.

        InputError: our reader cannot read it either, or the file is not the one that the index saw.
        """
        self._images.content(self._stored[row])
        path, pixel_HWC = self._path(row), self._samples.read(row, channels=self._channels)
        copy = cache_folder() / "dali" / f"{self._key(row)}.png"
        with self._telling:
            first, self._told = not self._told, True
        if first:
            logger.warning(
                "%s: DALI cannot read this kind of file correctly; it gets PNG copies, which are kept in %s",
                path,
                copy.parent,
            )
        try:
            if not copy.is_file():
                write_atomically(copy, _png(pixel_HWC))
        except OSError as error:
            raise InputError(
                f"{path}: DALI cannot read this kind of file, and a copy cannot be kept in {copy.parent} ({error}); "
                "set HEARTCUT_CACHE to a writable folder, or use data.executor host"
            ) from error
        self._copies[row] = os.fsencode(copy.resolve())

    def _names(self, row_B: Rows) -> list[bytes]:
        return [self._copies.get(row) or os.fsencode(self._path(row)) for row in row_B.tolist()]

    def _path(self, row: int) -> str:
        return f"{self._root}/{self._images.path_N[self._stored[row]]}"

    def _key(self, row: int) -> str:
        stored = self._samples.row_N[row]
        content = (self._path(row), self._images.byte_N[stored], self._images.crc_N[stored], self._channels)
        return hashlib.sha256(repr([str(part) for part in content]).encode()).hexdigest()[:32]


class CanvasFeed:
    """Input from a canvas on the device."""

    def __init__(self, samples: Samples, canvas_NHWC: torch.Tensor) -> None:
        assert canvas_NHWC.dtype == torch.uint8 and len(canvas_NHWC) == len(samples)
        self._canvas_NHWC = canvas_NHWC
        self._scale_N2 = np.array(canvas_NHWC.shape[1:3]) / samples.size_N2

    def inputs(self, row_B: Rows, plan_B: Plan) -> dict[str, Any]:
        """Images and crops, in pixels of the canvas."""
        # feed_input() copies on the stream that wrote the rows, so that torch may reuse their memory at once.
        level_BHWC = self._canvas_NHWC.index_select(0, to_device(row_B, self._canvas_NHWC.device))
        image_B = level_BHWC if level_BHWC.is_cuda else level_BHWC.numpy()
        scale_B2 = self._scale_N2[row_B]
        start_B2 = plan_B.crop_N4[:, :2] * scale_B2
        stop_B2 = np.minimum(start_B2 + plan_B.crop_N4[:, 2:] * scale_B2, self._canvas_NHWC.shape[1:3])
        return {"image_B": image_B, "start_B2": start_B2.astype(np.float32), "stop_B2": stop_B2.astype(np.float32)}


def plan_inputs(augment: AugmentSpec, plan_B: Plan) -> dict[str, Any]:
    """Inputs of the graph after the crop."""
    inputs: dict[str, Any] = {}
    if augment.warps:
        inputs["matrix_B23"] = plan_B.matrix_N23.astype(np.float32)
    elif augment.flips:
        inputs["across_B"] = (plan_B.matrix_N23[:, 0, 0] < 0).astype(np.int32)
        inputs["down_B"] = (plan_B.matrix_N23[:, 1, 1] < 0).astype(np.int32)
    if augment.erase:
        inputs["erase_B2"] = plan_B.erase_N4[:, :2].astype(np.float32)
        inputs["hole_B2"] = plan_B.erase_N4[:, 2:].astype(np.float32)
    return inputs


def _stamp(name: str) -> int:
    """Modification time of a file in nanoseconds; -1 if it is missing."""
    try:
        return os.stat(name).st_mtime_ns  # noqa: PTH116 - for every image of every batch, and a third of Path's time
    except OSError:
        return -1


def _png(pixel_HWC: NDArray[np.uint8]) -> bytes:
    ordered = pixel_HWC[..., ::-1] if pixel_HWC.shape[2] == 3 else pixel_HWC
    data: bytes = cv2.imencode(".png", ordered, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes()
    return data
