"""What does not fit is listed shortly, with the closest names."""

import torch

from models.adopt import matching


def zeros(**shapes):
    return {name.replace("_", "."): torch.zeros(shape) for name, shape in shapes.items()}


def test_each_kind_is_listed_with_the_closest_name():
    file = zeros(fc_weight=(3, 4), layer1_conv1_weight=(2, 2), head_bias=(1,))
    network = zeros(fc_weight=(5, 4), layer1_conv2_weight=(2, 2))
    difference = matching.compare(file, network)
    assert difference.count == 4
    text = difference.describe()
    assert "missing in the file: layer1.conv2.weight (the file has layer1.conv1.weight)" in text
    assert "unexpected in the file: layer1.conv1.weight, head.bias" in text
    assert "of another shape: fc.weight [3, 4] in place of [5, 4]" in text


def test_long_lists_are_cut():
    text = matching.compare({}, {f"layer{i}.weight": torch.zeros(1) for i in range(99)}).describe()
    assert text.endswith("and 95 more") and len(text) < 200


def test_equal_dicts_have_no_difference_and_counters_may_be_missing():
    network = {"bn.weight": torch.zeros(2), "bn.num_batches_tracked": torch.tensor(5)}
    assert matching.compare({"bn.weight": torch.ones(2)}, network).count == 0
    full = matching.filled({"bn.weight": torch.ones(2, dtype=torch.float16)}, network)
    assert full["bn.weight"].dtype == torch.float32 and full["bn.num_batches_tracked"] == 5
