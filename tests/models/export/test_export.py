import importlib.util
import json
import subprocess
import sys

import onnx
import onnxruntime
import pytest
import torch

from models.artefact import Card, save, sha256
from models.counting import measure
from models.export import latency, onnx_file
from models.export.__main__ import main
from models.networks.architectures import build
from models.spec import ModelSpec

SIZE = (1, 12, 12)


def saved(path, widths):
    torch.manual_seed(0)
    spec = ModelSpec(name="resnet_small", depth=8, widths=widths)
    net = build(spec, num_classes=3, input_CHW=SIZE)
    with torch.no_grad():
        net(torch.randn(32, *SIZE))
    card = {"classes": ("bag", "boot", "coat"), "input_CHW": SIZE, "mean": (0.4,), "std": (0.25,), "eval_crop": 1.0}
    save(path, net, Card(model=spec, cost=measure(net, SIZE), **card))
    return str(path)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    return saved(folder / "cut.safetensors", (4, 6, 8)), saved(folder / "dense.safetensors", (8, 12, 16))


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
    assert json.loads(properties["artefact_sha256"]) == sha256(cut)
    assert report["ratios"]["macs"] == pytest.approx(theirs["macs"] / mine["macs"])
    keys = {f"{runtime}, batch {size}" for runtime in ("torch", "ONNX Runtime") for size in (1, 64)}
    assert set(mine["latency_ms"]) == set(theirs["latency_ms"]) == set(report["ratios"]["latency"]) == keys
    spread = mine["latency_ms"]["torch, batch 64"]
    assert 0 < spread["quartile_low"] <= spread["median"] <= spread["quartile_high"]
    assert report["parity"]["relative"] < report["parity"]["tolerance"] == 1e-4
    assert (report["rounds"], report["threads"]) == (3, torch.get_num_threads())
    assert report["versions"]["onnxruntime"] == onnxruntime.__version__


def test_the_table_of_one_network(files, tmp_path, capsys):
    output = tmp_path / "cut.onnx"
    assert main(["--model", files[0], "--output", str(output), "--rounds", "2"]) == 0
    out = capsys.readouterr().out
    for words in ("parameters", "MACs per image", "bytes, .onnx", "torch, batch 1, ms", "ONNX Runtime, batch 64, ms"):
        assert words in out
    assert "against" not in out
    assert "median (quartiles) of 2 rounds" in out
    assert f"written: {output}" in " ".join(out.split())
    assert max(map(len, out.splitlines())) <= 120


def test_a_refused_network_is_one_line_and_no_file(files, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(onnx_file, "TOLERANCE", 1e-12)
    assert main(["--model", files[0], "--output", str(tmp_path / "cut.onnx")]) == 66
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ONNX Runtime and torch disagree")
    assert list(tmp_path.iterdir()) == []


MODEL = ["--model", "no.safetensors"]


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        ([], 64, "the following arguments are required: --model, --output"),
        ([*MODEL, "--output", "no.safetensors"], 64, "must be a file that ends in .onnx"),
        ([*MODEL, "--output", "a.onnx", "--rounds", "1"], 64, "needs at least 2"),
        ([*MODEL, "--output", "a.onnx", "--device", "gpu"], 64, "--device is gpu"),
        ([*MODEL, "--output", "a.onnx", "--device", "meta"], 64, "must be cpu, cuda"),
        ([*MODEL, "--output", "a.onnx"], 66, "there is no file"),
    ],
)
def test_user_errors_are_one_line(capsys, arguments, status, message):
    assert main(arguments) == status
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert message in captured.err


def test_a_missing_extra_is_named(capsys, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxscript" else find(name))
    assert main([*MODEL, "--output", "a.onnx"]) == 64
    assert capsys.readouterr().err == "error: onnxscript not installed; pip install 'heartcut[export]'\n"


@pytest.mark.parametrize("arguments", [["--help"], ["--model", "a", "--output", "b"]])
def test_help_and_wrong_arguments_do_not_wait_for_torch(arguments):
    script = (
        "import sys, models.export\n"
        f"try: models.export.main({arguments})\n"
        "except SystemExit: pass\n"
        "sys.exit(any(name in sys.modules for name in ('torch', 'onnx', 'onnxruntime')))"
    )
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "--output" in shown.stdout + shown.stderr
