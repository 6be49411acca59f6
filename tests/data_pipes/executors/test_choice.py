"""Which executor is chosen: every rule at both sides of its edge, and each reason names what decided."""

import sys
from dataclasses import replace
from importlib.util import find_spec

import pytest

from configs.errors import UsageError
from data_pipes.executors import choice
from data_pipes.executors.choice import Choice, Device, Images, choose
from data_pipes.spec import DaliSpec, DataSpec

PHOTOGRAPHS = Images(count=4_000_000, largest_side=512, common_size=None, encoded=True)  # of 1,000 bytes on the canvas
DIGITS = Images(count=60_000, largest_side=28, common_size=(28, 28), encoded=False)
CPU = Device(kind="cpu")
BIG = Device(kind="nvidia", free_bytes=80_000_000_000)
SMALL = Device(kind="nvidia", free_bytes=8_000_000_000)
OTHER = Device(kind="other", free_bytes=80_000_000_000)


def spec(executor="auto", feed="auto", source="food11") -> DataSpec:
    grey = {"mean": (0.5,), "std": (0.5,)}
    own = {
        "source": source,
        "image_size": (20, 50),
        "executor": executor,
        "canvas_scale": 1.0,
        "dali": DaliSpec(feed=feed),
    }
    return DataSpec(**grey, **own)


def label(asked: DataSpec, images: Images, device: Device) -> str:
    return choose(asked, images, device).label


@pytest.mark.parametrize(
    ("images", "device", "expected"),
    [
        (PHOTOGRAPHS, CPU, "host"),
        (PHOTOGRAPHS, BIG, "dali (canvas)"),
        (PHOTOGRAPHS, SMALL, "dali (files)"),
        (PHOTOGRAPHS, OTHER, "resident"),
        (PHOTOGRAPHS, replace(OTHER, free_bytes=0), "host"),
        (PHOTOGRAPHS, replace(BIG, dali=False), "resident"),
        (PHOTOGRAPHS, replace(SMALL, dali=False), "host"),
        (DIGITS, CPU, "resident"),
        (DIGITS, BIG, "resident"),
        (DIGITS, OTHER, "resident"),
    ],
)
def test_what_auto_takes(images, device, expected):
    assert label(spec(), images, device) == expected


def test_images_up_to_the_raw_side_are_kept_and_one_pixel_more_is_a_photograph():
    at, above = (replace(PHOTOGRAPHS, largest_side=side) for side in (choice.RAW_SIDE, choice.RAW_SIDE + 1))
    assert (label(spec(), at, CPU), label(spec(), above, CPU)) == ("resident", "host")
    assert (label(spec(), at, BIG), label(spec(), above, BIG)) == ("resident", "dali (canvas)")


@pytest.mark.parametrize(
    ("device", "fits", "else_"),
    [
        (BIG, "dali (canvas)", "dali (files)"),
        (replace(BIG, dali=False), "resident", "host"),
        (OTHER, "resident", "host"),
    ],
)
def test_images_may_take_their_share_of_the_free_memory_and_not_an_image_more(device, fits, else_):
    most = int(choice.DEVICE_SHARE * device.free_bytes) // 1_000
    assert most * 1_000 == choice.DEVICE_SHARE * device.free_bytes
    assert label(spec(), replace(PHOTOGRAPHS, count=most), device) == fits
    assert label(spec(), replace(PHOTOGRAPHS, count=most + 1), device) == else_


MANY = Images(count=4_000_000, largest_side=40, common_size=None, encoded=True)  # small files, of 1,000 bytes each
NODE = {"processes": 8, "host_bytes": 10_000_000_000}


def with_host(device: Device, needed: float, **changes) -> list[str]:
    """The labels where the host has just enough memory, and where it has a byte less."""
    enough = round(needed / choice.HOST_SHARE)
    asked = [replace(device, host_bytes=size, **changes) for size in (enough + 1, enough - 1)]
    return [label(spec(), MANY if device.kind == "cpu" else PHOTOGRAPHS, one) for one in asked]


