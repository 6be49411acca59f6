"""The table of run folders: runs in every state, chains, sweeps with points that wait, and files that lie broken."""

from __future__ import annotations

import json
import logging
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
from accelerate.state import AcceleratorState, GradientState
from PIL import Image

import tiny_digits
from configs import locks
from configs.errors import InputError, UsageError
from configs.stopping import StoppedError
from launch.status import command
from launch.sweep_folder import Run as Point
from launch.sweep_folder import Submission, SweepFolder
from train import world

RESULT = {
    "accuracy": 0.9, "accuracy_split": "test", "validation_accuracy": 0.91, "model": "resnet_small", "seconds": 10.0,
    "parameters": 5142, "macs": 1_540_000, "epochs": 16,
}  # fmt: skip
HOLD = "import fcntl, sys; f = open(sys.argv[1], 'ab'); fcntl.flock(f, fcntl.LOCK_EX); print(flush=True); input()"


def make(folder: Path, state: str | None = None, result: dict | None = None, **values) -> Path:
    """A run folder as a training leaves it."""
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(f"run_dir: {folder}\nepochs: 16\n")
    (folder / "environment.json").write_text("{}")
    if state is not None:
        (folder / "status.json").write_text(json.dumps({"state": state, "starts": 1} | values))
    if result is not None:
        (folder / "result.json").write_text(json.dumps(RESULT | result))
    return folder


def sweep(folder: Path, *points: dict[str, str]) -> list[Path]:
    """The folder of a sweep; where its runs will be."""
    runs = tuple(Point(id=f"id{i}", overrides=overrides) for i, overrides in enumerate(points))
    home = SweepFolder(folder)
    home.save(Submission(command="train.distill", words=(), directory="/", runs=runs))
    (folder / "lock").touch()
    return [home.run_dir(run.id) for run in runs]


def only(folder: Path):
    """The one run below a folder."""
    (run,) = command.look(folder, None).rows
    return run


def printed(capsys, *words: str) -> str:
    command.main([str(word) for word in words])
    return capsys.readouterr().out


@pytest.fixture
def holder():
    """Lets another process hold the lock of a run folder; returns its number."""
    started = []

    def holding(folder: Path) -> int:
        words = [sys.executable, "-c", HOLD, str(folder / "lock")]
        started.append(subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        started[-1].stdout.readline()
        return started[-1].pid

    yield holding
    for process in started:
        process.communicate(b"\n")


def running(pid: int, **values) -> dict:
    """What a run on this host writes."""
    return {"host": platform.node(), "pid": pid} | values


@pytest.fixture
def as_in_a_new_process():
    """Accelerate keeps one state per process, and a command sets up logging; other tests find both as they were."""
    kept, level = logging.getLogger().handlers[:], logging.getLogger().level
    yield
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
    logging.getLogger().handlers[:] = kept
    logging.getLogger().setLevel(level)


def test_a_real_run_stopped_and_finished(tmp_path, monkeypatch, capsys, as_in_a_new_process):
    tiny_digits.save(tmp_path / "teacher.safetensors")
    steps, real = [0], world.asked_to_stop

    def asked(accelerator):
        steps[0] += 1
        return "SIGTERM was received" if steps[0] == 2 * (tiny_digits.STEPS - 1) + 3 else real(accelerator)

    monkeypatch.setattr("train.loop.asked_to_stop", asked)
    with pytest.raises(StoppedError):
        tiny_digits.train(tmp_path, "runs/a", "--test", "true")
    stopped = only(tmp_path)
    assert (stopped.state, stopped.epoch, stopped.epochs, stopped.exit_code) == ("preempted", 2, 4, 75)
    assert "preempted, exit code 75: stopped at step 3 of epoch 3" in printed(capsys, tmp_path)
    tiny_digits.train(tmp_path, "runs/a", "--test", "true")
    done, result = only(tmp_path), json.loads((tmp_path / "runs/a/result.json").read_text())
    assert (done.state, done.epoch, done.starts) == ("done", 4, 2)
    assert (done.validation, done.test) == (result["validation_accuracy"], result["accuracy"])
    assert (done.parameters, done.macs) == (result["parameters"], result["macs"])
    assert "4/4" in printed(capsys, tmp_path)


def test_the_time_left_counts_the_epoch_that_has_begun(tmp_path, holder):
    folder = make(tmp_path / "a")
    known = running(holder(folder), state="running", epoch=4, epochs=16, seconds=40.0, validation_accuracy=0.5)
    (folder / "status.json").write_text(json.dumps(known))
    assert only(tmp_path).left == 120
    lines = [{"train/step": 380, "train/lr": 0.1}, {"train/step": 400, "epoch": 4}, {"train/step": 450}]
    torn = '{"train/step": 4'
    (folder / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)) + f"\n{torn}")
    run = only(tmp_path)
    assert (run.state, run.left, run.validation, run.test) == ("running", 115, 0.5, None)


