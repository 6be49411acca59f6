import math

import pytest
import torch

from configs.errors import InputError
from models.sparse import WORTH, pack, unpack

DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.uint8, torch.bool)


def thin(*shape, dtype=torch.float32, density=0.1):
    torch.manual_seed(0)
    value = torch.randn(shape) * 50
    return torch.where(torch.rand(shape) < density, value, 0).to(dtype)


def bits(tensor):
    return tensor.contiguous().view(-1).view(torch.uint8).tolist()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(4_096,), (64, 9, 7), (5, 1_001)], ids=str)
def test_it_comes_back_bit_for_bit(dtype, shape):
    tensor = thin(*shape, dtype=dtype)
    stored, shapes = pack({"w": tensor})
    [again] = unpack(stored, shapes).values()
    assert (again.dtype, again.shape, bits(again)) == (tensor.dtype, tensor.shape, bits(tensor))
    if tensor.element_size() > 1:  # one byte of ten is not worth one bit of each
        assert shapes == {"w": list(shape)}


def test_it_takes_one_bit_per_entry_and_the_values():
    stored, _ = pack({"w": thin(100, 100, density=0.01)})
    kept = int(thin(100, 100, density=0.01).count_nonzero())
    assert {name: tensor.nbytes for name, tensor in stored.items()} == {"w:bits": 1_250, "w:values": 4 * kept}


def test_the_first_entry_is_the_highest_bit():
    tensor = torch.zeros(1_000)
    tensor[[0, 9]] = torch.tensor([2.0, 3.0])
    stored, _ = pack({"w": tensor})
    assert stored["w:bits"][:2].tolist() == [0b10000000, 0b01000000]
    assert stored["w:values"].tolist() == [2, 3]


def test_a_negative_zero_and_a_nan_are_values():
    tensor = torch.zeros(1_000)
    tensor[1], tensor[2], tensor[3] = -0.0, float("nan"), float("-inf")
    stored, shapes = pack({"w": tensor})
    assert len(stored["w:values"]) == 3
    assert bits(unpack(stored, shapes)["w"]) == bits(tensor)


@pytest.mark.parametrize(
    "tensor",
    [torch.randn(1_000), torch.zeros(()), torch.zeros(0, 4), torch.zeros(WORTH // 4), thin(1_000, density=0.95)],
)
def test_what_would_hardly_shrink_is_left_alone(tensor):
    stored, shapes = pack({"w": tensor})
    assert shapes == {}
    assert stored["w"] is tensor
    assert unpack(stored, shapes)["w"] is tensor


def test_nothing_but_zeros_is_packed_too():
    stored, shapes = pack({"w": torch.zeros(30, 30)})
    assert stored["w:values"].shape == (0,)
    assert torch.equal(unpack(stored, shapes)["w"], torch.zeros(30, 30))


@pytest.mark.parametrize(
    ("change", "shape"),
    [
        ({}, [101, 100]),
        ({}, [10**12, 10**12]),
        ({}, [-100, -100]),
        ({}, [0, 100]),
        ({}, ["a"]),
        ({}, [100.0, 100.0]),
        ({}, 7),
        ({"w:bits": None}, [100, 100]),
        ({"w:values": None}, [100, 100]),
        ({"w:bits": torch.zeros(1_250)}, [100, 100]),
        ({"w:bits": torch.zeros(1_250, 1, dtype=torch.uint8)}, [100, 100]),
        ({"w:values": torch.zeros(3)}, [100, 100]),
        ({"w:values": torch.zeros(10_000, 2)}, [100, 100]),
    ],
)
def test_what_does_not_belong_together_is_refused(change, shape):
    stored, shapes = pack({"w": thin(100, 100)})
    assert math.prod(shapes["w"]) == 10_000
    changed = {name: tensor for name, tensor in (stored | change).items() if tensor is not None}
    with pytest.raises(InputError, match="the packed tensor w is unreadable"):
        unpack(changed, {"w": shape})
    unpack(stored, shapes)  # the control
