"""launch.run up to the start of something: the command line, what the machine has, and configs that do not hold."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from configs.errors import UsageError
from launch import run
from launch.commands import COMMANDS

ROOT = Path(__file__).parents[2]
CONFIG = "configs/digits/distill.yaml"
OUTSIDE = {
    name: value
    for name, value in os.environ.items()
    if not name.startswith(("SLURM", "CUDA_", "OMP_", "TORCH")) and name not in ("RANK", "LOCAL_RANK")
}


def launch(*words: str, **environment: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "launch.run", *words]
    own = OUTSIDE | {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"} | environment
    return subprocess.run(command, cwd=ROOT, env=own, capture_output=True, text=True, check=False)


def tool(folder: Path, name: str, text: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/bash\n{text}\n")
    (folder / name).chmod(0o755)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_started_with_its_own_words(command, monkeypatch, capsys):
    for name in [name for name in os.environ if name not in OUTSIDE]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    words = ["--config", "a b.yaml", "--processes", "9", "--print"]  # all of it is the command's
    assert run.main(["--print", "--processes", "2", command, *words]) == 0
    printed = shlex.split(capsys.readouterr().out)
    assert printed[-7:] == ["-m", command, *words] and "--num_processes 2" in shlex.join(printed)


def test_what_is_printed_is_all_that_happens_and_needs_no_torch(tmp_path):
    done = launch("--print", "train.distill", "--config", CONFIG, "--run_dir", str(tmp_path / "run"))
    program, *words = shlex.split(done.stdout)
    assert (done.returncode, done.stderr) == (0, "") and Path(program).name.startswith("python")
    assert words == ["-m", "train.distill", "--config", CONFIG, "--run_dir", str(tmp_path / "run")]
    assert not (tmp_path / "run").exists()
    code = "import sys, launch.run; print({'torch', 'timm', 'cv2', 'accelerate'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True).strip() == "set()"


@pytest.mark.parametrize("question", ["--help", "--print_config"])
def test_a_question_is_answered_once(question):
    done = launch("--processes", "2", "train.distill", "--config", CONFIG, question)
    assert done.returncode == 0 and done.stdout.count("temperature") >= 1 and "accelerate" not in done.stderr


@pytest.mark.parametrize("processes", ["1", "2"])
@pytest.mark.parametrize(
    ("command", "words", "message"),
    [
        ("train.distill", ("--epohcs", "3"), "did you mean --epochs?"),
        ("train.cache", ("--repair", "true"), "distill.cache is None; it must be a folder"),
        ("train.evaluate", ("--batch_size", "0", "--run_dir", "x"), "batch_size is 0; it must be from 1 to 1,048,576"),
    ],
)
def test_a_wrong_config_is_said_once_and_nothing_starts(tmp_path, processes, command, words, message):
    launcher = tmp_path / "accelerate" / "commands" / "launch.py"
    launcher.parent.mkdir(parents=True)
    launcher.write_text(f"open({str(tmp_path / 'started')!r}, 'w')\ndef main(): pass\n")
    (launcher.parents[1] / "__init__.py").touch()  # before the real one
    done = launch("--processes", processes, command, "--config", CONFIG, *words, PYTHONPATH=str(tmp_path))
    assert done.returncode == 64 and done.stderr.count("error: ") == 1 and message in done.stderr
    assert not (tmp_path / "started").exists() and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train.destill"], "train.destill is not a command; did you mean train.distill?"),
        ([], "the following arguments are required: COMMAND"),
        (["--processes", "two", "train.distill"], "argument --processes: invalid int value: 'two'"),
        (["--processes", "0", "train.distill"], "--processes is 0; it must be at least 1"),
    ],
)
def test_a_wrong_command_line_is_said(words, message):
    with pytest.raises(UsageError, match=message):
        run.main(words)


def test_the_run_folder_is_what_the_command_itself_reads(monkeypatch):
    monkeypatch.chdir(ROOT)
    assert run.resolved(["train.distill", "--config", CONFIG]) == (0, "runs/digits/distill")
    assert run.resolved(["train.distill", "--config", CONFIG, "--run_dir=a b"]) == (0, "a b")


@pytest.mark.parametrize(
    ("command", "words", "folder"),
    [
        ("train.distill", [], "runs/a"),
        ("train.distill", ["--run_dir", "runs/a"], "runs/a"),
        ("train.cache", [], None),
        ("train.cache", ["--run_dir=runs/a"], "runs/a"),
        ("train.evaluate", ["--run_dir", "runs/a"], None),
    ],
)
def test_an_exit_code_is_looked_for_only_where_the_command_keeps_a_status(command, words, folder):
    expected = None if folder is None else Path(folder)
    assert run.status_folder(COMMANDS[command], [command, *words], "runs/a") == expected


LISTS = [
    ("echo 'GPU 0: NVIDIA H200 (UUID: GPU-1)'; echo '  MIG 1g.5gb Device 0: (UUID: MIG-2)'; echo 'GPU 1: x'", 2, ""),
    ("echo No devices were found", 0, ""),
    ("echo driver mismatch; exit 18", 0, "nvidia-smi finds no GPU"),
]


@pytest.mark.parametrize(("text", "gpus", "said"), LISTS)
def test_the_driver_counts_the_gpus(tmp_path, monkeypatch, capsys, text, gpus, said):
    tool(tmp_path, "nvidia-smi", text)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert run.installed_gpus() == gpus
    assert said in capsys.readouterr().err


def test_without_the_driver_there_is_no_gpu_but_what_the_kernel_shows(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert run.installed_gpus() == len(list(Path("/dev").glob("nvidia[0-9]*")))


@pytest.mark.parametrize("activated", [True, False])
def test_processes_are_started_with_this_python(monkeypatch, activated):
    bin_folder = Path(sys.executable).parent
    others = "" if activated else "/nowhere"
    monkeypatch.setenv("PATH", f"{bin_folder}:/usr/bin" if activated else others)
    place = run.look_around()
    assert place.python == ("python" if activated else sys.executable)


@pytest.mark.parametrize("job", [{}, {"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0"}], ids=["a machine", "a step of Slurm"])
def test_a_signal_before_anything_has_started_is_a_stop(tmp_path, job):
    """While it looks for GPUs; its own handlers are for what it starts."""
    tool(tmp_path / "bin", "nvidia-smi", "kill -TERM $PPID; sleep 0.1")
    words = ("train.distill", "--config", CONFIG, "--run_dir", str(tmp_path / "run"))
    environment = {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", **job}
    done = launch(*words, **environment)
    assert done.returncode == 75 and "stopped: SIGTERM was received" in done.stderr
    assert not (tmp_path / "run").exists()
