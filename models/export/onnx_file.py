"""Export to one .onnx file with metadata, and its comparison with torch in ONNX Runtime.

metadata  classes, mean, std, input_CHW, eval_crop, model, artefact_sha256: JSON values
graph     image_BCHW, float32, normalised -> logits_BK; any number of images at once

Needs the extra [export]. Shapes: B batch, C channels, H height, W width, K classes.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import torch
from onnxruntime.capi import onnxruntime_pybind11_state as runtime_state
from torch import Tensor, nn

from configs.errors import InputError
from configs.files import write_atomically
from models import state_dicts
from models.artefact import Card
from models.export.latency import Contender, Forward

BATCH_SIZES = (1, 2, 7, 64)
"""1: exporters may fix the batch size there. 7: odd. 64: other kernels than for a few images."""
TOLERANCE = 1e-4
"""Largest difference over the standard deviation of the logits. Rounding gave 5e-7 to 4e-5 on our networks and the
libraries' (as from float32 to float64 in torch); a layer whose weights are one per cent off gives 1e-2 to 3e-1, unless
its scale is still near zero."""
LARGEST = 2**31 - 1
"""Bytes in one protocol buffer; a larger network would need a second file."""
INPUT, OUTPUT = "image_BCHW", "logits_BK"


@dataclass(frozen=True, kw_only=True, slots=True)
class Parity:
    """Difference between ONNX Runtime and torch on the same images."""

    largest_difference: float
    """Largest absolute difference between logits."""
    logit_spread: float
    """Standard deviation over images and classes."""
    image_spread: float
    """Standard deviation over images, root mean square over classes."""
    batch_sizes: tuple[int, ...] = BATCH_SIZES

    @property
    def relative(self) -> float:
        """The largest difference in units of the logits' spread."""
        return self.largest_difference / self.logit_spread if self.logit_spread else math.inf


@dataclass(frozen=True, kw_only=True, slots=True)
class Exported:
    """A graph that agrees with torch."""

    content: bytes
    """Bytes of the .onnx file."""
    parity: Parity


def export(net: nn.Module, card: Card, path: str | Path, *, artefact_sha256: str | None = None) -> Exported:
    """Convert, compare with torch, and only then write the file atomically. The network is not changed.

    Weights of half precision are written as float32, which is exact.

    InputError: the network cannot be converted, its outputs differ, or the file cannot be written.
    """
    exported = checked(net, card, artefact_sha256=artefact_sha256)
    try:
        write_atomically(Path(path), exported.content)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}") from error
    return exported


def checked(net: nn.Module, card: Card, *, artefact_sha256: str | None = None) -> Exported:
    """Convert and compare with torch. InputError: as for `export`."""
    twin = state_dicts.ready(net)
    content = convert(twin, card, artefact_sha256=artefact_sha256)
    return Exported(content=content, parity=compare(twin, card, content))


