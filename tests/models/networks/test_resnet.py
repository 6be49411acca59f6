import pytest
import torch

from configs.errors import UsageError
from models.networks.resnet import Block, resnet_small
from models.taps import Taps

SIZE = (1, 28, 28)


@pytest.mark.parametrize(("widths", "count"), [((16, 32, 64), 272_186), ((9, 19, 39), 99_603)])
def test_counts_of_the_published_student(widths, count):
    net = resnet_small(num_classes=10, input_CHW=SIZE, widths=widths)
    assert sum(parameter.numel() for parameter in net.parameters()) == count


@pytest.mark.parametrize("depth", [8, 20, 56])
def test_depth_counts_the_stem_the_blocks_and_the_head(depth):
    net = resnet_small(num_classes=10, input_CHW=SIZE, depth=depth)
    blocks = sum(isinstance(module, Block) for module in net.modules())
    assert 2 * blocks + 2 == depth


def test_stages_halve_the_image():
    net = resnet_small(num_classes=10, input_CHW=(3, 32, 32), depth=8).eval()
    with Taps(net, ["layer1", "layer2", "layer3", "fc"]) as taps, torch.no_grad():
        net(torch.zeros(2, 3, 32, 32))
        shapes = [tuple(output.shape) for output in taps.take().values()]
    assert shapes == [(2, 16, 32, 32), (2, 32, 16, 16), (2, 64, 8, 8), (2, 10)]


@pytest.mark.parametrize(("depth", "way_out"), [(18, "14 or 20"), (21, "20 or 26"), (2, "8 or 14"), (-5, "8 or 14")])
def test_another_depth_is_refused_with_its_neighbours(depth, way_out):
    with pytest.raises(UsageError, match=f"not {depth}; take {way_out}"):
        resnet_small(num_classes=10, input_CHW=SIZE, depth=depth)


def test_wrong_number_of_widths_is_refused():
    with pytest.raises(UsageError, match="takes 3 widths, not 4"):
        resnet_small(num_classes=10, input_CHW=SIZE, widths=(8, 8, 8, 8))
