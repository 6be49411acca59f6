"""What a viewer shows of a file."""

import json
from dataclasses import replace

import onnx

from configs.release import version
from models.artefact import Score, sha256
from models.export import onnx_metadata
from models.export.onnx_file import convert


def test_a_viewer_shows_plain_strings(handed, small):
    _, card, content = small
    proto = onnx.load_from_string(content)
    assert (proto.producer_name, proto.graph.name) == ("heartcut", "resnet_small")
    assert proto.producer_version == version() != ""
    told = {entry.key: entry.value for entry in proto.metadata_props}
    assert told["model"] == "resnet_small" and told["artefact_sha256"] == sha256(handed / "model.safetensors")
    assert told["classes"] == '["bag", "boot", "coat", "Ämne"]'
    assert told["input"] == "float32, N x 1 x 12 x 12 (images, channels, grey, height, width), normalised"
    assert told["output"] == "float32, N x 4: one logit per class, in the order of the classes"
    assert (told["colour_order"], told["mean"], told["std"], told["eval_crop"]) == ("grey", "[0.4]", "[0.25]", "0.875")
    assert told["parameters"] == str(card.cost.parameters) and told["macs"] == str(card.cost.macs)
    assert "0.875 times the largest box" in told["preprocessing"] and "subtract the mean 0.4" in told["preprocessing"]
    assert [entry.name for entry in proto.graph.input] == ["image_BCHW"]
    assert [entry.name for entry in proto.graph.output] == ["logits_BK"]
    assert proto.graph.input[0].doc_string == told["input"] and told["preprocessing"] in proto.doc_string


def test_with_uint8_input_the_normalisation_is_said_to_be_inside(small, small_pixels):
    told = {entry.key: entry.value for entry in onnx.load_from_string(small_pixels).metadata_props}
    assert told["input"] == "uint8, N x 12 x 12 x 1 (images, height, width, channels, grey), from 0 to 255"
    assert told["normalisation"].startswith("in the graph: divide the levels by 255")
    assert told["input_range"] == "0 to 255" and "divide" not in told["preprocessing"]
    assert onnx_metadata.properties(small[1])["normalisation"].startswith("not in the graph")


def test_scores_and_lineage_are_told_and_folders_are_not(small):
    lineage = {"stage": "distill", "data": "f" * 64, "teacher": "/home/alice/t.safetensors", "teacher_sha256": "c" * 64}
    card = replace(small[1], scores={"test": Score(correct=81, total=263)}, lineage=lineage)
    told = onnx_metadata.properties(card)
    assert told["test_accuracy"] == "30.80 % (95 % interval 25.53 % to 36.62 %; 81 of 263)"
    assert told["teacher_sha256"] == "c" * 64 and told["stage"] == "distill"
    assert "alice" not in json.dumps(told) and "artefact_sha256" not in told


def test_no_path_or_source_line_of_this_machine_is_inside(small, monkeypatch):
    net, card, content = small
    assert b".py" not in content
    assert b"forward" not in content
    monkeypatch.setattr(onnx_metadata, "_strip", lambda message: None)
    assert b"resnet.py" in convert(net, card)  # else the exporter has changed, and there is nothing to strip