def test_a_run_whose_process_is_gone_is_lost(tmp_path, holder):
    held, free, gone = (make(tmp_path / name) for name in ("held", "free", "gone"))
    for folder, pid in ((held, holder(held)), (free, os.getpid()), (gone, 2**30)):
        (folder / "status.json").write_text(json.dumps(running(pid, state="running")))
    (free / "lock").touch()
    found = {run.path.name: run.state for run in command.look(tmp_path, None).rows}
    assert found == {"held": "running", "free": "lost", "gone": "lost"}


def test_on_another_host_only_silence_and_a_free_lock_mean_that_it_is_lost(tmp_path, holder):
    folder = make(tmp_path / "a", "running", host="elsewhere", pid=1)
    (folder / "lock").touch()
    assert only(tmp_path).state == "running"
    os.utime(folder / "status.json", (0, 0))
    assert only(tmp_path).state == "lost"
    holder(folder)
    assert only(tmp_path).state == "running"


def test_looking_leaves_a_run_its_lock(tmp_path):
    folder = make(tmp_path / "a", "running", **running(os.getpid()))
    (folder / "lock").touch()
    assert locks.held(folder) is False
    words = [sys.executable, "-c", HOLD.replace("LOCK_EX", "LOCK_EX | fcntl.LOCK_NB"), str(folder / "lock")]
    assert subprocess.run(words, input=b"\n", check=False).returncode == 0


def test_stages_stand_below_their_chain_which_sums_them_up(tmp_path, holder):
    chain = make(tmp_path / "c")
    (chain / "config.yaml").write_text("epochs: 4\nfinal_epochs: 10\nprune: {steps: 3}\n")
    make(chain / "cut-01", "done", {"epochs": 4, "seconds": 8.0, "validation_accuracy": 0.8})
    last = make(chain / "cut-02")
    pid = holder(chain), holder(last)
    (chain / "status.json").write_text(json.dumps(running(pid[0], state="running")))
    known = running(pid[1], state="running", epoch=1, epochs=4, seconds=3.0, validation_accuracy=0.7)
    (last / "status.json").write_text(json.dumps(known))
    run = only(tmp_path)
    assert [stage.path.name for stage in run.stages] == ["cut-01", "cut-02"]
    assert (run.epoch, run.epochs, run.validation, run.left) == (5, 18, 0.7, 39)


def test_the_stages_of_compress_are_in_their_order(tmp_path, capsys):
    whole = make(tmp_path / "c", "failed", exit_code=65, reason="the loss is nan\nand more")
    (whole / "config.yaml").write_text(
        "teacher_training: {epochs: 3}\nstudent: {epochs: 5}\ncut: {epochs: 2, final_epochs: null, prune: {steps: 4}}\n"
    )
    for name, count in (("teacher", 3), ("student", 5), ("cut", 8)):
        make(whole / name, "done", {"epochs": count})
    run = only(tmp_path)
    assert [stage.path.name for stage in run.stages] == ["teacher", "student", "cut"]
    assert (run.epoch, run.epochs, run.left) == (16, 16, None)
    lines = printed(capsys, tmp_path).splitlines()
    assert [line.split()[0] for line in lines[3:7]] == ["c", "teacher", "student", "cut"]
    assert "c: failed, exit code 65: the loss is nan" in lines


