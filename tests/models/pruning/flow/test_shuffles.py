import numpy as np
import pytest
import torch
from torch.nn import functional as F

from flow_labels import labelled, together

SHUFFLES = {
    "pixel shuffle": (lambda x: F.pixel_shuffle(x, 2), 12),
    "pixel unshuffle": (lambda x: F.pixel_unshuffle(x, 2), 12),
    "channel shuffle": (lambda x: F.channel_shuffle(x, 3), 12),
    "unfold": (lambda x: F.unfold(x, 2).unsqueeze(-1), 12),
    "by views": (lambda x: x.view(1, 3, 4, 2, 2).transpose(1, 2).reshape(1, 12, 2, 2), 12),
}


@pytest.mark.parametrize("name", SHUFFLES)
def test_each_channel_of_the_result_holds_only_channels_that_leave_with_it(name):
    function, channels = SHUFFLES[name]
    ledger, (own,), found = labelled(function, (1, channels, 2, 2))
    units, results = together(ledger, own[1], found[1])
    moved = function(torch.tensor(units, dtype=torch.float32)[None, :, None, None].expand(1, -1, 2, 2))
    inside = moved.movedim(1, 0).flatten(1)
    assert (inside == inside[:, :1]).all()
    assert inside[:, 0].tolist() == results
    assert len(np.unique(units)) > 2


def test_both_halves_of_a_gate_leave_together():
    ledger, (own,), found = labelled(lambda x: F.glu(x, 0), (6,))
    assert together(ledger, own[0], found[0]) == [[1, 2, 3, 1, 2, 3], [1, 2, 3]]
