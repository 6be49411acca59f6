"""One part in a process: what it answers, and what it refuses."""

import json
import subprocess
import sys

import pytest

from gpu_parts import small
from launch.bench.gpu import __main__ as entry
from launch.bench.gpu.child import ROOT
from launch.bench.gpu.command import CANNOT
from launch.bench.gpu.parts import decoder
from launch.bench.gpu.result import Result
from launch.bench.work import LeftOut


def test_the_answer_is_the_result_or_why_there_is_none(tmp_path, monkeypatch):
    monkeypatch.setattr(decoder, "run", lambda config, name: Result(notes=[f"{name} on {config.device}"]))
    assert entry.answer("decoder", small(tmp_path))["notes"] == ["decoder on cpu"]

    def refuse(config, name):
        raise LeftOut("NVIDIA DALI is not installed")

    monkeypatch.setattr(decoder, "run", refuse)
    assert entry.answer("decoder", small(tmp_path)) == {CANNOT: "NVIDIA DALI is not installed"}


@pytest.mark.parametrize("words", [[], ["exifs"], ["exif", "--device", "tpu"], ["exif"]])
def test_what_is_wrong_is_refused_in_a_line(words):
    command = [sys.executable, "-m", "launch.bench.gpu", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 64 and done.stderr.startswith("error: ") and "Traceback" not in done.stderr


def test_the_machine_answers_by_itself(tmp_path, monkeypatch):
    words = ["machine", "--device", "cpu", "--work", str(tmp_path / "work"), "--answer", str(tmp_path / "answer.json")]
    monkeypatch.setattr(sys, "argv", ["gpu", *words])
    entry.main()
    assert json.loads((tmp_path / "answer.json").read_text())["gpus"] == []
