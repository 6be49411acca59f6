"""The choice of an executor and its reason: a pure function of the config, the images and the device. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

from configs.errors import UsageError
from configs.figures import percent
from data_pipes.spec import DataSpec

RAW_SIDE = 64  # images up to this side are kept decoded: their cost is per image rather than per pixel
DEVICE_SHARE = 0.4  # share of the free device memory for images; the rest is for weights and activations
HOST_SHARE = 0.6  # of the available host memory, by the training images of all processes; validation and batches follow
STREAMED = 256 << 20  # bytes that a process needs on the host for a canvas on a device, which it gets block by block


@dataclass(frozen=True, kw_only=True, slots=True)
class Images:
    """The properties of a split that the choice depends on."""

    count: int
    """Number of images."""
    largest_side: int
    """Longest side of any image, in pixels; 0 if there is none."""
    common_size: tuple[int, int] | None
    """Height and width of every image; None where they differ."""
    encoded: bool
    """Whether images are files to decode, rather than one array."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Device:
    """The properties of a device that the choice depends on."""

    kind: Literal["cpu", "nvidia", "other"]
    free_bytes: int = 0
    """Free device memory; ignored on a CPU."""
    dali: bool = True
    """Whether NVIDIA DALI is installed."""
    host_bytes: int | None = None
    """Host memory that the processes of this machine can still allocate; None: unknown."""
    processes: int = 1
    """Processes of the run on this machine, which share its memory."""
    cache_bytes: int | None = None
    """Free space in the cache folder; None: unknown."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """An executor, its input, and the reason in words."""

    name: Literal["dali", "host", "resident"]
    """Also the name of the executor's module."""
    feed: Literal["files", "canvas"]
    reason: str

    @property
    def label(self) -> str:
        """Name in logs and tables: dali (files), dali (canvas), host, resident."""
        return f"{self.name} ({self.feed})" if self.name == "dali" else self.name


def canvas_size(spec: DataSpec, common_size: tuple[int, int] | None) -> tuple[int, int]:
    """Height and width of every canvas image: the images' own where those are equal and not larger than needed.

    Larger ones are reduced to `canvas_scale` times the output, with antialias: the warp of a view has none.
    """
    height, width = (round(side * spec.canvas_scale) for side in spec.image_size)
    if common_size is not None and common_size[0] <= height and common_size[1] <= width:
        return common_size
    return height, width


def canvas_bytes(spec: DataSpec, images: Images) -> int:
    """Bytes of all images once decoded and squashed."""
    height, width = canvas_size(spec, images.common_size)
    return images.count * height * width * spec.channels


def dali_installed() -> bool:
    """Whether NVIDIA DALI is installed, without importing it. Its wheels exist for Linux only."""
    return find_spec("nvidia") is not None and find_spec("nvidia.dali") is not None


def choose(spec: DataSpec, images: Images, device: Device) -> Choice:
    """The executor of a split. UsageError: the executor that the config asks for is not available here."""
    if spec.executor == "dali" or (spec.executor == "auto" and _suits_dali(images, device)):
        return _dali(spec, images, device)
    if spec.executor == "host":
        return Choice(name="host", feed="files", reason="data.executor asks for it")
    if spec.executor == "resident":
        return Choice(name="resident", feed="canvas", reason="data.executor asks for it")
    obstacle = _obstacle(spec, images, device)
    if images.largest_side <= RAW_SIDE and obstacle is None:
        kept = f"images of at most {images.largest_side} pixels are small enough to keep"
        return Choice(name="resident", feed="canvas", reason=kept)
    # Photographs on an NVIDIA GPU have gone to DALI by now, unless it is not installed.
    lacking = " (NVIDIA DALI is not installed: pip install nvidia-dali-cuda120)" if device.kind == "nvidia" else ""
    if device.kind != "cpu" and obstacle is None:
        kept = f"{_gigabytes(spec, images)} of images fit in the device's memory"
        return Choice(name="resident", feed="canvas", reason=kept + lacking)
    why = f"; {obstacle}" if obstacle and (device.kind != "cpu" or images.largest_side <= RAW_SIDE) else ""
    reason = f"images of up to {images.largest_side} pixels are decoded for each batch"
    return Choice(name="host", feed="files", reason=reason + why + lacking)


