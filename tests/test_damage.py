"""Files of run folders, damaged in every way that editors, full disks and copies leave behind: no reader breaks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from configs.errors import UserError
from launch.status import command as launch_status
from launch.sweep_folder import SweepFolder
from train import saved, table
from train.prune import ledger
from train.run_folder import causes, checkpoint, extension, result, status
from train.run_folder.occupied import recorded
from train.run_folder.run_dir import RunDir
from train.state import SavedState, newest_progress
from train.track.tracker import Tracker
from train.track.wandb_identity import Identity

OPTIM = {"name": "adamw", "lr": 0.1, "schedule": "cosine"}
RESULT = {
    "accuracy": 0.5,
    "accuracy_split": "test",
    "accuracy_interval_95": [0.4, 0.6],
    "accuracy_samples": 10,
    "validation_accuracy": 0.5,
    "epochs": 1,
    "model": "nin",
    "parameters": 3,
    "macs": 4,
    "seconds": 1.5,
}
ENTRY = {
    "cut": 1,
    "parameters": 3,
    "nonzero": 3,
    "macs": 4,
    "before": 0.5,
    "after": 0.6,
    "architecture": "ab",
    "sha256": "cd",
}
EXTENSION = {
    "from_epoch": 1,
    "from_step": 5,
    "before": {"epochs": 1, "optim": OPTIM},
    "after": {"epochs": 2, "optim": OPTIM},
    "result": None,
}
SWEEP = {
    "command": "train.distill",
    "words": ["--config", "x.yaml"],
    "directory": "/",
    "after": None,
    "metric": {"name": "validation/accuracy", "goal": "maximize"},
    "runs": [{"id": "a", "overrides": {"seed": "1"}, "parent": None, "inherited": {}}],
}
SENT = {"job": "7", "elements": {"0": "a"}, "commit": None, "submitted": "now"}
CAUSE = {"process": 1, "exit_code": 66, "reason": "x", "at": 1.5, "ours": True}
PROGRESS = {"epoch": 1, "step": 0, "total_steps": 5, "data": {"train": "ab"}}

CONFIG = "epochs: 1\ndata:\n  source: digits\n"

Read = Callable[[Path], object]


def begin(folder: Path) -> None:
    with recorded(RunDir(folder), CONFIG):
        pass


def track(folder: Path) -> None:
    Tracker(folder / "metrics.jsonl", resume_step=10).close()


def look(folder: Path) -> None:
    launch_status.main([str(folder)])


def sent(folder: Path) -> object:
    return [SweepFolder(folder).load(), SweepFolder(folder).sent()]


def both(folder: Path) -> object:
    return [SavedState.newest(folder / "checkpoints"), newest_progress(folder / "checkpoints")]


def tabulate(folder: Path) -> object:
    return table.build([table.load(folder)])


def cuts(folder: Path) -> object:
    return ledger.table(ledger.read(folder))


def extensions(folder: Path) -> object:
    return [one.summary for one in extension.read(RunDir(folder))]


def identity(folder: Path) -> object:
    return Identity.read(folder, "n", "c")


def teacher_size(folder: Path) -> object:
    return saved.teacher_size(str(folder))


STATUS = {"state": "running", "starts": 2, "pid": 1, "host": "x"}
LINE = '{"train/step": 5, "train/loss": 1.5}\n'
NAMES = {"id": "a", "name": "b", "recipe": "c"}
READERS: dict[str, tuple[str, tuple[Read, ...]]] = {
    "status.json": (json.dumps(STATUS), (status.read, begin, look)),
    "config.yaml": (CONFIG, (tabulate, look, teacher_size)),
    "result.json": (json.dumps(RESULT), (tabulate, result.read, look)),
    "metrics.jsonl": (LINE, (track, look)),
    "ledger.json": (json.dumps([ENTRY]), (cuts,)),
    "extensions.json": (json.dumps([EXTENSION]), (extensions,)),
    "wandb.json": (json.dumps(NAMES), (identity,)),
    "sweep.json": (json.dumps(SWEEP), (sent, look)),
    "jobs/0001/job.json": (json.dumps(SENT), (sent,)),
    "overrides.json": (json.dumps({"seed": "1"}), (look,)),
    "error-process-1.json": (json.dumps(CAUSE), (causes.first,)),
    "checkpoints/step-00000005/MANIFEST.json": ("", (both,)),
    "checkpoints/step-00000005/state.json": (json.dumps({"progress": PROGRESS, "scaler": None}), (both,)),
}
WORDS = ("null", "[]", "{}", "NaN", "[1]", "[[]]", '"x"', "1", "- a", "a: &b [*b]")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run folder, and a sweep's, with every file that is read again."""
    (tmp_path / "environment.json").write_text("{}")
    record = {"progress": PROGRESS, "scaler": None}
    checkpoint.save(tmp_path / "checkpoints", 5, {"student/net.x": torch.ones(2)}, record)
    for name, (content, _) in READERS.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        if content and "checkpoints" not in name and name != "sweep.json":
            (tmp_path / name).write_text(content)
    return tmp_path