def convert(net: nn.Module, card: Card, *, artefact_sha256: str | None = None) -> bytes:
    """Return the contents of an .onnx file for a network on the CPU in evaluation mode; equal networks, equal bytes.

    InputError: torch cannot trace it for any number of images, or it is too large for one file.
    """
    size = sum(tensor.numel() * tensor.element_size() for tensor in net.state_dict().values())
    if size > LARGEST:
        raise InputError(f"{card.model.name} has {size:,} bytes of weights; one ONNX file holds at most {LARGEST:,}")
    try:
        program = torch.onnx.export(
            net,
            (torch.zeros(2, *card.input_CHW),),  # one image would be taken for a constant
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    except (RuntimeError, ValueError, torch.onnx.errors.OnnxExporterError) as error:
        raise InputError(f"{card.model.name} cannot be converted to ONNX: {_reason(error)}") from error
    assert program is not None  # only TorchScript's exporter returns nothing
    proto = program.model_proto
    _strip(proto)
    onnx.helper.set_model_props(proto, metadata(card, artefact_sha256))
    proto.doc_string = _explanation(card)
    content: bytes = proto.SerializeToString(deterministic=True)
    return content


def _reason(error: BaseException) -> str:
    """Return the first line of the innermost cause: the exporter's own messages are advice for its developers."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error).strip().partition("\n")[0]


def metadata(card: Card, artefact_sha256: str | None = None) -> dict[str, str]:
    """Return the metadata of the file: JSON values by name."""
    fields: dict[str, Any] = {
        "model": card.model.name,
        "classes": card.classes,
        "input_CHW": card.input_CHW,
        "mean": card.mean,
        "std": card.std,
        "eval_crop": card.eval_crop,
    }
    fields |= {"artefact_sha256": artefact_sha256} if artefact_sha256 else {}
    return {name: json.dumps(value) for name, value in fields.items()}


def compare(net: nn.Module, card: Card, content: bytes) -> Parity:
    """Run torch and ONNX Runtime on the same images, in batches of 1, 2, 7 and 64.

    InputError: ONNX Runtime cannot run a batch, or the logits differ by more than TOLERANCE, or hardly vary.
    """
    batches = torch.split(_images(card), list(BATCH_SIZES))
    wanted_BK = torch.cat([_logits(net, card, image_BCHW) for image_BCHW in batches])
    run = OnnxNet(content)
    try:
        found_BK = torch.cat([run(image_BCHW) for image_BCHW in batches])
    except (runtime_state.InvalidArgument, runtime_state.Fail, runtime_state.RuntimeException) as error:
        raise InputError(f"ONNX Runtime cannot run {card.model.name} at batch sizes {BATCH_SIZES}: {error}") from error
    parity = Parity(
        largest_difference=float((found_BK - wanted_BK).abs().max()),
        logit_spread=float(wanted_BK.std(correction=0)),
        image_spread=float(wanted_BK.var(dim=0, correction=0).mean().sqrt()),
    )
    _require(parity, card.model.name)
    return parity


def _logits(net: nn.Module, card: Card, image_BCHW: Tensor) -> Tensor:
    """Return torch's logits. InputError: they are not one row per image and one column per class."""
    wanted = (len(image_BCHW), len(card.classes))
    try:
        with torch.inference_mode():
            logits_BK: Tensor = net(image_BCHW)
    except (RuntimeError, ValueError, AssertionError) as error:
        raise InputError(f"{card.model.name} does not take {len(image_BCHW)} images at once: {error}") from error
    if tuple(logits_BK.shape) != wanted:
        raise InputError(f"{card.model.name} gives logits of shape {tuple(logits_BK.shape)}; {wanted} would be right")
    return logits_BK


def _require(parity: Parity, name: str) -> None:
    """InputError unless the logits agree up to rounding, and vary enough for that to mean something."""
    if parity.image_spread <= TOLERANCE * parity.logit_spread:
        raise InputError(
            f"{name} gives nearly the same logits for every image (they vary by {parity.image_spread:.1e}, between "
            f"classes by {parity.logit_spread:.1e}), so no comparison could show that its ONNX file is right; "
            "train it first"
        )
    if not parity.relative <= TOLERANCE:  # also true for NaN
        raise InputError(
            f"ONNX Runtime and torch disagree on {name}: logits differ by up to {parity.largest_difference:.1e}, which "
            f"is {parity.relative:.1e} of their spread; at most {TOLERANCE:.0e} is rounding. No file is written"
        )


class OnnxNet:
    """ONNX Runtime on the CPU, with as many threads as torch has."""

    def __init__(self, content: bytes) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        # Otherwise its threads spin after a run, on the cores of the network that is timed next.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    def __call__(self, image_BCHW: Tensor) -> Tensor:
        """image_BCHW -> logits_BK."""
        return torch.from_numpy(self._session.run([OUTPUT], {INPUT: image_BCHW.numpy()})[0])

    def contender(self, network: str, input_CHW: tuple[int, int, int]) -> Contender:
        """Return this network for `latency.measure`."""
        return Contender(network=network, runtime="ONNX Runtime", input_CHW=input_CHW, bind=self._bind)

    def _bind(self, image_BCHW: Tensor) -> Forward:
        feed = {INPUT: image_BCHW.numpy()}
        return lambda: self._session.run([OUTPUT], feed)


def _strip(message: Any) -> None:
    """Remove the exporter's notes from every node: they hold paths and source lines of this machine."""
    for descriptor, value in message.ListFields():
        if descriptor.name in ("metadata_props", "doc_string"):
            message.ClearField(descriptor.name)
        elif descriptor.message_type is not None:
            for part in [value] if hasattr(value, "ListFields") else value:
                _strip(part)


def _explanation(card: Card) -> str:
    channels, height, width = card.input_CHW
    return (
        f"{INPUT}: float32, any number of images of {channels} x {height} x {width}. Cut the central "
        f"{card.eval_crop:g} of the image, scale it to that size, divide pixels by 255, then subtract the mean and "
        f"divide by the std of each channel. {OUTPUT}: one logit per class, in the order of the classes. "
        "See the metadata."
    )


def _images(card: Card) -> Tensor:
    """Return plain, ramped, chequered, blurred and noisy images in a mixed order, normalised for the network."""
    channels, height, width = card.input_CHW
    generator = torch.Generator().manual_seed(0)  # leaves the caller's random state unchanged
    down_H1, right_W = torch.linspace(0, 1, height)[:, None], torch.linspace(0, 1, width)
    chequered_HW = (torch.arange(height)[:, None] + torch.arange(width)) % 2
    planes = [torch.zeros(1), torch.ones(1), torch.tensor(0.5), down_H1, right_W, down_H1 * right_W, chequered_HW]
    structured = torch.stack([plane.expand(channels, height, width) for plane in planes])
    blurred, noisy = (sum(BATCH_SIZES) - len(planes) + 1) // 2, (sum(BATCH_SIZES) - len(planes)) // 2
    coarse = torch.rand(blurred, channels, 4, 4, generator=generator)
    pixel_BCHW = torch.cat(
        [
            structured,
            nn.functional.interpolate(coarse, (height, width), mode="bilinear"),
            torch.rand(noisy, channels, height, width, generator=generator),
        ]
    )
    mixed_BCHW = pixel_BCHW[torch.randperm(len(pixel_BCHW), generator=generator)]
    mean_C11, std_C11 = (torch.tensor(values)[:, None, None] for values in (card.mean, card.std))
    return (mixed_BCHW - mean_C11) / std_C11
