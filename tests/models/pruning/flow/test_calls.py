import torch

from models.pruning.flow.calls import Call, listed, unknown
from models.pruning.flow.labels import FIXED, Ledger


def test_tensors_inside_lists_are_arguments_too():
    first, second = torch.zeros(2, 3), torch.zeros(2)
    ledger = Ledger()
    labels = {id(first): ledger.register("first", first, 2), id(second): ledger.register("second", second, 1)}
    arguments = {"tensors": [first, second], "dim": -1}
    call = Call(ledger, lambda tensor: labels[id(tensor)], arguments, (first,), "cat", "layer")
    assert list(call.tensors()) == [first, second]
    assert call.image is first
    assert call.dim() == 1
    assert call.of("weight") is None
    assert listed(3) == [3]
    assert unknown(call) == [(FIXED, FIXED)]
    assert set(ledger.components().tolist()) == {0}
