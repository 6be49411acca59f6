"""A network as it is handed over, for tests of what is written beside it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from export_nets import network
from models import artefact
from models.artefact import Score
from models.export.onnx_file import convert


@pytest.fixture(scope="session")
def handed(tmp_path_factory) -> Path:
    """A folder with model.safetensors, and its model.onnx and pixels.onnx (uint8 input). Nobody may change it."""
    folder = tmp_path_factory.mktemp("handed")
    net, card = network(depth=8, widths=(4, 6, 8))
    lineage = {"stage": "distill", "source": "folder", "data": "f" * 64}
    lineage |= {"teacher": "/home/alice/secret/t.safetensors", "teacher_sha256": "c" * 64}
    scores = {"validation": Score(correct=143, total=144), "test": Score(correct=81, total=263)}
    card = replace(card, scores=scores, lineage=lineage)
    artefact.save(folder / "model.safetensors", net.eval(), card)
    sha256 = artefact.sha256(folder / "model.safetensors")
    for name, pixels in (("model.onnx", False), ("pixels.onnx", True)):
        content = convert(net, card, artefact_sha256=sha256, uint8_input=pixels)
        (folder / name).write_bytes(content)
    return folder
