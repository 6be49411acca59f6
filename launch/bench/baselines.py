"""Pipelines as people write them with torchvision, with the config's augmentation. C channels, H x W pixels."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, Sampler
from torchvision import transforms
from torchvision.io import ImageReadMode, decode_image
from torchvision.transforms import v2

from data_pipes.sources.images import FileImages
from data_pipes.sources.samples import Samples
from data_pipes.spec import DataSpec
from launch.bench.rounds import Lap, Stopwatch
from launch.bench.work import Work

USUAL_PREFETCH = 2  # batches per worker, as DataLoader has it


def pil(work: Work, workers: int) -> TorchLoader:
    """Pillow images through torchvision.transforms."""
    return TorchLoader(work, PilImages(work.samples, work.spec), workers)


def tensors(work: Work, workers: int) -> TorchLoader:
    """uint8 tensors through torchvision.transforms.v2."""
    return TorchLoader(work, TensorImages(work.samples, work.spec), workers)


class TorchLoader:
    """A torch DataLoader whose workers persist."""

    def __init__(self, work: Work, dataset: PilImages | TensorImages, workers: int) -> None:
        """Starts the workers."""
        self._work = work
        self._order = Shuffled(len(dataset))
        ahead = max(USUAL_PREFETCH, -(-work.spec.prefetch // workers)) if workers else None
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "This DataLoader will create")  # more workers than cores are the point
            self._loader = DataLoader(
                dataset,
                batch_size=work.batch_size,
                sampler=self._order,
                num_workers=workers,
                persistent_workers=workers > 0,
                prefetch_factor=ahead,
                pin_memory=work.device.type == "cuda",
            )
            self.lap(0)

    def lap(self, images: int) -> Lap:
        """See `Variant.lap`."""
        self._order.count = images
        watch = Stopwatch(self._work.settle)
        for image_BCHW in self._loader:
            image_BCHW.to(self._work.device, non_blocking=True)
        return watch.lap(images)

    def close(self) -> None:
        """End the workers."""
        del self._loader


class Shuffled(Sampler[int]):
    """Permutations of range(length), one after another, until `count` rows are given."""

    def __init__(self, length: int) -> None:
        self._length = length
        self.count = 0

    def __iter__(self) -> Iterator[int]:
        for start in range(0, self.count, self._length):
            yield from torch.randperm(self._length)[: self.count - start].tolist()


class PilImages(Dataset[torch.Tensor]):
    """Images of a split, read by Pillow."""

    def __init__(self, samples: Samples, spec: DataSpec) -> None:
        self._samples, self._channels = samples, spec.channels
        self._transform = transforms.Compose(
            [
                *geometric(transforms, spec),
                transforms.ToTensor(),
                transforms.Normalize(spec.mean, spec.std),
                *erasing(transforms, spec),
            ]
        )

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, i: int) -> torch.Tensor:
        images, row = self._samples.images, int(self._samples.row_N[i])
        if isinstance(images, FileImages):
            image = Image.open(images.root / images.path_N[row]).convert("RGB" if self._channels == 3 else "L")
        else:
            pixel_HWC = images.read(row, channels=self._channels)
            image = Image.fromarray(pixel_HWC if self._channels == 3 else pixel_HWC[:, :, 0])
        made: torch.Tensor = self._transform(image)
        return made


class TensorImages(Dataset[torch.Tensor]):
    """Images of a split, read by torchvision's decoder."""

    def __init__(self, samples: Samples, spec: DataSpec) -> None:
        self._samples, self._channels = samples, spec.channels
        self._mode = ImageReadMode.RGB if spec.channels == 3 else ImageReadMode.GRAY
        to_float = v2.ToDtype(torch.float32, scale=True)
        self._transform = v2.Compose(
            [*geometric(v2, spec), to_float, v2.Normalize(spec.mean, spec.std), *erasing(v2, spec)]
        )

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, i: int) -> torch.Tensor:
        images, row = self._samples.images, int(self._samples.row_N[i])
        if isinstance(images, FileImages):
            image_CHW = decode_image(str(images.root / images.path_N[row]), mode=self._mode)
        else:
            image_CHW = torch.from_numpy(images.read(row, channels=self._channels)).permute(2, 0, 1)
        made: torch.Tensor = self._transform(image_CHW)
        return made


def geometric(library: Any, spec: DataSpec) -> list[Callable[[Any], Any]]:
    """Crop, flips, rotation and affine of the config by torchvision.transforms or its v2, with their own defaults."""
    augment, size_HW = spec.augment, list(spec.image_size)
    steps: list[Callable[[Any], Any]] = [library.Resize(size_HW, antialias=True)]
    if augment.crop_scale is not None:
        steps = [library.RandomResizedCrop(size_HW, augment.crop_scale, augment.crop_ratio, antialias=True)]
    if augment.crop_padding:
        steps.append(library.RandomCrop(size_HW, padding=augment.crop_padding))
    if augment.horizontal_flip:
        steps.append(library.RandomHorizontalFlip(augment.horizontal_flip))
    if augment.vertical_flip:
        steps.append(library.RandomVerticalFlip(augment.vertical_flip))
    if augment.rotation:
        steps.append(library.RandomRotation(augment.rotation))
    if augment.affine_step:
        shift, zoom, shear = augment.translate, augment.zoom, augment.shear
        steps.append(library.RandomAffine(augment.affine, shift, zoom, shear or None))
    return steps


def erasing(library: Any, spec: DataSpec) -> list[Callable[[Any], Any]]:
    """RandomErasing of a normalised tensor, if the config erases."""
    augment = spec.augment
    if not augment.erase:
        return []
    return [library.RandomErasing(augment.erase, augment.erase_scale, augment.erase_ratio)]
