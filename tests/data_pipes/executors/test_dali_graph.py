"""Which operators the graph is made of."""

import pytest
import torch

pytest.importorskip("nvidia.dali", reason="NVIDIA DALI is not installed")

from data_pipes.executors import dali_graph
from data_pipes.spec import AugmentSpec, DataSpec

FLIPPED = AugmentSpec(crop_scale=(0.7, 1.0), horizontal_flip=0.5, vertical_flip=0.5)
OPERATORS = ("ImageSlice", "Resize", "WarpAffine", "Flip", "Erase", "CropMirrorNormalize")


def serialized(augment, canvas=False, dtype=torch.float32) -> str:
    config = DataSpec(source="digits", image_size=(28, 28), mean=(0.5,) * 3, std=(0.2,) * 3, threads=1, augment=augment)
    return dali_graph.build(config, None, dtype, 1, canvas=canvas).serialize().decode("latin-1")


def operators(*args, **options) -> list[str]:
    text = serialized(*args, **options)
    return [name for name in OPERATORS if name in text]


def test_the_graph_holds_what_the_augmentation_needs_and_no_more():
    assert operators(AugmentSpec()) == ["ImageSlice", "Resize", "CropMirrorNormalize"]
    assert operators(AugmentSpec(), canvas=True) == ["Resize", "CropMirrorNormalize"]
    assert operators(FLIPPED) == ["ImageSlice", "Resize", "Flip", "CropMirrorNormalize"]
    every = AugmentSpec(horizontal_flip=0.5, rotation=30, erase=0.5)
    assert operators(every) == ["ImageSlice", "Resize", "WarpAffine", "Erase", "CropMirrorNormalize"]
    assert operators(AugmentSpec(erase=0.1), dtype=torch.uint8) == ["ImageSlice", "Resize", "Erase"]


@pytest.mark.parametrize(
    "change",
    [{"rotation": 1}, {"affine": 1}, {"shear": 1}, {"translate": (0, 0.1)}, {"zoom": (1, 1.1)}, {"crop_padding": 1}],
    ids=str,
)
def test_whatever_moves_pixels_needs_the_warp(change):
    assert "WarpAffine" in operators(AugmentSpec(horizontal_flip=0.5, **change))


def test_files_are_not_mapped_into_memory():
    """One that shrinks would kill the process."""
    assert "dont_use_mmap" in serialized(AugmentSpec()) and "dont_use_mmap" not in serialized(
        AugmentSpec(), canvas=True
    )
