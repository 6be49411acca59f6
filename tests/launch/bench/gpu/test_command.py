"""All parts in turn: one that dies or hangs is reported, the next runs, and the document has figures of GPUs only."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import pytest

from configs.errors import ExitCode, InputError, UnavailableError
from launch.bench.gpu import child, command, result
from launch.bench.gpu.config import GpuConfig
from launch.bench.gpu.order import NAMES
from launch.bench.gpu.result import Outcome, Result, Table

ANSWER = "import sys\nopen(sys.argv[sys.argv.index('--answer') + 1], 'w').write({!r})\n"
FOUND = Result(tables=[Table.of("t", ["a"], [[1]])])
DONE = ANSWER.format(json.dumps(asdict(FOUND)))
FAULTS = ANSWER.format(json.dumps(asdict(Result(faults=["pixels are upside down"]))))
LEFT_OUT = ANSWER.format(json.dumps({command.CANNOT: "NVIDIA DALI is not installed"}))
DIES = "print('begun', flush=True)\nimport os\nos.kill(os.getpid(), 11)"
RAISES = "raise RuntimeError('the decoder says no')"
HANGS = "import time\ntime.sleep(600)"
SILENT = ""


def machine(*gpus: str) -> str:
    return ANSWER.format(json.dumps({"gpus": gpus, "machine": "a processor", "commit": "abc"}))


@pytest.fixture
def parts(monkeypatch):
    """Programs in the place of the parts, in real processes."""
    programs = dict.fromkeys(NAMES, DONE) | {"machine": machine()}

    def python(module: str, name: str, *words: object) -> list[str]:
        assert module == "launch.bench.gpu"
        return [sys.executable, "-S", "-E", "-c", programs[name], *map(str, words)]

    monkeypatch.setattr(child, "python", python)
    monkeypatch.setattr(command.signal, "signal", lambda *_: None)
    return programs


def config(folder: Path, *names: str, **changes) -> GpuConfig:
    return GpuConfig(output=str(folder / "gpu.md"), folder=str(folder / "run"), parts=names, **changes)


def report(folder: Path) -> dict[str, Outcome]:
    return result.read(folder / "run" / "report.json")


def states(folder: Path) -> dict[str, str]:
    return {name: outcome.state for name, outcome in report(folder).items()}


def test_a_part_that_dies_hangs_or_says_nothing_is_reported_and_the_next_runs(tmp_path, parts, capsys):
    parts |= {"exif": DIES, "tests": RAISES, "decoder": SILENT, "loader": LEFT_OUT, "step": FAULTS}
    names = ("exif", "tests", "pixels", "decoder", "loader", "step")
    with pytest.raises(command.FoundError, match="4 of 6 parts did not end well: exif, tests, decoder, step; see "):
        command.run(config(tmp_path, *names))
    assert states(tmp_path) == {"exif": "failed", "tests": "failed", "pixels": "done", "decoder": "failed",
                                "loader": "left out", "step": "faults"}  # fmt: skip
    found = report(tmp_path)
    assert "exit code -11: begun; see " in found["exif"].reason
    assert "exit code 1: RuntimeError: the decoder says no" in found["tests"].reason
    assert "exit code 0: it said nothing" in found["decoder"].reason
    assert found["loader"].reason == "NVIDIA DALI is not installed" and found["pixels"].result == FOUND
    text = (tmp_path / "run" / "report.md").read_text()
    assert "RuntimeError: the decoder says no" in text and "- pixels are upside down" in text
    assert "\npixels: done" in capsys.readouterr().out
    assert not list((tmp_path / "run").glob("work-*"))


def test_a_part_that_hangs_is_ended_when_its_time_is_over(tmp_path, parts):
    parts["exif"] = HANGS
    with pytest.raises(command.FoundError, match="1 of 2 parts did not end well: exif"):
        command.run(config(tmp_path, "exif", "pixels", minutes=0.02))
    assert states(tmp_path) == {"exif": "timed out", "pixels": "left out"}
    assert report(tmp_path)["pixels"].reason == "0.02 minutes were over"


def test_figures_of_a_cpu_stay_out_of_the_document(tmp_path, parts, capsys):
    command.run(config(tmp_path, "exif"))
    assert not (tmp_path / "gpu.md").exists() and not (tmp_path / "gpu.json").exists()
    said = capsys.readouterr().out
    assert "gpu.md stays as it is" in said and "    without a GPU not tried: DALI's mixed decoder\n" in said
    parts["machine"] = machine("a GPU")
    command.run(config(tmp_path, "exif"))  # control
    assert result.read(tmp_path / "gpu.json") == report(tmp_path)
    assert "| 1 |" in (tmp_path / "gpu.md").read_text()
    command.run(config(tmp_path, "pixels", device="cpu"))
    assert list(result.read(tmp_path / "gpu.json")) == ["exif"] and list(report(tmp_path)) == ["pixels"]


def test_parts_that_are_not_run_keep_what_they_have(tmp_path, parts):
    parts["machine"] = machine("a GPU")
    command.run(config(tmp_path, "exif"))
    command.run(config(tmp_path, "pixels"))
    assert list(result.read(tmp_path / "gpu.json")) == ["exif", "pixels"] and list(report(tmp_path)) == ["pixels"]


def test_without_a_name_every_part_runs_in_its_order(tmp_path, parts):
    command.run(config(tmp_path))
    assert states(tmp_path) == dict.fromkeys(NAMES, "done")


@pytest.mark.parametrize("by", ["option", "variable"])
def test_parts_are_told_where_the_data_sets_are(tmp_path, parts, monkeypatch, by):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "home").mkdir()
    monkeypatch.delenv("HEARTCUT_DATA", raising=False)
    if by == "variable":
        monkeypatch.setenv("HEARTCUT_DATA", "home")
    parts["exif"] = "import sys\nprint(sys.argv[sys.argv.index('--data') + 1])\n" + DONE
    command.run(config(tmp_path, "exif", **({"data": "home"} if by == "option" else {})))
    assert (tmp_path / "run" / "exif.log").read_text() == f"{tmp_path / 'home'}\n"


def test_one_json_object_and_nothing_else(tmp_path, parts, capsys):
    command.run(config(tmp_path, "exif", json=True))
    assert list(json.loads(capsys.readouterr().out)["parts"]) == ["exif"]


def test_a_gpu_that_is_asked_for_and_missing_is_an_error(tmp_path, parts):
    with pytest.raises(UnavailableError, match="torch finds no NVIDIA GPU here"):
        command.run(config(tmp_path, "exif", device="cuda"))
    parts["machine"] = "raise ModuleNotFoundError('No module named torch')"
    with pytest.raises(UnavailableError, match=r"could not be looked at.*No module named torch; see .*machine\.log"):
        command.run(config(tmp_path, "exif"))


def test_a_damaged_document_is_refused_before_anything_runs(tmp_path, parts):
    (tmp_path / "gpu.json").write_text("{")
    with pytest.raises(InputError, match=r"gpu\.json is damaged"):
        command.run(config(tmp_path, "exif"))
    assert not (tmp_path / "run").exists()


def test_sigterm_ends_the_running_part_and_leaves_no_work_folder(tmp_path):
    program = "import sys\nfrom launch.bench.gpu import child, command\nfrom launch.bench.gpu.config import GpuConfig\n"
    hangs = f"open({str(tmp_path / 'begun')!r}, 'w').close()\n{HANGS}"
    program += f"child.python = lambda *_: [sys.executable, '-S', '-c', {hangs!r}]\n"
    program += f"command.run(GpuConfig(output={str(tmp_path / 'gpu.md')!r}, folder={str(tmp_path / 'run')!r}))"
    with subprocess.Popen([sys.executable, "-c", program], cwd=child.ROOT) as running:
        until = time.monotonic() + 60
        while not (tmp_path / "begun").exists() and time.monotonic() < until:
            time.sleep(0.01)
        assert list((tmp_path / "run").glob("work-*"))
        running.send_signal(signal.SIGTERM)
        assert running.wait(60) == 128 + signal.SIGTERM
    assert not list((tmp_path / "run").glob("work-*"))


def test_a_part_that_did_not_end_well_is_a_failed_command():
    assert command.FoundError.exit_code is ExitCode.FAILED
