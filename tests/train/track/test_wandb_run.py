"""One run over all attempts: what wandb's files and a server have, after kills, uploads and changes of the mode."""

from __future__ import annotations

import json
import logging
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import wandb
from PIL import Image

import wandb_stub
from configs.errors import UserError
from configs.stopping import StoppedError
from train.track.tracker import Tracker
from train.track.wandb_run import WandbRun
from wandb_offline import begin, ended, files, records, rows, runs

ROOT = Path(__file__).parents[3]
LIMIT = 60  # seconds
WHOLE = [(10, False), (20, False), (20, True), (30, False), (40, False), (40, True)]


def track(folder: Path, steps: range, resume_step: int = 0) -> Tracker:
    """One attempt, which is not ended yet."""
    run = begin(folder)
    made = Tracker(folder / "metrics.jsonl", resume_step=resume_step, run=run)
    for step in steps:
        made.log(step, {"train/loss": 1 / step})
        if step % 20 == 0:
            made.log(step, {"epoch": step // 20})
    return made


def points(found: list[dict[str, Any]]) -> list[tuple[int, bool]]:
    return [(row["train/step"], "epoch" in row) for row in found]


# ---- offline: the newest folder has everything


def test_two_starts_in_one_second_lose_nothing(tmp_path: Path) -> None:
    track(tmp_path, range(10, 31, 10)).close()
    track(tmp_path, range(40, 41), resume_step=30).close()
    assert (
        points(rows(ended(tmp_path)[-1])) == WHOLE
        and len(files(tmp_path)) == 2
        and len({run.run_id for run in runs(files(tmp_path))}) == 1
    )


def test_what_was_logged_after_the_checkpoint_is_there_once(tmp_path: Path) -> None:
    track(tmp_path, range(10, 31, 10)).close()
    track(tmp_path, range(30, 41, 10), resume_step=20).close()
    assert points(rows(ended(tmp_path)[-1])) == WHOLE


@pytest.mark.parametrize("kept", [7, 0.5, 0.9])
def test_a_file_that_a_kill_has_ended_anywhere_does_not_matter(tmp_path: Path, kept: float) -> None:
    track(tmp_path, range(10, 31, 10)).close()
    (torn,) = ended(tmp_path)
    content = torn.read_bytes()
    torn.write_bytes(content[: int(kept if kept > 1 else kept * len(content))])
    track(tmp_path, range(40, 41), resume_step=30).close()
    torn.write_bytes(content)
    assert points(rows(ended(tmp_path)[-1])) == WHOLE


def test_the_last_line_uploads_the_newest_folder_and_is_one_for_a_shell(tmp_path: Path, caplog: Any) -> None:
    caplog.set_level(logging.INFO)
    folder = tmp_path / "my run's"
    for _ in range(2):
        begin(folder).finish()
    words = shlex.split(caplog.messages[-1].partition("with  ")[2])
    assert words == ["wandb", "sync", str(files(folder)[-1].parent)]


def test_an_error_is_the_exit_code_of_the_attempt(tmp_path: Path) -> None:
    with pytest.raises(StoppedError), track(tmp_path, range(10, 11)):
        raise StoppedError("stopped")
    found = list(records(ended(tmp_path)[0]))
    assert [record.exit.exit_code for record in found if record.HasField("exit")] == [75]
    assert not any(record.HasField("preempting") for record in found)


def test_a_table_is_there_once_and_pictures_are_files(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "confusion.png")
    run = begin(tmp_path)
    run.table(2, "cuts", ["step", "parameters"], [[1, 500], [2, 400]])
    run.show(2, {"confusion": tmp_path / "confusion.png"})
    run.finish()
    assert [row.keys() & {"cuts", "confusion"} for row in rows(ended(tmp_path)[-1])] == [{"cuts"}, {"confusion"}]
    assert len(list(tmp_path.glob("wandb/offline-run-*/files/media/table/cuts*.json"))) == 1
    assert len(list(tmp_path.glob("wandb/offline-run-*/files/media/images/confusion*.png"))) == 1


# ---- what a server has in the end

ATTEMPT = """
import sys, time
from pathlib import Path
from train.config import TrackSpec
from train.track import wandb_start
from train.track.tracker import Tracker
mode, folder, first, last, resume_step, end = sys.argv[1:]
folder = Path(folder)
run = wandb_start.start(TrackSpec(wandb=mode), folder, config={}, stage="teacher")
track = Tracker(folder / "metrics.jsonl", resume_step=int(resume_step), run=run)
for step in range(int(first), int(last) + 1, 10):
    track.log(step, {"train/loss": 1 / step})
    if step % 20 == 0:
        track.log(step, {"epoch": step // 20})
if end == "killed":
    time.sleep(600)
track.close()
"""
# wandb takes an interval below a second for none, and then waits 15 seconds between transmissions.
QUICK = {"PYTHONPATH": str(ROOT), "WANDB_X_FILE_STREAM_TRANSMIT_INTERVAL": "1"}


def attempt(server: wandb_stub.Server, mode: str, folder: Path, steps: str, resume_step: int, end: str) -> None:
    """One attempt in a process of its own, from a first to a last step; killed once the server has got something."""
    words = [sys.executable, "-c", ATTEMPT, mode, str(folder), *steps.split(), str(resume_step), end]
    started = subprocess.Popen(words, env=os.environ | server.environment | QUICK, stderr=subprocess.PIPE, text=True)
    if end == "killed":
        limit = time.monotonic() + LIMIT
        while not ((folder / "wandb.json").exists() and uploaded(server, folder)):
            assert started.poll() is None and time.monotonic() < limit
            time.sleep(0.02)
        started.kill()
    said = started.communicate(timeout=LIMIT)[1]
    assert started.returncode == (-signal.SIGKILL if end == "killed" else 0), said


def upload(server: wandb_stub.Server, *folders: Path) -> None:
    """The command that a user types."""
    words = [sys.executable, "-m", "wandb", "sync", *map(str, folders)]
    done = subprocess.run(words, env=os.environ | server.environment, capture_output=True, check=False)
    assert done.returncode == 0 and done.stderr.count(b"Finished syncing") == len(folders), done.stderr


def uploaded(server: wandb_stub.Server, folder: Path) -> list[dict[str, Any]]:
    return server.history(json.loads((folder / "wandb.json").read_text())["id"])


@pytest.mark.launcher
@pytest.mark.parametrize("modes", ["online online", "online offline", "offline online"])
def test_two_attempts_are_every_point_once_on_a_server(tmp_path: Path, modes: str) -> None:
    """The first one, which got further than its checkpoint, is killed online; offline it ends and is uploaded."""
    first, second = modes.split()
    with wandb_stub.Server() as server:
        attempt(server, first, tmp_path, "10 30", 0, "killed" if first == "online" else "ended")
        if first == "offline":
            upload(server, files(tmp_path)[-1].parent)
        assert set(points(uploaded(server, tmp_path))) <= set(WHOLE[:4])
        attempt(server, second, tmp_path, "30 40", 20, "ended")
        if second == "offline":
            upload(server, files(tmp_path)[-1].parent)
        assert points(uploaded(server, tmp_path)) == WHOLE
        assert len({run["name"] for run in server.runs}) == 1


@pytest.mark.launcher
@pytest.mark.parametrize(("resume", "doubled"), [(None, False), ("allow", True)])
def test_all_folders_uploaded_at_once_are_one_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, resume: str | None, doubled: bool
) -> None:
    """As `wandb sync` does without a path. The control: resumed, each folder is appended to those before."""
    real = wandb.init
    if resume:
        monkeypatch.setattr("wandb.init", lambda **words: real(**words | {"resume": resume}))
    track(tmp_path, range(10, 31, 10)).close()
    track(tmp_path, range(40, 41), resume_step=30).close()
    ended(tmp_path)
    with wandb_stub.Server() as server:
        upload(server, *(file.parent for file in files(tmp_path)))
        assert (points(uploaded(server, tmp_path)) == WHOLE) is not doubled
        assert set(points(uploaded(server, tmp_path))) == set(WHOLE)


class Broken:
    """A run of wandb of which every call fails."""

    def __getattr__(self, name: str) -> Any:
        raise ConnectionError(f"{name}:\n no service")


def test_the_first_failure_gives_wandb_up_with_one_warning(caplog: Any) -> None:
    run = WandbRun(run=Broken(), swept=False)
    for step in range(3):
        run.log({"train/step": step})
    run.finish(error=UserError("wrong"))
    assert len(caplog.messages) == 1 and "wandb: log failed: log: no service; training goes on" in caplog.messages[0]
