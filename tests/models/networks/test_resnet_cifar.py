"""The public CIFAR ResNets, with shortcuts without parameters."""

import pytest
import torch

import course_files
from configs.errors import UsageError
from models.networks.resnet_cifar import resnet_cifar


@pytest.mark.parametrize("blocks", [1, 3, 5])
def test_public_weights_fit_by_name_and_give_the_same_logits(blocks):
    torch.manual_seed(0)
    plain = course_files.trained_looking(course_files.PlainCifarResNet(blocks))
    net = resnet_cifar(num_classes=10, input_CHW=(3, 32, 32), depth=6 * blocks + 2).eval()
    net.load_state_dict(plain.state_dict())
    image_BCHW = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(net(image_BCHW), plain(image_BCHW))


@pytest.mark.parametrize(("depth", "count"), [(20, 269_722), (32, 464_154), (56, 853_018), (110, 1_727_962)])
def test_sizes_are_those_of_the_paper(depth, count):
    """Table 6: 0.27 M, 0.46 M, 0.85 M, 1.7 M."""
    with torch.device("meta"):
        net = resnet_cifar(num_classes=10, input_CHW=(3, 32, 32), depth=depth)
    assert sum(parameter.numel() for parameter in net.parameters()) == count


def test_other_images_and_widths():
    net = resnet_cifar(num_classes=5, input_CHW=(1, 28, 20), depth=8, widths=(3, 6, 11)).eval()
    assert net(torch.zeros(2, 1, 28, 20)).shape == (2, 5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depth": 18}, r"depth of 6n \+ 2, not 18; take 14 or 20"),
        ({"widths": (8, 4, 16)}, "can only add channels"),
        ({"widths": (8, 16)}, "takes 3 widths"),
        ({"input_CHW": (3, 2, 32)}, "at least 4 x 4"),
    ],
)
def test_what_cannot_be_is_refused(options, message):
    with pytest.raises(UsageError, match=message):
        resnet_cifar(**{"num_classes": 10, "input_CHW": (3, 32, 32)} | options)
