"""Costs and latency of an exported network, alone and beside another one."""

import json

import onnx
import onnxruntime
import pytest
import torch

from models.artefact import sha256
from models.export import latency
from models.export.__main__ import main


@pytest.fixture(autouse=True)
def short_laps(monkeypatch):
    monkeypatch.setattr(latency, "LAP_SECONDS", 0.0)


def test_side_by_side(files, tmp_path, capsys):
    cut, dense = files
    output = tmp_path / "cut.onnx"
    assert main(["--model", cut, "--output", str(output), "--against", dense, "--rounds", "3", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    mine, theirs = report["networks"]["exported"], report["networks"]["against"]
    assert mine["parameters"] < theirs["parameters"]
    assert mine["macs"] < theirs["macs"]
    assert mine["onnx_bytes"] == output.stat().st_size
    assert mine["sha256"] == sha256(cut)
    properties = {entry.key: entry.value for entry in onnx.load(output).metadata_props}
    assert properties["artefact_sha256"] == sha256(cut)
    assert report["ratios"]["macs"] == pytest.approx(theirs["macs"] / mine["macs"])
    keys = {f"{runtime}, batch {size}" for runtime in ("torch", "ONNX Runtime") for size in (1, 64)}
    assert set(mine["latency_ms"]) == set(theirs["latency_ms"]) == set(report["ratios"]["latency"]) == keys
    spread = mine["latency_ms"]["torch, batch 64"]
    assert 0 < spread["quartile_low"] <= spread["median"] <= spread["quartile_high"]
    assert report["parity"]["relative"] < report["parity"]["tolerance"] == 1e-4
    assert report["opset"] >= 18 and not report["uint8_input"] and report["input"].startswith("float32, N x 1 x 12")
    assert (report["rounds"], report["threads"]) == (3, torch.get_num_threads())
    assert report["versions"]["onnxruntime"] == onnxruntime.__version__


def test_the_table_of_one_network(files, tmp_path, capsys):
    output = tmp_path / "cut.onnx"
    assert main(["--model", files[0], "--output", str(output), "--rounds", "2", "--uint8_input"]) == 0
    out = capsys.readouterr().out
    assert "input: uint8, N x 12 x 12 x 1 (images, height, width, channels, grey), from 0 to 255" in out
    assert "normalisation is inside the ONNX file" in out and "opset " in out
    for words in ("parameters", "MACs per image", "bytes, .onnx", "torch, batch 1, ms", "ONNX Runtime, batch 64, ms"):
        assert words in out
    assert "against" not in out
    assert "median (quartiles) of 2 rounds" in out
    assert f"written: {output}" in " ".join(out.split())
    assert max(map(len, out.splitlines())) <= 120