def mutants(content: bytes) -> dict[str, bytes]:
    """Damaged versions of a file of JSON, JSON lines or YAML."""
    found = {"empty": b"", "cut": content[: len(content) // 2], "latin-1": content + "é".encode("latin-1")}
    found |= {
        word: word.encode() for word in ("null", "[]", "{}", "NaN", "[1]", "[[]]", '"x"', "1", "- a", "a: &b [*b]")
    }
    found |= {"deep": b"[" * 50_000, "deep mapping": b'{"a":' * 50_000, "zeros": bytes(100), "digits": b"9" * 5_000}
    try:
        values = json.loads(content)
    except ValueError:
        return found
    first = values[0] if isinstance(values, list) else values
    for key in first:
        for wrong in (None, "x", -1, 1.5, float("nan"), 10**400, [], {}, [None], {"a": None}, True):
            changed = {**first, key: wrong}
            found[f"{key}={wrong!r:.12}"] = json.dumps([changed] if isinstance(values, list) else changed).encode()
        less = {other: value for other, value in first.items() if other != key}
        found[f"no {key}"] = json.dumps([less] if isinstance(values, list) else less).encode()
    return found


def sign(folder: Path) -> None:
    """Give a checkpoint the checksum of its state.json, as somebody who edits both would."""
    path = folder / "checkpoints" / "step-00000005"
    manifest = json.loads((path / "MANIFEST.json").read_text())
    manifest["sha256"]["state.json"] = hashlib.sha256((path / "state.json").read_bytes()).hexdigest()
    (path / "MANIFEST.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize("name", READERS)
def test_every_reader_names_a_damaged_file_or_passes_it_over(folder: Path, name: str) -> None:
    path, (content, readers) = folder / name, READERS[name]
    path.write_text(content or path.read_text())
    if name.endswith("state.json"):
        sign(folder)
    if name.startswith("jobs"):
        (folder / "sweep.json").write_text(READERS["sweep.json"][0])
    whole = path.read_bytes()
    for read in readers:
        read(folder)  # the control: undamaged, nothing is refused
        path.write_bytes(whole)
    for kind, damaged in mutants(whole).items():
        for read in readers:
            path.write_bytes(damaged)
            if name.endswith("state.json"):
                sign(folder)
            try:
                read(folder)
            except (UserError, OSError) as error:
                assert str(folder) in str(error), f"{kind}: {error}"
            except Exception as error:
                raise AssertionError(f"{kind}: {error!r}") from error


@pytest.mark.parametrize("name", READERS)
def test_a_folder_in_the_place_of_a_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink(missing_ok=True)
    (folder / name).mkdir()
    for read in READERS[name][1]:
        try:
            read(folder)
        except (UserError, OSError) as error:
            assert str(folder) in str(error)
