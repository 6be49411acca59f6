"""Configs of the bench that do not hold."""

import pytest

from bench_command import DIGITS, read
from configs import reader
from configs.errors import UsageError
from launch.bench.config import DistillStepConfig


def test_without_the_teachers_file_the_message_says_how_to_do_without():
    words = ["--config", DIGITS, "--teacher", "/nowhere/model.safetensors"]
    with pytest.raises(UsageError, match=r"teacher /nowhere/model.safetensors does not exist: .* --distill.alpha 0"):
        reader.read(DistillStepConfig, words, prog="p", description="d")
    config = reader.read(DistillStepConfig, [*words, "--distill.alpha", "0"], prog="p", description="d")
    assert not config.distill.needs_teacher


@pytest.mark.parametrize(
    ("key", "value"), [("rounds", "0"), ("images", "0"), ("batch_size", "0"), ("seconds", "-1"), ("seed", "-1")]
)
def test_wrong_numbers_are_named(key, value):
    with pytest.raises(UsageError, match=f"^{key} is "):
        read("--config", DIGITS, f"--{key}", value)
