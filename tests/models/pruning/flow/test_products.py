import numpy as np
import pytest
from torch.nn import functional as F

from flow_labels import labelled, together


def conv(groups, inputs, outputs):
    shapes = (2, inputs, 5, 5), (outputs, inputs // groups, 3, 3)
    ledger, (image, weight), found = labelled(lambda x, w: F.conv2d(x, w, groups=groups), *shapes)
    return ledger, image[1], weight, found[1]


def test_a_convolution_reads_and_writes_channels_of_their_own():
    ledger, inputs, weight, outputs = conv(1, 4, 6)
    assert together(ledger, inputs) == together(ledger, weight[1])
    assert outputs.tolist() == weight[0].tolist()
    assert set(together(ledger, inputs)[0]).isdisjoint(together(ledger, outputs)[0])


def test_a_depthwise_convolution_loses_outputs_with_its_inputs():
    ledger, inputs, _, outputs = conv(4, 4, 4)
    assert together(ledger, inputs) == together(ledger, outputs)
    ledger, inputs, _, outputs = conv(4, 4, 8)
    (read, written) = together(ledger, inputs, outputs)
    assert written == np.repeat(read, 2).tolist()


def test_a_grouped_convolution_loses_whole_groups_or_the_same_positions_of_each():
    ledger, inputs, _, outputs = conv(3, 6, 12)
    read, written = together(ledger, inputs, outputs)
    assert len(set(read)) == 3
    assert written == np.repeat(read[::2], 4).tolist()
    for first, second in ((0, 2), (1, 3), (0, 4), (1, 5)):
        ledger.tie(inputs[[first]], inputs[[second]])
    read, written = together(ledger, inputs, outputs)
    assert read == [read[0], read[1]] * 3
    assert len(set(read)) == 2
    assert written == written[:4] * 3


@pytest.mark.parametrize("groups", [1, 4])
def test_a_transposed_convolution_has_its_inputs_first(groups):
    shapes = (2, 4, 5, 5), (4, 6 if groups == 1 else 1, 3, 3)
    ledger, (image, weight), found = labelled(lambda x, w: F.conv_transpose2d(x, w, groups=groups), *shapes)
    assert together(ledger, image[1]) == together(ledger, weight[0])
    assert together(ledger, found[1]) == together(ledger, weight[1 if groups == 1 else 0])


def test_group_norm_shares_its_channels_out():
    ledger, (image, weight), _ = labelled(lambda x, w: F.group_norm(x, 3, w), (2, 6, 5, 5), (6,))
    found = together(ledger, image[1])
    assert found == together(ledger, weight[0])
    assert len(set(found[0])) == 3
