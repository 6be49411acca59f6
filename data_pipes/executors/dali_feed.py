"""What DALI is fed with: names of encoded files, or rows of a canvas, and the plan in their pixels. B samples."""

from __future__ import annotations

import hashlib
import logging
import os
from concurrent.futures import ThreadPoolExecutor
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
from data_pipes.sources.images import FileImages
from data_pipes.sources.samples import Samples
from data_pipes.spec import AugmentSpec, DataSpec

logger = logging.getLogger(__name__)


class FileFeed:
    """Encoded files, as the index saw them."""

    def __init__(self, samples: Samples, spec: DataSpec) -> None:
        assert isinstance(samples.images, FileImages) and samples.images.root.is_absolute()
        self._samples, self._images, self._channels = samples, samples.images, spec.channels
        self._threads = spec.thread_count
        self._root, self._stored = str(samples.images.root), samples.row_N.tolist()
        self._stamp_N = np.zeros(len(samples), np.int64)
        self._copies: dict[int, bytes] = {}

    def check(self, row_B: Rows) -> None:
        """InputError for the first file that is gone or is not the one that the index saw.

        Checksums are compared before a file's first use and whenever its time has changed, which takes 2 us to see.
        DALI must never meet what it cannot parse: 2.4 reports it, and sooner or later dies of a segmentation fault.
        """
        met_B = self._stamp_N[row_B].tolist()
        fresh = {row for row, met in zip(row_B.tolist(), met_B, strict=True) if _stamp(self._path(row)) != met}
        if fresh:
            with ThreadPoolExecutor(self._threads) as pool:
                for row, alike in zip(sorted(fresh), pool.map(self._meet, sorted(fresh)), strict=True):
                    if not alike:
                        self.replace(row)

    def _meet(self, row: int) -> bool:
        """Whether DALI reads a file as we do; InputError if it is not the one that the index saw."""
        stamp = _stamp(self._path(row))
        stored = self._stored[row]
        data = self._images.verified(stored)
        self._stamp_N[row] = stamp
        orientation = int(self._images.orientation_N[stored])
        return dali_kinds.read_alike(data, orientation=orientation, channels=self._channels)

    def inputs(self, row_B: Rows, plan_B: Plan) -> dict[str, Any]:
        """Names, all of one length so that they are one array: slashes before an absolute path mean nothing."""
        names = self._names(row_B)
        length = max(map(len, names))
        path_BL = np.frombuffer(b"".join(name.rjust(length, b"/") for name in names), np.uint8)
        start_B2, size_B2 = plan_B.crop_N4[:, :2], plan_B.crop_N4[:, 2:]
        return {"path_B": path_BL.reshape(-1, length), "start_B2": start_B2, "stop_B2": start_B2 + size_B2}

    def replace(self, row: int) -> None:
        """Read a file that DALI refuses, or reads otherwise, with our own reader; feed a PNG copy of it from now on.

        Raises InputError when our reader refuses it too, or when the file is not the one that the index saw.
        """
        self._images.verified(self._stored[row])
        path, pixel_HWC = self._path(row), self._samples.read(row, channels=self._channels)
        copy = cache_folder() / "dali" / f"{self._key(row)}.png"
        if not self._copies:
            logger.warning(
                "%s: DALI cannot read this kind of file rightly; it is given PNG copies, kept in %s", path, copy.parent
            )
        try:
            if not copy.is_file():
                write_atomically(copy, _png(pixel_HWC))
        except OSError as error:
            raise InputError(
                f"{path}: DALI cannot read this kind of file, and a copy cannot be kept in {copy.parent} ({error}); "
                "set HEARTCUT_CACHE to a folder that can be written, or take data.executor host"
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
    """Images decoded once, on the device."""

    def __init__(self, samples: Samples, canvas_NHWC: torch.Tensor) -> None:
        assert canvas_NHWC.dtype == torch.uint8 and len(canvas_NHWC) == len(samples)
        self._canvas_NHWC = canvas_NHWC
        self._scale_N2 = np.array(canvas_NHWC.shape[1:3]) / samples.size_N2

    def inputs(self, row_B: Rows, plan_B: Plan) -> dict[str, Any]:
        """Pixels, and the crop in pixels of the canvas."""
        # feed_input() copies on the stream that wrote the rows, so that torch may have their memory back at once.
        index_B = torch.from_numpy(row_B).to(self._canvas_NHWC.device)
        level_BHWC = self._canvas_NHWC.index_select(0, index_B)
        image_B = level_BHWC if level_BHWC.is_cuda else level_BHWC.numpy()
        scale_B2 = self._scale_N2[row_B]
        start_B2 = plan_B.crop_N4[:, :2] * scale_B2
        stop_B2 = np.minimum(start_B2 + plan_B.crop_N4[:, 2:] * scale_B2, self._canvas_NHWC.shape[1:3])
        return {"image_B": image_B, "start_B2": start_B2.astype(np.float32), "stop_B2": stop_B2.astype(np.float32)}


def view_inputs(augment: AugmentSpec, plan_B: Plan) -> dict[str, Any]:
    """What the graph asks for after the crop."""
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
    """When a file was written, in nanoseconds; -1 if it is gone."""
    try:
        return os.stat(name).st_mtime_ns  # noqa: PTH116 - for every image of every batch, and a third of Path's time
    except OSError:
        return -1


def _png(pixel_HWC: NDArray[np.uint8]) -> bytes:
    ordered = pixel_HWC[..., ::-1] if pixel_HWC.shape[2] == 3 else pixel_HWC
    data: bytes = cv2.imencode(".png", ordered, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes()
    return data
