import pytest

from configs.errors import UsageError
from models.spec import ModelSpec, names_file, names_pretrained


def test_what_is_valid_passes():
    assert ModelSpec(name="nin", widths=(1,), dropout=0.0) == ModelSpec(name="nin", widths=(1,), dropout=0.0)


@pytest.mark.parametrize(
    "wrong", [{"name": ""}, {"widths": ()}, {"widths": (8, 0)}, {"dropout": 1.0}, {"dropout": -0.1}]
)
def test_what_is_not_is_refused(wrong):
    with pytest.raises(UsageError):
        ModelSpec(**{"name": "nin", **wrong})


def test_files_and_published_weights_are_told_by_their_names():
    assert all(map(names_file, ("a.safetensors", "a.PTH", "a.ckpt", "a.th", "a.pth.tar", "timm/a.bin")))
    assert not any(map(names_file, ("resnet_small", "timm/resnet18", "hf-hub:a/b", "timm/vit_tiny.augreg_in21k")))
    assert all(map(names_pretrained, ("timm/resnet18", "torchvision/resnet18", "hf-hub:timm/resnet18.a1_in1k")))
    assert not any(map(names_pretrained, ("resnet18", "timm/resnet18.pth")))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"kwargs": {"width": 3}}, "kwargs is for networks of your own, such as my_net.py:StudentNet, not for nin"),
        ({"name": "a.py:A", "kwargs": {"width": float("inf")}}, "plain, finite values"),
        ({"name": "a.py:A", "kwargs": {"my width": 3}}, "'my width'; it must be the name of a parameter"),
        ({"name": "a.py"}, "a.py is a file; name the class or function in it too"),
    ],
)
def test_networks_of_ones_own_take_plain_kwargs(wrong, message):
    assert ModelSpec(name="a.py:A", kwargs={"width": [1, {"x": None}]}).kwargs
    with pytest.raises(UsageError, match=message):
        ModelSpec(**{"name": "nin", **wrong})
