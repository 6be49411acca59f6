"""The command: what it refuses, and how."""

import importlib.util
import json
import subprocess
import sys

import pytest

from models.export import latency, parity
from models.export.__main__ import main


@pytest.fixture(autouse=True)
def short_laps(monkeypatch):
    monkeypatch.setattr(latency, "LAP_SECONDS", 0.0)


def test_a_refused_network_is_one_line_and_no_file(files, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(parity, "TOLERANCE", 1e-12)
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
        ([*MODEL, "--output", "no.safetensors"], 64, "for --format onnx it must end in .onnx"),
        ([*MODEL, "--output", "a.onnx", "--format", "pytorch"], 64, "for --format pytorch it must end in .py"),
        ([*MODEL, "--output", "a.py", "--format", "pytorch"], 66, "there is no file"),
        (
            [*MODEL, "--output", "a.py", "--format", "pytorch", "--against", "b"],
            64,
            "leave it out with --format pytorch",
        ),
        (
            [*MODEL, "--output", "a.py", "--format", "pytorch", "--uint8_input"],
            64,
            "--uint8_input is for ONNX files",
        ),
        ([*MODEL, "--output", "a.onnx", "--license", "mit"], 64, "give --card too"),
        ([*MODEL, "--output", "a.onnx", "--card", "--license", "my own"], 64, "it must be an identifier"),
        ([*MODEL, "--output", "a.onnx", "--network", "gone.py:Net"], 64, "there is no file gone.py"),
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
    assert capsys.readouterr().err == "error: onnxscript not installed: pip install onnxscript\n"


@pytest.mark.parametrize("arguments", [["--help"], ["--model", "a", "--output", "b"]])
def test_help_and_wrong_arguments_do_not_wait_for_torch(arguments):
    script = (
        "import sys, models.export.__main__\n"
        f"try: models.export.__main__.main({arguments})\n"
        "except SystemExit: pass\n"
        "sys.exit(any(name in sys.modules for name in ('torch', 'onnx', 'onnxruntime')))"
    )
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "--output" in shown.stdout + shown.stderr


def test_plain_pytorch_needs_no_extra(files, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    words = ["--model", files[0], "--output", str(tmp_path / "student.py"), "--format", "pytorch"]
    (tmp_path / "README.md").write_text("# mine\n")
    assert main([*words, "--card"]) == 66  # before anything is written
    assert "is no model card of Heartcut" in capsys.readouterr().err and not (tmp_path / "student.py").exists()
    (tmp_path / "README.md").unlink()
    assert main([*words, "--card", "--license", "mit"]) == 0
    assert "bit for bit" in capsys.readouterr().out
    text = (tmp_path / "README.md").read_text()
    assert 'import_module("student")' in text and "license: mit" in text
    (tmp_path / "README.md").unlink()
    assert main([*words, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["weights"] == str(tmp_path / "student.pt") and printed["parameters"] > 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["student.pt", "student.py"]