@pytest.mark.parametrize("processes", [1, 8])
def test_processes_of_a_machine_share_a_canvas_that_the_cache_holds(processes):
    assert with_host(CPU, 4e9, processes=processes) == ["resident", "host"]
    assert with_host(CPU, 4e9, processes=processes, cache_bytes=4_000_000_000) == ["resident", "host"]
    each = with_host(CPU, 4e9 * processes, processes=processes, cache_bytes=3_999_999_999)
    assert each == ["resident", "host"], "each process decodes its own where the cache has no room"


@pytest.mark.parametrize("processes", [1, 8])
def test_a_canvas_on_a_gpu_goes_through_little_host_memory(processes):
    assert with_host(BIG, choice.STREAMED * processes, processes=processes) == ["dali (canvas)", "dali (files)"]
    assert with_host(OTHER, choice.STREAMED * processes, processes=processes) == ["resident", "host"]


def test_an_array_that_has_to_be_copied_counts_in_each_process():
    grey = replace(MANY, encoded=False)
    assert label(spec(), grey, replace(CPU, **NODE)) == "host"
    assert label(spec(), grey, replace(CPU, **NODE | {"processes": 1})) == "resident"


def test_the_reason_names_the_memory_that_is_too_small():
    reason = choose(spec(), MANY, replace(CPU, cache_bytes=0, **NODE)).reason
    assert "; keeping 4.00 GB of images takes 4.00 GB in each of 8 processes, more than 60 % of the 10.00 GB" in reason
    assert "takes 4.00 GB, more than 60 % of the 1.00 GB" in choose(spec(), MANY, replace(CPU, host_bytes=10**9)).reason
    assert (
        "takes 0.27 GB in each of 8 processes"
        in choose(spec(), PHOTOGRAPHS, replace(BIG, host_bytes=10**9, processes=8)).reason
    )
    assert "does not report" in choose(spec(), PHOTOGRAPHS, replace(OTHER, free_bytes=0)).reason
    assert choose(spec("resident"), MANY, replace(CPU, cache_bytes=0, **NODE)).name == "resident", "asked for"


@pytest.mark.parametrize("device", [CPU, BIG, SMALL, OTHER, replace(BIG, dali=False)])
@pytest.mark.parametrize("images", [PHOTOGRAPHS, DIGITS])
@pytest.mark.parametrize("name", ["host", "resident"])
def test_what_the_config_asks_for_is_taken_on_any_device(name, images, device):
    found = choose(spec(name), images, device)
    assert (found.name, found.reason) == (name, "data.executor asks for it")
    assert found.feed == {"host": "files", "resident": "canvas"}[name]


@pytest.mark.parametrize(
    ("images", "device", "feed", "expected"),
    [
        (PHOTOGRAPHS, CPU, "auto", "files"),
        (PHOTOGRAPHS, OTHER, "auto", "files"),  # DALI runs on NVIDIA GPUs and CPUs: no memory to keep a canvas in
        (PHOTOGRAPHS, BIG, "auto", "canvas"),
        (PHOTOGRAPHS, SMALL, "auto", "files"),
        (PHOTOGRAPHS, BIG, "files", "files"),
        (PHOTOGRAPHS, SMALL, "canvas", "canvas"),
        (PHOTOGRAPHS, CPU, "canvas", "canvas"),
        (DIGITS, BIG, "auto", "canvas"),
        (DIGITS, CPU, "canvas", "canvas"),
    ],
)
def test_what_dali_is_fed_from_when_it_is_asked_for(images, device, feed, expected):
    found = choose(spec("dali", feed), images, device)
    assert (found.name, found.feed) == ("dali", expected) and "data.executor asks for it" in found.reason


def test_the_feed_that_the_config_asks_for_also_holds_where_auto_took_dali():
    assert label(spec("auto", "files"), PHOTOGRAPHS, BIG) == "dali (files)"
    assert label(spec("auto", "canvas"), PHOTOGRAPHS, SMALL) == "dali (canvas)"


