"""What an .onnx file says of itself, as viewers such as Netron show it: plain strings.

producer_name, producer_version   heartcut, and its version
doc_string                        what goes in, what comes out
metadata_props                    by key: model, classes (a JSON list), input, output, preprocessing, colour_order,
                                  mean, std, ..., parameters, macs, ..., SPLIT_accuracy, artefact_sha256, ...
"""

from __future__ import annotations

import json
from typing import Any

import onnx

from configs.figures import percent
from configs.release import version
from models.artefact import Card, Score
from models.export import preparation

IMAGES, PIXELS, OUTPUT = "image_BCHW", "pixel_BHWC", "logits_BK"
"""Names of the inputs of either kind, and of the output."""
PRODUCER = "heartcut"
LINEAGE = ("stage", "commit", "data", "teacher_sha256")
"""What of the lineage is told: nothing in it names a folder."""


def annotate(proto: Any, card: Card, *, artefact_sha256: str | None, uint8_input: bool) -> None:
    """Replace all that a model says of itself; what the exporter noted holds paths and source lines of this machine."""
    _strip(proto)
    proto.producer_name, proto.producer_version = PRODUCER, version()
    proto.graph.name = card.model.name
    onnx.helper.set_model_props(proto, properties(card, artefact_sha256, uint8_input=uint8_input))
    taken, given = input_text(card, uint8_input=uint8_input), _output(card)
    proto.graph.input[0].doc_string, proto.graph.output[0].doc_string = taken, given
    steps = preparation.sentence(preparation.steps(card, normalised=not uint8_input))
    names = f"{input_name(uint8_input=uint8_input)}: {taken}. {steps}", f"{OUTPUT}: {given}."
    proto.doc_string = "\n".join(names)


def input_name(*, uint8_input: bool) -> str:
    """Return the name of the input."""
    return PIXELS if uint8_input else IMAGES


def opset(proto: Any) -> int:
    """Return the version of the standard operators that a model uses."""
    return max(int(used.version) for used in proto.opset_import if used.domain in ("", "ai.onnx"))


def properties(card: Card, artefact_sha256: str | None = None, *, uint8_input: bool = False) -> dict[str, str]:
    """Return metadata_props."""
    told = {
        "model": card.model.name,
        "classes": json.dumps(card.classes, ensure_ascii=False),
        "input": input_text(card, uint8_input=uint8_input),
        "output": _output(card),
        "preprocessing": preparation.sentence(preparation.steps(card, normalised=not uint8_input)),
        "normalisation": _normalisation(card) if uint8_input else "not in the graph: the caller normalises",
        "colour_order": preparation.COLOURS.get(card.input_CHW[0], "unknown"),
        "input_range": "0 to 255" if uint8_input else "0 to 1 before mean and std",
        "input_CHW": json.dumps(card.input_CHW),
        "mean": json.dumps(card.mean),
        "std": json.dumps(card.std),
        "eval_crop": f"{card.eval_crop!r}",
        "parameters": str(card.cost.parameters),
        "nonzero_parameters": str(card.cost.nonzero),
        "macs": str(card.cost.macs),
        "bytes": str(card.cost.bytes),
        **{f"{split}_accuracy": score_text(score) for split, score in sorted(card.scores.items())},
        **{key: str(card.lineage[key]) for key in LINEAGE if key in card.lineage},
    }
    return told | ({"artefact_sha256": artefact_sha256} if artefact_sha256 else {})


def score_text(score: Score) -> str:
    """Return an accuracy with its interval, such as 97.93 % (95 % interval 94.07 % to 99.29 %; 142 of 145)."""
    low, high = score.interval
    return (
        f"{percent(score.accuracy)} (95 % interval {percent(low)} to {percent(high)}; "
        f"{score.correct:,} of {score.total:,})"
    )


def _normalisation(card: Card) -> str:
    return f"in the graph: {preparation.normalisation(card)}"


def input_text(card: Card, *, uint8_input: bool) -> str:
    """Return what the graph takes: type, shape, order and range."""
    channels, height, width = card.input_CHW
    order = preparation.COLOURS.get(channels)
    colours = f", {order}" if order else ""
    if uint8_input:
        return f"uint8, N x {height} x {width} x {channels} (images, height, width, channels{colours}), from 0 to 255"
    return f"float32, N x {channels} x {height} x {width} (images, channels{colours}, height, width), normalised"


def _output(card: Card) -> str:
    return f"float32, N x {len(card.classes)}: one logit per class, in the order of the classes"


def _strip(message: Any) -> None:
    """Remove the exporter's notes from every node."""
    for descriptor, value in message.ListFields():
        if descriptor.name in ("metadata_props", "doc_string"):
            message.ClearField(descriptor.name)
        elif descriptor.message_type is not None:
            for part in [value] if hasattr(value, "ListFields") else value:
                _strip(part)
