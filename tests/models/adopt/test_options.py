"""The command line of models.adopt."""

import pytest

from configs.errors import UsageError
from models.adopt import options
from models.spec import ModelSpec

FILES = ("f.pth", "--output", "o.safetensors")


def parse(*words):
    return options.parse([*FILES, *words])


def test_all_of_it():
    found = parse("--architecture", "torchvision/resnet18", "--stem", "keep", "--input", "3", "96", "96")
    assert found.model == ModelSpec(name="torchvision/resnet18", stem="keep") and found.input_CHW == (3, 96, 96)
    found = parse("--mean", "0.5", "--std", "0.25", "--eval_crop", "0.875", "--entry", "ema")
    assert (found.mean, found.std, found.eval_crop, found.entry, found.model) == ((0.5,), (0.25,), 0.875, "ema", None)


def test_words_about_data_are_taken_out_wherever_they_stand():
    words = ["--data.source", "folder", "f.pth", "--config=c.yaml", "--output", "o.safetensors", "--data.root", "x"]
    found = options.parse(words)
    assert found.source == "f.pth"
    assert found.data == ("--data.source", "folder", "--config=c.yaml", "--data.root", "x")


def test_classes_come_from_a_list_or_a_file(tmp_path):
    assert parse("--classes", "cat, dog").classes == ("cat", "dog")
    (tmp_path / "names.txt").write_text("cat\n\ndog, brown\n")
    assert parse("--classes", str(tmp_path / "names.txt")).classes == ("cat", "dog, brown")
    with pytest.raises(UsageError, match=r"--classes is nowhere\.txt, which is no file and no list"):
        parse("--classes", "nowhere.txt")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["f.pth", "--output", "o.pth"], r"--output is o\.pth; it must be a file that ends in \.safetensors"),
        (["f.pth"], "required: --output"),
        (["f.pth", "--output", "o.safetensors", "--stem", "keep"], "--stem need --architecture"),
        (["f.pth", "--output", "o.safetensors", "--input", "3", "96"], "--input"),
        (
            [*FILES, "--mean", "123.7", "116.3", "103.5"],
            r"--mean is 123\.7 116\.3 103\.5; .* divide --mean and --std by 255",
        ),
        ([*FILES, "--mean", "-0.1"], r"--mean is -0\.1; each must be in \[0, 1\], for pixels in \[0, 1\]$"),
        ([*FILES, "--mean", "nan"], r"--mean is nan; each must be in \[0, 1\]"),
        (
            [*FILES, "--std", "0.2", "0", "0.2"],
            r"--std is 0\.2 0\.0 0\.2; each must be in \(0, 1\], for pixels in \[0, 1\]$",
        ),
        ([*FILES, "--std", "58.4", "57.1", "57.4"], r"--std is 58\.4 .* divide --mean and --std by 255"),
        ([*FILES, "--eval_crop", "0"], r"--eval_crop is 0\.0; it must be in \(0, 1\]"),
    ],
)
def test_what_is_wrong_is_said(words, message):
    with pytest.raises(UsageError, match=message):
        options.parse(words)
