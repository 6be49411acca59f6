"""What happens to a whole micro-batch on its device: erase, normalise, mix. B samples, C channels, H x W pixels."""

from __future__ import annotations

import torch


def box_mask(box_B4: torch.Tensor, size_HW: tuple[int, int]) -> torch.Tensor:
    """Bool B x H x W, true inside (y, x, height, width)."""
    y = torch.arange(size_HW[0], device=box_B4.device)[None, :]
    x = torch.arange(size_HW[1], device=box_B4.device)[None, :]
    top, left, height, width = (column[:, None] for column in box_B4.long().unbind(1))
    rows, columns = (y >= top) & (y < top + height), (x >= left) & (x < left + width)
    return rows[:, :, None] & columns[:, None, :]


def erase(image_BHWC: torch.Tensor, box_B4: torch.Tensor, fill_C: torch.Tensor) -> None:
    """Fill each image's box in place."""
    image_BHWC[box_mask(box_B4, (image_BHWC.shape[1], image_BHWC.shape[2]))] = fill_C


def normalise(image_BHWC: torch.Tensor, mean_C: torch.Tensor, std_C: torch.Tensor) -> torch.Tensor:
    """(level / 255 - mean) / std as B x C x H x W in the type of `mean_C`."""
    image_BCHW = image_BHWC.permute(0, 3, 1, 2).to(mean_C.dtype)
    scale, shift = 1 / (255 * std_C), -mean_C / std_C
    return image_BCHW.mul_(scale[:, None, None]).add_(shift[:, None, None])


def mix(image_BCHW: torch.Tensor, mate_B: torch.Tensor, blend_B: torch.Tensor, paste_B4: torch.Tensor) -> torch.Tensor:
    """Blend each image with the one at position `mate_B`, and paste the mate's box into it."""
    mate_BCHW = image_BCHW[mate_B]
    blend = blend_B.to(image_BCHW.dtype)[:, None, None, None]
    mixed = image_BCHW * blend + mate_BCHW * (1 - blend)
    mask_BHW = box_mask(paste_B4, (image_BCHW.shape[2], image_BCHW.shape[3]))
    return torch.where(mask_BHW[:, None], mate_BCHW, mixed)
