import torch
from torch import nn

from flow_labels import labelled, together
from models.pruning.flow.rules import RULES


def test_an_operation_without_a_rule_keeps_its_channels_and_is_named():
    ledger, (own,), _ = labelled(lambda x: torch.fft.fft(x).real, (6,))
    assert together(ledger, own[0]) == [[0] * 6]
    assert "computes _fft_r2c, which cannot be followed" in ledger.stops[0][1]


def test_activations_keep_each_channel_whether_torch_calls_them_pointwise_or_not():
    for function in (torch.relu, nn.Hardswish(inplace=True), nn.GELU(), torch.sigmoid_):
        ledger, (own,), found = labelled(lambda x, function=function: function(x * 1), (6,))
        assert found[0].tolist() == own[0].tolist()
        assert 0 not in together(ledger, own[0])[0]


def test_every_rule_is_for_an_operation_of_torch():
    unknown = [name for name in RULES if not hasattr(torch.ops.aten, name)]
    assert unknown == []
