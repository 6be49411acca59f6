import pytest
import torch
from torch import nn

from models.networks.stems import for_small_images, parallel_branches, set_channels


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 7, stride=2, padding=3, bias=False)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, images):
        return self.layer1(self.maxpool(self.conv1(images)))


def test_a_grey_image_gives_what_it_gave_in_colour():
    net = nn.Sequential(nn.Conv2d(3, 4, 3))
    grey = torch.randn(2, 1, 8, 8)
    before = net(grey.expand(-1, 3, -1, -1))
    set_channels(net, 1, keep_weights=True)
    assert torch.allclose(net(grey), before, atol=1e-5)


def test_new_weights_are_drawn_unless_kept():
    net = nn.Sequential(nn.Conv2d(3, 4, 3))
    summed = net[0].weight.sum(1, keepdim=True)
    set_channels(net, 1, keep_weights=False)
    assert net[0].weight.shape == summed.shape
    assert not torch.allclose(net[0].weight, summed)


def test_equal_channels_change_nothing():
    net = nn.Sequential(nn.Conv2d(3, 4, 3))
    conv = net[0]
    set_channels(net, 3, keep_weights=False)
    assert net[0] is conv


def test_a_resnet_keeps_every_pixel_and_the_centre_of_its_kernel():
    net = Residual()
    centre = net.conv1.weight[..., 2:5, 2:5].clone()
    for_small_images(net, keep_weights=True)
    assert net(torch.zeros(1, 3, 28, 28)).shape == (1, 4, 28, 28)
    assert torch.equal(net.conv1.weight, centre)


@pytest.mark.parametrize(
    ("conv", "side"),
    [
        (nn.Conv2d(3, 4, 4, stride=4), 16),  # a patchify stem
        (nn.Conv2d(3, 4, 3, stride=2, padding=1), 32),
        (nn.Conv2d(3, 4, 3, padding=1), 32),  # nothing strided
    ],
)
def test_other_stems_at_32_pixels(conv, side):
    net = nn.Sequential(conv)
    for_small_images(net, keep_weights=False)
    assert net(torch.zeros(1, 3, 32, 32)).shape[-2:] == (side, side)


def test_only_the_first_strided_convolution_changes():
    net = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.Conv2d(4, 4, 3, stride=2, padding=1))
    for_small_images(net, keep_weights=False)
    assert (net[0].stride, net[1].stride) == ((1, 1), (2, 2))


class Branches(nn.Module):
    """A reparameterised block: parallel convolutions whose outputs are added, then one that reads something else."""

    def __init__(self):
        super().__init__()
        self.wide = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.narrow = nn.Conv2d(3, 4, 1, stride=2)
        self.after = nn.Conv2d(4, 4, 3, stride=2, padding=1)

    def forward(self, images):
        return self.after(self.wide(images) + self.narrow(images))


def test_parallel_branches_keep_in_step():
    net = Branches()
    beside = parallel_branches(net, (3, 32, 32))
    assert beside == ["narrow"]
    for_small_images(net, keep_weights=False, beside=beside)
    assert net(torch.zeros(1, 3, 32, 32)).shape[-2:] == (16, 16)
    alone = Branches()
    for_small_images(alone, keep_weights=False)
    with pytest.raises(RuntimeError, match="size of tensor a"):  # control
        alone(torch.zeros(1, 3, 32, 32))