def test_an_array_has_no_files_to_feed():
    with pytest.raises(UsageError, match=r"data\.dali\.feed files .* data\.source idx is one array"):
        choose(spec("dali", "files", "idx"), DIGITS, BIG)
    assert label(spec("dali", "files"), PHOTOGRAPHS, BIG) == "dali (files)"
    assert label(spec("auto", "files", "idx"), DIGITS, BIG) == "resident"  # what only DALI asks says nothing here


@pytest.mark.parametrize("device", [CPU, BIG, OTHER])
def test_dali_that_is_asked_for_and_missing_is_refused_with_the_way_out(device):
    with pytest.raises(UsageError, match=r"not installed: pip install nvidia-dali-cuda120 .* data\.executor host"):
        choose(spec("dali"), PHOTOGRAPHS, replace(device, dali=False))
    assert choose(spec("dali"), PHOTOGRAPHS, device).name == "dali"


@pytest.mark.parametrize("device", [BIG, SMALL])
def test_only_an_nvidia_gpu_without_dali_is_told_what_it_lacks(device):
    advice = "pip install nvidia-dali-cuda120"
    assert advice in choose(spec(), PHOTOGRAPHS, replace(device, dali=False)).reason
    for other in (device, replace(CPU, dali=False), replace(OTHER, dali=False)):
        assert advice not in choose(spec(), PHOTOGRAPHS, other).reason


def test_a_reason_names_the_figures_that_decided():
    assert "4.00 GB" in choose(spec(), PHOTOGRAPHS, BIG).reason
    assert (
        "4.00 GB" in choose(spec(), PHOTOGRAPHS, SMALL).reason and "40 %" in choose(spec(), PHOTOGRAPHS, SMALL).reason
    )
    assert "28 pixels" in choose(spec(), DIGITS, BIG).reason and "512 pixels" in choose(spec(), PHOTOGRAPHS, CPU).reason


def test_only_dali_has_two_feeds_to_tell_apart():
    labels = [
        Choice(name=name, feed=feed, reason="").label for name in ("dali", "host") for feed in ("files", "canvas")
    ]
    assert labels == ["dali (files)", "dali (canvas)", "host", "host"]


@pytest.mark.parametrize("present", [{"nvidia", "nvidia.dali"}, {"nvidia"}, set()])
def test_dali_is_looked_for_without_importing_it(monkeypatch, present):
    real = find_spec("json")
    monkeypatch.setattr(choice, "find_spec", lambda name: real if name in present else None)
    before = set(sys.modules)
    assert choice.dali_installed() is ("nvidia.dali" in present)
    assert not {name for name in set(sys.modules) - before if name.startswith("nvidia")}


SMALL_IMAGES = [
    ((28, 28), (28, 28)),
    ((31, 20), (31, 20)),
    ((31, 32), (31, 32)),
    ((32, 32), (31, 32)),
    (None, (31, 32)),
]


@pytest.mark.parametrize(("common_size", "expected"), SMALL_IMAGES)
def test_images_of_one_size_keep_it_up_to_that_of_the_canvas(common_size, expected):
    scaled = replace(spec(), image_size=(27, 28), canvas_scale=1.14)
    assert choice.canvas_size(scaled, common_size) == expected
    images = Images(count=7, largest_side=32, common_size=common_size, encoded=False)
    assert choice.canvas_bytes(scaled, images) == 7 * expected[0] * expected[1]
    assert (
        choice.canvas_bytes(replace(scaled, mean=(0.5,) * 3, std=(0.5,) * 3), images) == 21 * expected[0] * expected[1]
    )


@pytest.mark.parametrize(("scale", "expected"), [(1.14, (255, 182)), (1.5, (336, 240)), (1.0, (224, 160))])
def test_photographs_are_squashed_to_a_little_over_the_output(scale, expected):
    assert choice.canvas_size(replace(spec(), image_size=(224, 160), canvas_scale=scale), None) == expected
