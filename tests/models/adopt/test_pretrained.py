"""Published weights, from a cache that is filled here with weights of our own."""

import subprocess
import sys

import pytest
import timm
import torch
import torchvision

from configs.errors import InputError, UsageError
from models import artefact
from models.adopt import conversion, pretrained
from models.adopt.conversion import Wanted
from models.networks import published
from models.spec import ModelSpec


@pytest.fixture
def torch_home(tmp_path, monkeypatch):
    """A machine without a network to whose TORCH_HOME somebody brought ResNet-18."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(published, "reachable", lambda _: False)
    return tmp_path / "hub" / "checkpoints"


def test_torchvision_s_weights_are_adopted_with_their_own_preparation(torch_home, monkeypatch, tmp_path):
    torch.manual_seed(0)
    net = torchvision.models.resnet18().eval()
    torch_home.mkdir(parents=True)
    torch.save(net.state_dict(), torch_home / "resnet18-f37072fd.pth")
    adopted, card = conversion.published("torchvision/resnet18")
    assert card.input_CHW == (3, 224, 224) and len(card.classes) == 1000 and card.mean == (0.485, 0.456, 0.406)
    assert card.eval_crop == 224 / 256 and card.model.stem == "keep" and not card.model.pretrained
    artefact.save(tmp_path / "t.safetensors", adopted, card)
    again = artefact.load(tmp_path / "t.safetensors")[0]
    image_BCHW = torch.randn(1, 3, 96, 96)
    with torch.no_grad():
        assert torch.equal(net(image_BCHW), again(image_BCHW))


def test_without_a_network_and_a_cache_the_way_is_said(torch_home):
    with pytest.raises(InputError) as refusal:
        pretrained.load("torchvision/resnet18")
    assert str(torch_home) in str(refusal.value) and "set TORCH_HOME" in str(refusal.value)


def test_a_folder_of_the_hub_that_was_brought_is_adopted_like_one_on_it(tmp_path):
    """timm reads such a folder by the same road: config.json and model.safetensors."""
    net = timm.create_model("test_resnet", num_classes=4).eval()
    folder = tmp_path / "net"
    timm.models.save_for_hf(net, folder, model_config={"num_classes": 4})
    adopted, card = conversion.published(f"local-dir:{folder}")
    assert card.model == ModelSpec(name="timm/test_resnet", stem="keep") and len(card.classes) == 4
    image_BCHW = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(net(image_BCHW), adopted(image_BCHW))
    wanted = Wanted(input_CHW=(3, 32, 32), classes=("a", "b"))
    started, card = conversion.starting_weights(ModelSpec(name=f"local-dir:{folder}"), wanted)
    artefact.save(tmp_path / "s.safetensors", started, card)
    assert card.classes == ("a", "b") and torch.equal(started.conv1[0].weight, net.conv1[0].weight)


@pytest.mark.parametrize("changed", [{"act_layer": "tanh"}, {"global_pool": "max"}, {"channels": (24, 48, 96, 192)}])
def test_a_network_that_its_name_does_not_give_is_refused(tmp_path, changed):
    net = timm.create_model("test_resnet", num_classes=4, **changed).eval()
    folder = tmp_path / "net"
    timm.models.save_for_hf(net, folder, model_config={"num_classes": 4}, model_args=changed)
    with pytest.raises(InputError, match=r"is not timm/test_resnet as the library builds it: model_args in its config"):
        conversion.published(f"local-dir:{folder}")
    wanted = Wanted(input_CHW=(3, 32, 32), classes=("a", "b"))
    with pytest.raises(InputError, match="model_args"):
        conversion.starting_weights(ModelSpec(name=f"local-dir:{folder}"), wanted)


def test_numbers_of_classes_are_checked_without_loading_weights():
    pretrained.require_classes("torchvision/resnet18", 1000)
    pretrained.require_classes("timm/resnet18", 1000)
    with pytest.raises(InputError, match=r"of timm/resnet18 know 1,000 classes, and the data set has 1001"):
        pretrained.require_classes("timm/resnet18", 1001)
    with pytest.raises(UsageError, match="there is no network 'timm/resnet81'"):
        pretrained.require_classes("timm/resnet81", 1000)
    with pytest.raises(UsageError, match=r"has no weights 'nothing'; there are"):
        pretrained.require_classes("timm/vit_tiny_patch16_224.nothing", 1000)
    with pytest.raises(InputError, match="timm has no weights of timm/resnetv2_152"):
        pretrained.require_classes("timm/resnetv2_152", 1000)


def test_fewer_classes_than_anybody_publishes_are_refused_without_the_library():
    code = (
        "import sys\nfrom configs.errors import InputError\nfrom models.adopt import pretrained\n"
        "for name in ('timm/resnet18', 'torchvision/resnet18'):\n"
        "    try:\n        pretrained.require_classes(name, 999)\n"
        "    except InputError as error:\n        print(error)\n"
        "print({'timm', 'torchvision'} & set(sys.modules))"
    )
    words = [sys.executable, "-c", code]
    one, two, loaded = subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()
    assert "timm/resnet18 know ImageNet's 1,000 classes or more, and the data set has 999" in one
    assert "torchvision/resnet18" in two and loaded == "set()"
    known = {timm.models.get_pretrained_cfg(name).num_classes for name in timm.list_models(pretrained=True)}
    assert {count for count in known if count < 1000} <= {0, 384, 512, 640, 768}  # no classifiers: features, CLIP
