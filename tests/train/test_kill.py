"""A run that is killed and started again ends as if nothing had happened."""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
from pathlib import Path

import pytest

import forked
from tiny_digits import untimed
from train.run_folder import readings

CONFIG = Path(__file__).parents[2] / "configs" / "digits" / "teacher.yaml"
SMALL = ["--model.depth", "8", "--model.widths", "[4, 8, 8]", "--epochs", "3", "--checkpoint_steps", "5"]
EXTRA = ["--ema", "0.9", "--track.every", "5", "--data.threads", "1", "--track.pictures", "false"]


def words(folder: Path, *options: str) -> list[str]:
    return ["--config", str(CONFIG), *SMALL, *EXTRA, "--run_dir", str(folder), *options]


def train(folder: Path, *options: str) -> forked.Ended:
    ended = forked.run("train.teacher", *words(folder, *options))
    assert ended.code == 0, ended.stderr[-3000:]
    return ended


def kill_in(folder: Path, step: int, *options: str, begun: int = 0) -> None:
    """SIGKILL the run when it begins `step`, having begun it after `begun` steps."""
    prelude = forked.killed_at("train.step:Step.__call__", step - begun)
    ended = forked.run("train.teacher", *words(folder, *options), prelude=prelude)
    assert ended.code == -signal.SIGKILL, ended.stderr[-3000:]


def sha(folder: Path) -> str:
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def traces(folder: Path) -> tuple[bytes, int]:
    return (folder / "metrics.jsonl").read_bytes(), (folder / "model.safetensors").stat().st_mtime_ns


def losses(folder: Path) -> list[tuple[int, float]]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [(line["train/step"], line["step/loss"]) for line in lines if "step/loss" in line]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "run"
    train(folder)
    return folder


@pytest.mark.launcher
def test_killed_twice_in_mid_epoch_gives_the_same_weights_bit_for_bit(whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    kill_in(folder, 13)  # of 21 steps in the first epoch; the checkpoint of step 10 is there
    assert not (folder / "done").exists()
    kill_in(folder, 38, begun=10)  # in the second epoch
    assert sorted((folder / "checkpoints").glob("step-*"))[-1].name == "step-00000035"
    train(folder)
    assert sha(folder) == sha(whole)
    assert untimed(folder) == untimed(whole), "epochs are measured as a whole, too"


@pytest.mark.launcher
def test_without_the_checkpointed_optimizer_the_weights_differ(whole: Path, tmp_path: Path) -> None:
    """The control: a resumption that forgets one thing must be noticed by the comparison above."""
    folder = tmp_path / "run"
    kill_in(folder, 13)
    newest = sorted((folder / "checkpoints").glob("step-*"))[-1]
    from safetensors.torch import load_file, save_file

    tensors = load_file(newest / "state.safetensors")
    forgotten = {name: t.zero_() if "exp_avg" in name else t for name, t in tensors.items()}
    save_file(forgotten, newest / "state.safetensors")
    manifest = json.loads((newest / "MANIFEST.json").read_text())
    digest = hashlib.sha256((newest / "state.safetensors").read_bytes()).hexdigest()
    manifest["sha256"]["state.safetensors"] = digest
    (newest / "MANIFEST.json").write_text(json.dumps(manifest))
    train(folder)
    assert sha(folder) != sha(whole)


@pytest.mark.launcher
def test_an_extension_that_is_killed_keeps_the_old_weights_and_ends_with_the_same_bits(
    whole: Path, tmp_path: Path
) -> None:
    longer = ("--extend", "true", "--epochs", "4", "--optim.lr", "0.002")
    one, two = (Path(shutil.copytree(whole, tmp_path / name)) for name in ("one", "two"))
    train(one, *longer)
    kill_in(two, 78, *longer, begun=63)  # of 63 steps before it and 21 more
    assert sha(two) == sha(whole) and not (two / "done").exists()
    train(two, *longer)
    assert sha(two) == sha(one) != sha(whole)
    assert losses(two) == losses(one) and len(losses(one)) > len(losses(whole))


@pytest.mark.launcher
def test_test_was_read_twice_if_the_run_is_killed_before_it_has_a_score(whole: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(whole, tmp_path / "run"))
    for name in ("done", "result.json", "model.safetensors", readings.NAME):
        (folder / name).unlink()  # as when training has just ended
    ended = forked.run("train.teacher", *words(folder), prelude=forked.killed_at("train.stage.outcome:evaluate", 1))
    assert ended.code == -signal.SIGKILL and not (folder / "result.json").exists(), ended.stderr[-3000:]
    train(folder)
    numbers = [json.loads((run / "result.json").read_text())["test_reads"] for run in (folder, whole)]
    assert numbers == [2, 1] and readings.read(folder).networks == 1
    assert sha(folder) == sha(whole)


@pytest.mark.launcher
def test_a_finished_run_is_not_trained_again(whole: Path) -> None:
    before = traces(whole)
    again = train(whole)
    assert traces(whole) == before
    assert "test accuracy" in again.stderr


@pytest.mark.launcher
def test_another_config_in_the_same_folder_is_refused(whole: Path) -> None:
    other = forked.run("train.teacher", *words(whole, "--optim.lr", "0.5"))
    assert other.code == 66
    assert "optim.lr was 0.01, is now 0.5" in other.stderr
    assert "Traceback" not in other.stderr
