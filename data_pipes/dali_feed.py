"""What DALI is fed with: names of encoded files, or rows of a canvas, and the plan in their pixels. B samples."""

from __future__ import annotations

import hashlib
import logging
import os
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from configs.errors import InputError
from configs.files import write_atomically
from data_pipes import dali_graph
from data_pipes.images import FileImages
from data_pipes.index import cache_folder
from data_pipes.mixing import Rows
from data_pipes.plan import Plan
from data_pipes.samples import Samples
from data_pipes.spec import AugmentSpec

logger = logging.getLogger(__name__)


class FileFeed:
    """Encoded files, as the index saw them."""

    def __init__(self, samples: Samples, channels: int) -> None:
        assert isinstance(samples.images, FileImages) and samples.images.root.is_absolute()
        self._samples, self._images, self._channels = samples, samples.images, channels
        self._copies: dict[int, bytes] = {}

    def check(self, row_B: Rows) -> None:
        """InputError for the first file that is gone or has another size: 2 us for each on a local disk."""
        expected_B = self._images.byte_N[self._samples.row_N[row_B]].tolist()
        for row, name, expected in zip(row_B.tolist(), self._names(row_B), expected_B, strict=True):
            if row not in self._copies and _size(name) != expected:
                self._samples.read(row, channels=self._channels)  # says what is wrong

    def inputs(self, row_B: Rows, plan_B: Plan) -> dict[str, Any]:
        """Names, all of one length so that they are one array: slashes before an absolute path mean nothing."""
        names = self._names(row_B)
        length = max(map(len, names))
        path_BL = np.frombuffer(b"".join(name.rjust(length, b"/") for name in names), np.uint8)
        start_B2, size_B2 = plan_B.crop_N4[:, :2], plan_B.crop_N4[:, 2:]
        return {"path_B": path_BL.reshape(-1, length), "start_B2": start_B2, "stop_B2": start_B2 + size_B2}

    def replace(self, row: int) -> None:
        """Read a file that DALI refuses with our own reader, and feed a PNG copy of it from now on.

        WebP with EXIF is such a file (DALI 2.4). Raises InputError when our reader refuses it too, or when the file is
        not the one that the index saw.
        """
        path = self._path(row)
        pixel_HWC = self._samples.read(row, channels=self._channels)
        if zlib.crc32(path.read_bytes()) != self._images.crc_N[self._samples.row_N[row]]:
            raise InputError(
                f"{path}: the file has changed since it was indexed. Start again; files must not change while a run "
                "reads them"
            )
        copy = cache_folder() / "dali" / f"{self._key(row)}.png"
        if not self._copies:
            logger.warning("%s: DALI cannot read this kind of file; it is given copies kept in %s", path, copy.parent)
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
        paths, root = self._images.path_N, str(self._images.root)
        stored_B = self._samples.row_N[row_B].tolist()
        names = [os.fsencode(f"{root}/{paths[stored]}") for stored in stored_B]
        if self._copies:
            names = [self._copies.get(row, name) for row, name in zip(row_B.tolist(), names, strict=True)]
        return names

    def _path(self, row: int) -> Path:
        return self._images.root / self._images.path_N[int(self._samples.row_N[row])]

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
    if dali_graph.warps(augment):
        inputs["matrix_B23"] = plan_B.matrix_N23.astype(np.float32)
    elif dali_graph.flips(augment):
        inputs["across_B"] = (plan_B.matrix_N23[:, 0, 0] < 0).astype(np.int32)
        inputs["down_B"] = (plan_B.matrix_N23[:, 1, 1] < 0).astype(np.int32)
    if augment.erase:
        inputs["erase_B2"] = plan_B.erase_N4[:, :2].astype(np.float32)
        inputs["hole_B2"] = plan_B.erase_N4[:, 2:].astype(np.float32)
    return inputs


def _size(name: bytes) -> int:
    try:
        return os.stat(name).st_size  # noqa: PTH116 - for every image of every batch, and a third of Path's time
    except OSError:
        return -1


def _png(pixel_HWC: NDArray[np.uint8]) -> bytes:
    ordered = pixel_HWC[..., ::-1] if pixel_HWC.shape[2] == 3 else pixel_HWC
    data: bytes = cv2.imencode(".png", ordered, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes()
    return data