def test_a_sweep_begins_with_its_best_and_shows_what_varies_and_what_waits(tmp_path, capsys):
    points = [{"optim.lr": lr, "seed": "1"} for lr in ("1e-3", "1e-2", "1e-1", "1.0")]
    first, second, third, _ = sweep(tmp_path / "s", *points)
    make(first, "done", {"validation_accuracy": 0.8})
    make(second, "done", {"validation_accuracy": 0.9})
    make(third, "failed", exit_code=65, reason="nan", validation_accuracy=0.99)
    found = command.look(tmp_path / "s", None)
    assert [run.overrides["optim.lr"] for run in found.rows] == ["1e-2", "1e-3", "1e-1", "1.0"]
    assert [run.state for run in found.rows] == ["done", "done", "failed", "waiting"]
    assert found.varied == ["optim.lr"]
    text = printed(capsys, tmp_path / "s")
    assert "4 runs: 2 done, 1 failed, 1 waiting" in text and "optim.lr" in text and "seed" not in text
    assert text.splitlines()[3].split()[:3] == ["id1", "done", "1e-2"]
    assert [run.path for run in command.look(tmp_path, "optim.lr").rows] == [first, second, third, _]


@pytest.mark.parametrize(
    ("key", "order"), [("run", "abc"), ("validation", "bca"), ("parameters", "cab"), ("macs", "abc")]
)
def test_sorting(tmp_path, key, order):
    accuracies, parameters = {"a": 0.1, "b": 0.3, "c": 0.2}, {"a": 20, "b": 30, "c": 10}
    for name in "cab":
        make(tmp_path / name, "done", {"validation_accuracy": accuracies[name], "parameters": parameters[name]})
    make(tmp_path / "d")  # nothing is known of it: last
    assert [run.path.name for run in command.look(tmp_path, key).rows] == [*order, "d"]


