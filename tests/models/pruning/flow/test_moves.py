import numpy as np
import pytest
import torch
from torch.nn import functional as F

from flow_labels import labelled, together
from models.pruning.flow.labels import Bare

MOVES = {
    "slice": (lambda x: x[:, 2:5], [0, 1]),
    "transpose": (lambda x: x.mT, [1, 0]),
    "permute": (lambda x: x[None].permute(2, 0, 1), [1, None, 0]),
    "flatten": (lambda x: x.unsqueeze(-1).expand(-1, -1, 3).flatten(1), [0, 1]),
    "unsqueeze": (lambda x: x[:, None, :, None], [0, None, 1, None]),
    "repeat": (lambda x: x.repeat(1, 2), [0, 1]),
    "concatenate": (lambda x: torch.cat([x, x], 1), [0, 1]),
    "last part": (lambda x: x.split([2, 4], 1)[1], [0, 1]),
    "stack": (lambda x: torch.stack([x, x]), [None, 0, 1]),
    "contiguous": (lambda x: x.mT.contiguous(), [1, 0]),
}


@pytest.mark.parametrize("name", MOVES)
def test_each_index_of_the_result_is_where_the_operation_really_put_it(name):
    function, dims = MOVES[name]
    _, (own,), found = labelled(function, (4, 6))
    for axis, dim in enumerate(dims):
        if dim is None:
            assert isinstance(found[axis], Bare)
            continue
        numbers = own[dim] if dim else own[0][:, None]
        moved = function(torch.as_tensor(numbers).expand(4, 6)).numpy()
        first = np.moveaxis(moved, axis, 0).reshape(moved.shape[axis], -1)
        assert (first == first[:, :1]).all()
        assert first[:, 0].tolist() == found[axis].tolist()


def test_halves_of_a_dimension_lose_the_same_positions_and_unequal_parts_do_not():
    ledger, (own,), _ = labelled(lambda x: x.chunk(2)[1], (6,))
    assert together(ledger, own[0]) == [[1, 2, 3, 1, 2, 3]]
    ledger, (own,), _ = labelled(lambda x: x.split([2, 4])[1], (6,))
    assert together(ledger, own[0]) == [[1, 2, 3, 4, 5, 6]]


def test_what_is_padded_with_zeros_keeps_what_meets_them():
    ledger, (short, long), _ = labelled(lambda x, y: F.pad(x, (1, 1)) + y, (3,), (5,))
    assert together(ledger, short[0], long[0]) == [[1, 2, 3], [0, 1, 2, 3, 0]]


@pytest.mark.parametrize(
    "function",
    [lambda x: x[2], lambda x: x[[0, 2]], lambda x: x.roll(1, 0), lambda x: F.embedding(torch.tensor([1]), x[:, None])],
)
def test_indices_in_the_code_keep_a_dimension(function):
    ledger, (own,), _ = labelled(function, (6,))
    assert together(ledger, own[0]) == [[0] * 6]


def test_uniform_tensors_take_any_length():
    ledger, (own,), found = labelled(lambda x: torch.zeros(6) + x * x.new_ones(6), (6,))
    assert found[0] is own[0]
    assert 0 not in together(ledger, own[0])[0]
    ledger, (own,), _ = labelled(lambda x: x + torch.arange(6), (6,))  # control: these are not
    assert together(ledger, own[0]) == [[0] * 6]
