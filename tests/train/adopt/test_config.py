"""The data set of models.adopt: from its words, and for the rest from the command's own options."""

import pytest

from configs.errors import UsageError
from models.adopt import options
from train.adopt import config


def read(*words, source="f.pth"):
    return config.read(options.parse([source, "--output", "o.safetensors", *words]))


def test_the_command_s_options_hold_where_the_data_s_say_nothing():
    data = read("--data.source", "digits", "--input", "1", "8", "9", "--mean", "0.3", "--std", "0.4")
    assert (data.image_size, data.mean, data.std) == ((8, 9), (0.3,), (0.4,))
    data = read("--data.source", "digits", "--input", "3", "8", "9")
    assert data.mean == (0.485, 0.456, 0.406)
    data = read("--data.source", "digits", "--data.image_size", "[7, 7]", "--data.mean", "[0.1]", "--data.std", "[0.2]")
    assert (data.image_size, data.mean) == ((7, 7), (0.1,))


def test_a_config_says_all_of_it():
    data = read("--config", "configs/digits/distill.yaml")
    assert data.source == "digits" and data.image_size == (16, 16)


def test_the_size_is_needed_unless_it_is_published():
    with pytest.raises(UsageError, match="--input C H W is needed"):
        read("--data.source", "digits")
    assert read("--data.source", "digits", source="timm/resnet18").channels == 3
    with pytest.raises(UsageError, match=r"unknown option --data\.sauce"):
        read("--data.sauce", "digits", "--input", "1", "8", "8")