def test_a_wrong_key_to_sort_by_is_named(tmp_path):
    sweep(tmp_path, {"optim.lr": "1"}, {"optim.lr": "2"})
    with pytest.raises(UsageError, match=r"--sort is optim.l; did you mean optim.lr\?"):
        command.look(tmp_path, "optim.l")


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff\xfe", b"[" * 100_000, b'{"state": NaN, "epoch": 1e999}'])
@pytest.mark.parametrize("name", ["status.json", "result.json", "metrics.jsonl", "config.yaml", "sweep.json"])
def test_damaged_files_hide_no_other_run(tmp_path, capsys, name, content):
    make(tmp_path / "good", "done", {})
    bad = make(tmp_path / "bad", "running", {}, host="elsewhere", epoch=3, epochs=4, seconds=1.0)
    (bad / "cut-01").mkdir()
    (bad / name).write_bytes(content)
    found = {run.path.name: run for run in command.look(tmp_path, None).rows}
    assert found["good"].validation == 0.91
    if name in ("status.json", "result.json") and not content.startswith(b'{"state"'):
        assert found["bad"].fault == f"{name} is damaged"
    assert "good" in printed(capsys, tmp_path)


@pytest.mark.parametrize("value", ["true", "-1", '"3"', "1" + "0" * 400, "NaN", "{}", "null"])
def test_values_that_are_no_numbers_say_nothing(tmp_path, capsys, value):
    folder = make(tmp_path / "a")
    keys = ("epochs", "epoch", "pid", "starts", "exit_code", "parameters", "macs", "seconds", "accuracy")
    wrong = ", ".join(f'"{key}": {value}' for key in keys)
    (folder / "status.json").write_text(f'{{"state": "running", "host": "{platform.node()}", {wrong}}}')
    (folder / "result.json").write_text(f"{{{wrong}}}")
    (folder / "metrics.jsonl").write_text(f'{{"train/step": {value}, "epoch": {value}}}\n')
    assert "1 run" in printed(capsys, tmp_path)


def test_what_is_no_file_and_no_folder_that_may_be_read_is_named(tmp_path, capsys):
    make(tmp_path / "a", "done")
    (tmp_path / "a" / "result.json").mkdir()
    (tmp_path / "loop").symlink_to(tmp_path)
    closed = tmp_path / "closed"
    closed.mkdir(mode=0)
    if os.geteuid() == 0:
        os.seteuid(65534)
    try:
        tmp_path_readable = os.access(tmp_path, os.R_OK, effective_ids=True)
        found = command.look(tmp_path, None) if tmp_path_readable else None
    finally:
        if os.getuid() == 0:
            os.seteuid(0)
    text = printed(capsys, tmp_path)
    assert "a: result.json: Is a directory" in text and "1 run: 1 done" in text
    assert found is None or found.faults == [f"{closed}: Permission denied"]


@pytest.mark.parametrize(("name", "message"), [("none", "is no folder"), ("", "holds no run: no folder below it has")])
def test_without_runs_there_is_a_message(tmp_path, name, message):
    with pytest.raises(InputError, match=message):
        command.main([str(tmp_path / name)])


def test_everything_as_one_json_object(tmp_path, capsys):
    (first, second) = sweep(tmp_path, {"a.b": "1"}, {"a.b": "2"})
    make(first, "done", {})
    make(first / "cut-01", "done", {})
    found = json.loads(printed(capsys, tmp_path, "--json"))
    assert (found["counts"], found["varied"]) == ({"done": 1, "waiting": 1}, ["a.b"])
    assert [run["path"] for run in found["runs"]] == [str(first), str(second)]
    assert found["runs"][0]["stages"][0]["parameters"] == 5142
    assert found["runs"][1]["overrides"] == {"a.b": "2"}


def test_the_agents_of_a_sweep_are_shown_only_if_they_came_to_harm(tmp_path):
    make(tmp_path / "runs" / "a", "done", {})
    make(tmp_path / "agents" / "0", "done", kind="agent")
    make(tmp_path / "agents" / "1", "failed", kind="agent")
    assert [run.path.name for run in command.look(tmp_path, None).rows] == ["1", "a"]


def test_watching_looks_again_until_it_is_interrupted(tmp_path, monkeypatch, capsys):
    folder, looks = make(tmp_path / "a", "preempted"), []

    def sleep(seconds: float) -> None:
        looks.append(seconds)
        (folder / "done").touch()
        if len(looks) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("launch.status.command.time.sleep", sleep)
    out = printed(capsys, tmp_path, "--watch", 7)
    assert looks == [7, 7]
    assert out.index("1 run: 1 preempted") < out.index("1 run: 1 done")


@pytest.mark.parametrize(("growth", "panels"), [(1000, 3), (0, 2)])
def test_the_plot_has_a_panel_for_each_key_and_for_parameters_if_they_differ(tmp_path, capsys, growth, panels):
    points = [{"optim.lr": lr, "distill.soft": soft} for lr in ("1e-3", "1e-1") for soft in ("kd", "dkd")]
    homes = sweep(tmp_path / "s", *points)
    for number, home in enumerate(homes[:3]):
        make(
            home,
            "done" if number else "preempted",
            {"validation_accuracy": 0.5 + number / 10, "parameters": 5142 + growth * number},
        )
    assert "sweep.png shows 3 runs" in printed(capsys, tmp_path / "s", "--plot", tmp_path / "sweep.png")
    with Image.open(tmp_path / "sweep.png") as image:
        assert image.size == (480 * panels, 384)


def test_what_cannot_be_drawn_is_said(tmp_path):
    make(tmp_path / "a", "preempted")
    with pytest.raises(InputError, match="no run has an accuracy yet"):
        command.main([str(tmp_path), "--plot", str(tmp_path / "x.png")])
    with pytest.raises(UsageError, match=r"--plot is x.jpg; expected a file that ends with .png, .pdf, .svg"):
        command.main([str(tmp_path), "--plot", "x.jpg"])
    with pytest.raises(UsageError, match=r"--watch is 0; it must be positive"):
        command.main([str(tmp_path), "--watch", "0"])
