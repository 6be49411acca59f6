"""Which operators the graph is made of."""

import numpy as np
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


def one_after_another() -> list[list[int]]:
    """Two batches of a canvas; the second is fed when the first has been taken."""
    config = DataSpec(source="digits", image_size=(8, 8), mean=(0.5,), std=(0.2,), threads=1)
    pipeline = dali_graph.build(config, None, torch.uint8, 1, canvas=True)
    assert pipeline.exec_dynamic and pipeline.prefetch_queue_depth == dali_graph.QUEUE_DEPTH
    corner, taken = np.zeros((1, 2), np.float32), []
    for level in (3, 5):
        pipeline.feed_input("image_B", np.full((1, 8, 8, 1), level, np.uint8))
        pipeline.feed_input("start_B2", corner)
        pipeline.feed_input("stop_B2", corner + 8)
        pipeline.schedule_run()
        (output,) = pipeline.share_outputs()
        pipeline.release_outputs()
        taken.append(torch.from_dlpack(output.as_tensor()).unique().tolist())
    return taken


def test_two_batches_may_be_in_work_and_the_first_waits_for_no_second(monkeypatch):
    assert dali_graph.QUEUE_DEPTH == 2
    assert one_after_another() == [[3], [5]]
    real = dali_graph.Pipeline
    monkeypatch.setattr(dali_graph, "Pipeline", lambda **options: real(**options | {"exec_pipelined": True}))
    with pytest.raises(IndexError, match="peek"):  # negative control
        one_after_another()