def _suits_dali(images: Images, device: Device) -> bool:
    return device.kind == "nvidia" and device.dali and images.largest_side > RAW_SIDE


def _dali(spec: DataSpec, images: Images, device: Device) -> Choice:
    if not device.dali:
        raise UsageError(
            "data.executor dali needs NVIDIA DALI, which is not installed: pip install nvidia-dali-cuda120 (Linux), or "
            "use data.executor host"
        )
    asked = "data.executor asks for it" if spec.executor == "dali" else "an NVIDIA GPU"
    if not images.encoded:
        if spec.dali.feed == "files":
            raise UsageError(
                f"data.dali.feed files needs image files; data.source {spec.source} is one array of pixels"
            )
        return Choice(name="dali", feed="canvas", reason=f"{asked}; the images are one array")
    if spec.dali.feed != "auto":
        return Choice(name="dali", feed=spec.dali.feed, reason=f"{asked}; data.dali.feed is {spec.dali.feed}")
    if device.kind != "nvidia":  # DALI then works on the CPU
        return Choice(name="dali", feed="files", reason=f"{asked}; files are decoded for each batch")
    obstacle = _obstacle(spec, images, device)
    if obstacle is None:
        return Choice(
            name="dali", feed="canvas", reason=f"{asked}, in whose memory {_gigabytes(spec, images)} of images fit"
        )
    return Choice(name="dali", feed="files", reason=f"{asked}; {obstacle}, so files are decoded for each batch")


def _obstacle(spec: DataSpec, images: Images, device: Device) -> str | None:
    """Why the images cannot be kept decoded; None if they can. A device of unknown memory takes small images."""
    need = canvas_bytes(spec, images)
    if device.kind != "cpu" and not device.free_bytes and images.largest_side > RAW_SIDE:
        return "the device does not report its free memory"
    if device.kind != "cpu" and device.free_bytes and need > DEVICE_SHARE * device.free_bytes:
        share = percent(DEVICE_SHARE, 0)
        return f"{_gigabytes(spec, images)} of images are more than {share} of the device's free memory"
    on_host, copies = _on_host(need, images, device)
    if device.host_bytes is None or on_host <= HOST_SHARE * device.host_bytes:
        return None
    each = f"{on_host / copies / 1e9:.2f} GB in each of {copies} processes" if copies > 1 else f"{on_host / 1e9:.2f} GB"
    available = f"{percent(HOST_SHARE, 0)} of the {device.host_bytes / 1e9:.2f} GB of host memory that are available"
    return f"keeping {_gigabytes(spec, images)} of images takes {each}, more than {available}"


def _on_host(need: int, images: Images, device: Device) -> tuple[int, int]:
    """Bytes of host memory that keeping the images takes on this machine, and the number of copies in it."""
    if device.kind != "cpu":
        return min(need, STREAMED) * device.processes, device.processes
    in_cache = images.encoded and (device.cache_bytes is None or need <= device.cache_bytes)
    copies = 1 if in_cache else device.processes  # a file in the cache is mapped by all of them
    return need * copies, copies


def _gigabytes(spec: DataSpec, images: Images) -> str:
    return f"{canvas_bytes(spec, images) / 1e9:.2f} GB"


def pixels(chosen: Choice, spec: DataSpec) -> str:
    """Everything in a choice that pixels depend on. A run may change it at a checkpoint, with a warning."""
    details = [chosen.label]
    if chosen.name == "dali" and chosen.feed == "files":
        details += [f"hw_decoder_load {spec.dali.hw_decoder_load:g}", f"fancy_upsampling {spec.dali.fancy_upsampling}"]
    if chosen.feed == "canvas":
        details.append(f"canvas_scale {spec.canvas_scale:g}")
    return ", ".join(details)
