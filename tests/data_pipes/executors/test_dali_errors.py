"""Which of DALI's failures are a lack of memory, of which memory, and what is said. Real ones are in test_dali."""

import pytest
import torch

from configs import resources
from configs.errors import UsageError
from data_pipes.executors.dali_errors import DaliError, DaliMemoryError, failure

CPU, GPU = torch.device("cpu"), torch.device("cuda", 3)


def raised(text: str) -> RuntimeError:
    """As DALI wraps what an operator raised."""
    return RuntimeError(
        f"Critical error in pipeline:\nError in GPU operator `nvidia.dali.fn.resize`,\nwhich was used in the pipeline "
        f"definition:\n  File x, line 1\nencountered:\n\n{text}\nCurrent pipeline object is no longer valid."
    )


@pytest.fixture(autouse=True)
def free(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (5_000_000_000, 80_000_000_000))
    monkeypatch.setattr(resources, "available_memory", lambda: 7_000_000_000)


@pytest.mark.parametrize(
    ("error", "device", "memory"),
    [
        (raised("CUDA allocation failed"), GPU, "the memory of GPU 3, of which 5.00 GB"),
        (raised("CUDA runtime API error cudaErrorMemoryAllocation (2):\nout of memory"), GPU, "the memory of GPU 3"),
        (raised("nvJPEG error (5): unknown error"), GPU, "the memory of GPU 3"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), GPU, "the memory of GPU 3"),
        (raised("std::bad_alloc"), GPU, "host memory, of which 7.00 GB"),
        (raised("failed to allocate pinned GPU Memory"), GPU, "page-locked host memory, of which 7.00 GB"),
        (MemoryError("std::bad_alloc"), CPU, "host memory"),
        (MemoryError(), CPU, "host memory"),
    ],
)
def test_a_lack_of_memory_is_named_with_the_batch_and_what_to_lower(error, device, memory):
    found = failure(error, 256, device)
    assert isinstance(found, DaliMemoryError) and isinstance(found, UsageError)
    assert f"ran out of {memory}" in str(found) and "on a batch of 256 images" in str(found)
    assert all(key in str(found) for key in ("micro_batch_size", "data.prefetch", "data.canvas_scale", "executor host"))
    assert "Critical error" not in str(found) and "no longer valid" not in str(found)


def test_where_free_memory_is_unknown_it_is_not_said(monkeypatch):
    monkeypatch.setattr(resources, "available_memory", lambda: None)
    assert "ran out of host memory on a batch of 2 images (std::bad_alloc): lower" in str(
        failure(raised("std::bad_alloc"), 2, CPU)
    )

    def broken(device):
        raise RuntimeError("CUDA error: out of memory")

    monkeypatch.setattr(torch.cuda, "mem_get_info", broken)
    assert "ran out of the memory of GPU 3 on a" in str(failure(raised("CUDA allocation failed"), 2, GPU))


@pytest.mark.parametrize("text", ["not valid for image dim", "nvJPEG error (3): bad JPEG", "Unrecognized image format"])
def test_other_failures_are_not_a_lack_of_memory(text):
    found = failure(raised(text), 6, GPU)
    assert isinstance(found, DaliError) and str(found) == f"DALI failed on a batch of 6 images: {text}"
