"""Options that tell a library's network the size of our images, and the rule for stems."""

import pytest

from configs.errors import UsageError
from models.networks import sizes


def test_stems_are_changed_up_to_64_pixels_unless_the_user_says():
    assert sizes.is_small("auto", 64) and not sizes.is_small("auto", 65)
    assert sizes.is_small("small", 224) and not sizes.is_small("keep", 28)


def test_a_vision_transformer_keeps_its_patches_with_its_own_stem():
    name, input_CHW = "vit_tiny_patch16_224", (3, 32, 32)
    assert sizes.timm_sizes(name, input_CHW, "keep") == [{"img_size": (32, 32)}, {}]
    assert sizes.timm_sizes(name, input_CHW, "auto")[0] == {"img_size": (32, 32), "patch_size": 4}
    assert sizes.timm_sizes("resnet18", input_CHW, "auto") == []


def test_torchvision_s_transformers_take_large_squares():
    assert sizes.torchvision_size("vit_b_16", (3, 96, 96)) == {"image_size": 96}
    with pytest.raises(UsageError, match="has fixed, large patches"):
        sizes.torchvision_size("vit_b_16", (3, 32, 32))


def test_a_tag_that_timm_does_not_have_is_refused():
    assert sizes.timm_config("resnet18").num_classes == 1000
    with pytest.raises(
        UsageError, match=r"Invalid pretrained tag \(nothing\) .*timm\.list_pretrained\('resnet18\.\*'\)"
    ):
        sizes.timm_config("resnet18.nothing")


@pytest.mark.parametrize(("own", "side", "patch"), [(16, 28, 4), (16, 32, 4), (16, 64, 8), (4, 32, 2), (16, 6, 1)])
def test_patches_of_small_images(own, side, patch):
    assert sizes._small_patch(own, side, side) == patch
