"""What the specs refuse, by the key that the user wrote."""

from dataclasses import fields
from typing import get_args

import pytest

from configs import resources
from configs.errors import UsageError
from data_pipes.spec import SOURCES, AugmentSpec, DataSpec, Operator, SourceName

GOOD = {"source": "digits", "image_size": (8, 8), "mean": (0.5,), "std": (0.5,)}


@pytest.mark.parametrize(
    ("key", "bad", "good"),
    [
        ("horizontal_flip", -0.1, 1),
        ("vertical_flip", 1.1, 0),
        ("erase", 2, 0.5),
        ("mix_probability", -1, 0.5),
        ("crop_scale", (0.0, 1.0), (0.08, 1.0)),
        ("crop_scale", (1.0, 0.5), None),
        ("crop_ratio", (2.0, 1.0), (1.0, 1.0)),
        ("zoom", (0.0, 1.0), (0.5, 2.0)),
        ("erase_scale", (0.3, 0.2), (0.02, 0.4)),
        ("erase_ratio", (-1.0, 1.0), (0.3, 3.3)),
        ("mixup", 2.5, 2.0),
        ("cutmix", -0.2, 1.0),
        ("crop_padding", -1, 4),
        ("rotation", -10, 180),
        ("affine", -1, 30),
        ("shear", -1, 10),
        ("translate", (0.1, 1.5), (0.0, 1.0)),
        ("mixup", float("nan"), 0.2),
        ("rotation", float("nan"), 10.0),
        ("erase", float("nan"), 0.1),
    ],
)
def test_augment_names_the_key(key, bad, good):
    with pytest.raises(UsageError, match=f"augment.{key} is "):
        AugmentSpec(**{key: bad})
    AugmentSpec(**{key: good})


def test_operator_numbers_are_part_of_caches_on_disk():
    assert [int(operator) for operator in Operator] == list(range(8))
    assert [operator.name for operator in Operator][:4] == ["ORDER", "CROP", "FLIP", "ROTATION"]
    assert [operator.name for operator in Operator][4:] == ["AFFINE", "ERASE", "MATCHING", "MIX"]


@pytest.mark.parametrize(
    ("augment", "expected"),
    [
        ({}, []),
        ({"crop_scale": (0.5, 1.0), "erase": 0.5, "mixup": 1.0}, []),
        ({"horizontal_flip": 0.1}, ["flips"]),
        ({"vertical_flip": 0.1}, ["flips"]),
        ({"crop_padding": 1}, ["warps"]),
        ({"rotation": 1}, ["warps"]),
        *(
            (change, ["affine_step", "warps"])
            for change in ({"affine": 1}, {"shear": 1}, {"translate": (0, 0.1)}, {"zoom": (1, 1.1)}, {"zoom": (0.9, 1)})
        ),
    ],
)
def test_what_moves_pixels(augment, expected):
    spec = AugmentSpec(**augment)
    assert [name for name in ("flips", "affine_step", "warps") if getattr(spec, name)] == expected


def test_each_source_has_its_facts():
    assert tuple(SOURCES) == get_args(SourceName)
    assert [name for name, facts in SOURCES.items() if facts.files] == ["food11", "folder"]


def test_two_crops_are_one_too_many():
    with pytest.raises(UsageError, match=r"augment\.crop_padding is 4.*choose one crop"):
        AugmentSpec(crop_scale=(0.5, 1.0), crop_padding=4)


@pytest.mark.parametrize(
    ("augment", "mixes"),
    [({}, False), ({"mixup": 0.2}, True), ({"cutmix": 1}, True), ({"mixup": 0.2, "mix_probability": 0}, False)],
)
def test_mixes(augment, mixes):
    assert AugmentSpec(**augment).mixes is mixes


