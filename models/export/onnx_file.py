"""Export to one .onnx file with metadata, compared with torch in ONNX Runtime before it is written.

graph   image_BCHW, float32, normalised -> logits_BK; any number of images at once
        pixel_BHWC, uint8 from 0 to 255 -> logits_BK, where normalisation is to be inside

Needs the extra [export]. Shapes: B batch, C channels, H height, W width, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

from configs.errors import InputError
from configs.files import write_atomically
from models import state_dicts
from models.artefact import Card
from models.export import onnx_metadata, parity
from models.export.onnx_metadata import OUTPUT
from models.export.parity import Parity
from models.export.pixel_input import PixelInput

LARGEST = 2**31 - 1
"""Bytes in one protocol buffer; a larger network would need a second file."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Exported:
    """A graph that agrees with torch."""

    content: bytes
    """Bytes of the .onnx file."""
    parity: Parity
    opset: int
    """Version of the standard operators that a runtime must know."""


def export(
    net: nn.Module,
    card: Card,
    path: str | Path,
    *,
    artefact_sha256: str | None = None,
    uint8_input: bool = False,
) -> Exported:
    """Convert, compare with torch, and only then write the file atomically. The network is not changed.

    Weights of half precision are written as float32, which is exact.

    uint8_input: put the normalisation inside; the graph then takes uint8 B x H x W x C, as decoders give it.
    InputError: the network cannot be converted, its outputs differ, or the file cannot be written.
    """
    exported = checked(net, card, artefact_sha256=artefact_sha256, uint8_input=uint8_input)
    try:
        write_atomically(Path(path), exported.content)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}") from error
    return exported


def checked(net: nn.Module, card: Card, *, artefact_sha256: str | None = None, uint8_input: bool = False) -> Exported:
    """Convert and compare with torch. InputError: as for `export`."""
    twin = state_dicts.ready(net)
    content = convert(twin, card, artefact_sha256=artefact_sha256, uint8_input=uint8_input)
    opset = onnx_metadata.opset(onnx.load_from_string(content))
    return Exported(content=content, parity=parity.compare(twin, card, content), opset=opset)


def convert(net: nn.Module, card: Card, *, artefact_sha256: str | None = None, uint8_input: bool = False) -> bytes:
    """Return the contents of an .onnx file for a network on the CPU in evaluation mode; equal networks, equal bytes.

    InputError: torch cannot trace it for any number of images, or it is too large for one file.
    """
    size = sum(tensor.numel() * tensor.element_size() for tensor in net.state_dict().values())
    if size > LARGEST:
        raise InputError(f"{card.model.name} has {size:,} bytes of weights; one ONNX file holds at most {LARGEST:,}")
    try:
        program = torch.onnx.export(
            PixelInput(net, card).eval() if uint8_input else net,
            (_example(card, uint8_input=uint8_input),),
            input_names=[onnx_metadata.input_name(uint8_input=uint8_input)],
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
    onnx_metadata.annotate(proto, card, artefact_sha256=artefact_sha256, uint8_input=uint8_input)
    content: bytes = proto.SerializeToString(deterministic=True)
    return content


def _example(card: Card, *, uint8_input: bool) -> Tensor:
    """Return two images: one would be taken for a constant."""
    channels, height, width = card.input_CHW
    if uint8_input:
        return torch.zeros(2, height, width, channels, dtype=torch.uint8)
    return torch.zeros(2, channels, height, width)


def _reason(error: BaseException) -> str:
    """Return the first line of the innermost cause: the exporter's own messages are advice for its developers."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error).strip().partition("\n")[0]
