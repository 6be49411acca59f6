"""Arrays on their way to a device."""

import numpy as np
import torch

from data_pipes.transfer import to_device
from fake_gpu import CUDA, fake_gpu


def test_on_a_cpu_the_memory_is_shared():
    array = np.arange(6, dtype=np.int32).reshape(2, 3)
    tensor = to_device(array, torch.device("cpu"))
    array[0, 0] = 9
    assert tensor.dtype == torch.int32 and tensor.tolist() == [[9, 1, 2], [3, 4, 5]]


def test_parts_and_columns_of_arrays_are_taken_too():
    array = np.arange(12.0).reshape(3, 4)
    for part in (array[:, 1], array[::2], array[:0]):
        assert np.array_equal(to_device(part, torch.device("cpu")).numpy(), part)


def test_to_a_gpu_it_does_not_block():
    with fake_gpu() as gpu:
        tensor = to_device(np.zeros((2, 3)), CUDA)
    assert tensor.device == CUDA and tensor.shape == (2, 3) and tensor.dtype == torch.float64
    assert gpu.copies == 1 and not gpu.blocking_copies