@pytest.mark.parametrize(
    ("key", "bad"),
    [
        ("mean", (0.5, 0.5)),
        ("std", (0.5, 0.5, 0.5)),
        ("std", (0.0,)),
        ("image_size", (0, 8)),
        ("eval_crop", 0.0),
        ("eval_crop", 1.1),
        ("validation_fraction", 1.0),
        ("class_depth", 0),
        ("class_depth", 2),
        ("canvas_scale", 0.9),
        ("threads", -1),
        ("prefetch", 0),
    ],
)
def test_data_names_the_key(key, bad):
    with pytest.raises(UsageError, match=f"data.{key} is "):
        DataSpec(**{**GOOD, key: bad})


def test_mean_in_levels_instead_of_shares_is_refused():
    """[123.7, 116.3, 103.5] is the common slip: every pixel would be 123 standard deviations below zero."""
    for mean in ((123.7, 116.3, 103.5), (-0.5,)):
        with pytest.raises(UsageError, match=r"data\.mean is "):
            DataSpec(**{**GOOD, "mean": mean, "std": (0.2,) * len(mean)})


def test_an_infinite_angle_is_refused():
    with pytest.raises(UsageError, match=r"augment\.rotation is inf"):
        AugmentSpec(rotation=float("inf"))


def test_the_good_values_are_good_and_channels_are_counted():
    assert DataSpec(**GOOD).channels == 1
    assert DataSpec(**{**GOOD, "source": "folder", "class_depth": 2}).class_depth == 2
    assert DataSpec(**{**GOOD, "mean": (0.5,) * 3, "std": (0.5,) * 3}).channels == 3
    assert DataSpec(**GOOD).augment == AugmentSpec() and not AugmentSpec().mixes


def test_nothing_is_drawn_unless_asked_for():
    """Every operator is off by default: a new one must be, too, or old plans change."""
    off = {"crop_scale": None, "crop_padding": 0, "horizontal_flip": 0, "vertical_flip": 0, "rotation": 0, "affine": 0}
    off |= {"translate": (0, 0), "zoom": (1, 1), "shear": 0, "erase": 0, "mixup": 0, "cutmix": 0}
    shapes = {"crop_ratio", "erase_scale", "erase_ratio", "mix_probability"}  # say nothing by themselves
    assert {field.name for field in fields(AugmentSpec)} == off.keys() | shapes
    assert all(getattr(AugmentSpec(), key) == value for key, value in off.items())


@pytest.mark.parametrize(
    ("source", "classes", "expected"),
    [
        ("folder", ("a",), "null for folder: the folders name the classes"),
        ("cifar10", ("a",), "null for cifar10: the data set names its classes itself"),
        ("digits", ("a",), "null for digits"),
        ("idx", ("a", "b", "a"), "none of them empty or given twice"),
        ("food11", ("a", " "), "none of them empty"),
        ("idx", (), "none of them empty"),
    ],
)
def test_class_names_are_given_where_nothing_else_names_them(source, classes, expected):
    base = {"image_size": (8, 8), "mean": (0.5,), "std": (0.5,)}
    assert DataSpec(source="idx", classes=("a", "b"), **base).classes == ("a", "b")
    with pytest.raises(UsageError, match=rf"data\.classes is .*{expected}"):
        DataSpec(source=source, classes=classes, **base)


def test_fill_colour_is_the_mean_in_whole_levels():
    assert DataSpec(**{**GOOD, "mean": (0.4, 0.5, 0.6), "std": (1, 1, 1)}).fill_colour == (102, 128, 153)
    assert DataSpec(**{**GOOD, "mean": (1.0,)}).fill_colour == (255,)


def test_threads_are_shared_among_the_processes_of_a_machine(monkeypatch):
    monkeypatch.setattr(resources, "cores", lambda: 12)
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    assert DataSpec(**GOOD, threads=0).thread_count == 12
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "5")
    assert DataSpec(**GOOD, threads=0).thread_count == 2
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "64")
    assert DataSpec(**GOOD, threads=0).thread_count == 1
    assert DataSpec(**GOOD, threads=7).thread_count == 7
