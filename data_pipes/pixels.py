"""Operations on a whole micro-batch on its device: erase, normalise, mix. B samples, C channels, H x W pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import cv2
import numpy as np
import numpy.typing as npt
import torch

from data_pipes.mixing import Rows
from data_pipes.plan import Plan, label_share
from data_pipes.spec import DataSpec
from data_pipes.transfer import to_device


def box_mask(box_B4: torch.Tensor, size_HW: tuple[int, int]) -> torch.Tensor:
    """Mask the boxes (y, x, height, width): bool B x H x W, true inside."""
    y = torch.arange(size_HW[0], device=box_B4.device)[None, :]
    x = torch.arange(size_HW[1], device=box_B4.device)[None, :]
    top, left, height, width = (column[:, None] for column in box_B4.long().unbind(1))
    rows, columns = (y >= top) & (y < top + height), (x >= left) & (x < left + width)
    return rows[:, :, None] & columns[:, None, :]


def erase(image_BHWC: torch.Tensor, box_B4: torch.Tensor, fill_C: torch.Tensor) -> torch.Tensor:
    """Fill each image's box."""
    mask_BHW = box_mask(box_B4, (image_BHWC.shape[1], image_BHWC.shape[2]))
    return torch.where(mask_BHW[..., None], fill_C, image_BHWC)  # a boolean index would wait for the device to count


class Normaliser:
    """(level / 255 - mean) / std on one device, into one floating-point type."""

    def __init__(self, spec: DataSpec, device: torch.device, dtype: torch.dtype) -> None:
        self.device, self.dtype = device, dtype
        exact = np.float64 if dtype == torch.float64 else np.float32
        mean_C, std_C = np.array(spec.mean), np.array(spec.std)
        scale_C, shift_C = (1 / (255 * std_C)).astype(exact), (-mean_C / std_C).astype(exact)
        self.fill_C = np.array(spec.fill_colour) * scale_C + shift_C
        """The normalised fill colour of erased pixels."""
        self._transform = np.concatenate([np.diag(scale_C), shift_C[:, None]], axis=1)
        # Whole rows of pixels at once: on a CPU, torch's loop over three channels at a time is ten times slower.
        width = spec.image_size[1]
        self._scale, self._shift = (torch.from_numpy(np.tile(row, width)).to(device) for row in (scale_C, shift_C))

    def write(self, level_HWC: npt.NDArray[np.uint8], out_HWC: npt.NDArray[Any]) -> None:
        """Normalise one image on the host, in one thread."""
        level_HWC = level_HWC.astype(self._transform.dtype)
        if out_HWC.dtype == self._transform.dtype:
            cv2.transform(level_HWC, self._transform, dst=out_HWC)
        else:
            out_HWC[...] = cv2.transform(level_HWC, self._transform).reshape(out_HWC.shape)

    def __call__(self, level_BHWC: torch.Tensor) -> torch.Tensor:
        """Normalise uint8 B x H x W x C on the device into B x C x H x W, channels last in memory."""
        row_X = level_BHWC.reshape(-1, len(self._scale)).to(self._scale.dtype).mul_(self._scale).add_(self._shift)
        return row_X.to(self.dtype).view(level_BHWC.shape).permute(0, 3, 1, 2)


def levels(image_BCHW: torch.Tensor, spec: DataSpec) -> torch.Tensor:
    """Undo the normalisation: uint8 B x H x W x C, to look at and to compare executors by."""
    mean_C, std_C = image_BCHW.new_tensor(spec.mean), image_BCHW.new_tensor(spec.std)
    level_BHWC = (image_BCHW.permute(0, 2, 3, 1) * std_C + mean_C) * 255
    return level_BHWC.round().clamp(0, 255).to(torch.uint8)


@dataclass(frozen=True, kw_only=True, slots=True)
class Columns:
    """What executors leave of a plan, on the device: of all rows of an epoch, or of those of a micro-batch."""

    place_B: torch.Tensor
    """Position of each row's partner in its micro-batch."""
    blend_B: torch.Tensor
    paste_B4: torch.Tensor
    share_B: torch.Tensor
    """Weight of each row's own label."""

    @classmethod
    def of(cls, plan_B: Plan, place_B: Rows, spec: DataSpec, device: torch.device) -> Self | None:
        """Copy them to a device; None if nothing is left to do.

        That depends on the spec and not on the samples, so that strides are always the same.
        """
        if not spec.augment.mixes:
            return None
        return cls(
            place_B=to_device(place_B, device),
            blend_B=to_device(plan_B.blend_N, device),
            paste_B4=to_device(plan_B.paste_N4, device),
            share_B=to_device(label_share(plan_B, spec.image_size), device),
        )

    def __getitem__(self, rows: slice) -> Self:
        return type(self)(**{name: getattr(self, name)[rows] for name in self.__slots__})


def finish(image_BCHW: torch.Tensor, columns: Columns | None) -> torch.Tensor:
    """Carry out what executors leave of a plan: the operations on normalised images. Mixing is the only one."""
    if columns is None:
        return image_BCHW
    return mix(image_BCHW, columns.place_B, columns.blend_B, columns.paste_B4)


def mix(image_BCHW: torch.Tensor, place_B: torch.Tensor, blend_B: torch.Tensor, paste_B4: torch.Tensor) -> torch.Tensor:
    """Blend each image with its partner at position `place_B`, and paste the partner's box into it."""
    partner_BCHW = image_BCHW[place_B]
    blend = blend_B.to(image_BCHW.dtype)[:, None, None, None]
    mixed = image_BCHW * blend + partner_BCHW * (1 - blend)
    mask_BHW = box_mask(paste_B4, (image_BCHW.shape[2], image_BCHW.shape[3]))
    return torch.where(mask_BHW[:, None], partner_BCHW, mixed)
