"""How a run in wandb begins: with one id and name for all attempts, and offline where no server answers.

wandb's own variables (WANDB_PROJECT, WANDB_RUN_GROUP, WANDB_JOB_TYPE, WANDB_NAME, WANDB_MODE) win over ours.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import ssl
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from configs.errors import UsageError
from configs.home import cache_folder, home
from train.config import TrackSpec
from train.run_folder.run_dir import END_KEYS, FREE_KEYS
from train.track.wandb_files import Memo, logged
from train.track.wandb_run import WandbRun, line_of, warn

logger = logging.getLogger(__name__)
KNOCK_SECONDS = 5  # for a server to say anything at all
INIT_SECONDS = 30
FINISH_SECONDS = 15
# Meant for one run, and taken by the first. The service is another process's, which would hold our id after a kill.
INHERITED = ("WANDB_SWEEP_ID", "WANDB_RUN_ID", "WANDB_SWEEP_PARAM_PATH", "WANDB_SERVICE")
NAME_LENGTH = 100
Mode = Literal["online", "offline", "disabled", "shared"]

_unreachable: list[str] = []


def start(spec: TrackSpec, folder: Path, *, config: Mapping[str, Any], stage: str) -> WandbRun | None:
    """Begin a run or go on with it, on the main process. None where wandb is off or does not work.

    config: flat, by dotted names. Of the runs of a process, the first is the one that an agent has asked for.
    UsageError: a name or one of wandb's own variables is none that wandb takes.
    """
    if spec.wandb == "disabled":
        return None
    agent = {name: os.environ.pop(name) for name in INHERITED if name in os.environ}
    try:
        return _start(spec, folder, config, stage, agent)
    except UsageError:
        raise
    except Exception as error:  # whatever wandb raises
        warn("does not start", error)
        return None


@contextmanager
def chain(
    spec: TrackSpec, folder: Path, *, config: Mapping[str, Any], stage: str, main: bool
) -> Iterator[WandbRun | None]:
    """The run of a chain as a whole, in one group with those of its stages. None on all but the main process."""
    spec = replace(spec, group=spec.group or folder.name)
    run = start(spec, folder, config=config, stage=stage) if main else None
    try:
        yield run
    except BaseException as error:
        if run is not None:
            run.finish(error=error)
        raise
    if run is not None:
        run.finish()


def short_name(words: list[str], config: Mapping[str, Any]) -> str:
    """What a command line overrides, as in `lr=0.01 seed=1`; what does not matter to the result is left out."""
    named: dict[str, str] = {}
    rest = iter(words)
    for word in rest:
        key, separator, value = word.removeprefix("--").partition("=")
        if word.startswith("--") and key in config and not _is_free(key):
            named[key] = "/".join(Path(value if separator else next(rest, "")).parts[-2:])
    return " ".join(f"{key.rpartition('.')[2]}={value}" for key, value in named.items())[:NAME_LENGTH]


def _start(
    spec: TrackSpec, folder: Path, config: Mapping[str, Any], stage: str, agent: Mapping[str, str]
) -> WandbRun | None:
    within = (folder.parent / "config.yaml").exists()  # a stage of a chain, whose overrides are not its own
    name = ("" if within else short_name(sys.argv[1:], config)) or folder.resolve().name
    memo = Memo.read(folder, name, _recipe(config))
    memo = replace(memo, id=agent.get("WANDB_RUN_ID", memo.id))
    memo.write(folder)  # before wandb begins: a first attempt that is killed keeps its id

    sweep = agent.get("WANDB_SWEEP_ID")
    ours = {
        "project": ("WANDB_PROJECT", spec.project),
        "group": ("WANDB_RUN_GROUP", spec.group or sweep),
        "job_type": ("WANDB_JOB_TYPE", stage),
        "name": ("WANDB_NAME", memo.name),
    }
    named = {key: os.environ.get(variable) or value for key, (variable, value) in ours.items()}
    # Absolute: the files are written by wandb's service, which may have been started in another folder.
    if home() is None:
        os.environ["HOME"] = str(cache_folder())  # wandb does not begin without one
    _check(memo.id, named)
    own: dict[str, Any] = {"id": memo.id, "dir": folder.resolve(), "config": dict(config), **named}
    known = logged(folder, memo.id)
    run = _begin(spec, own, sweep)
    if run.disabled:  # by WANDB_MODE
        return None
    run.define_metric("train/step")
    run.define_metric("*", step_metric="train/step")
    here = Path(run.dir).parent.name
    memo = replace(memo, pending=(*memo.pending, here) if run.offline else (here,))
    memo.write(folder)
    if not run.offline:
        names = run.summary.keys()
        known = {name: run.summary.get(name) for name in names}
    return WandbRun(run=run, folder=folder, memo=memo, swept=sweep is not None, known=known)


def _check(identity: str, named: Mapping[str, str | None]) -> None:
    """UsageError for settings that wandb refuses, its own variables included: it would drop the whole record."""
    import wandb

    ours = {"run_id": identity, "project": named["project"], "run_group": named["group"], "run_name": named["name"]}
    try:
        wandb.setup()  # reads the variables
        wandb.Settings(**ours, run_job_type=named["job_type"])
    except (wandb.errors.UsageError, ValueError) as error:
        raise UsageError(
            f"wandb refuses a setting: {line_of(error)}. Mend it, WANDB_ variables too, or take --track.wandb disabled"
        ) from error


def _recipe(config: Mapping[str, Any]) -> str:
    """A digest of what a run folder belongs to."""
    kept = {key: value for key, value in config.items() if not _is_free(key)}
    return hashlib.sha256(json.dumps(kept, default=str).encode()).hexdigest()


def _is_free(key: str) -> bool:
    return any(f"{key}.".startswith(f"{free}.") for free in (*FREE_KEYS, *END_KEYS))


def _begin(spec: TrackSpec, own: Mapping[str, Any], sweep: str | None) -> Any:
    """wandb.init, in the mode that is wanted and possible."""
    import wandb

    mode: Mode = "offline" if spec.wandb == "offline" or _unreachable else wandb.setup().settings.mode
    if mode == "online":
        try:
            _knock(wandb.setup().settings.base_url)
            with _without_terminal():
                return _init(own, sweep, mode)
        except Exception as error:  # whatever wandb raises
            logger.warning("wandb: %s; goes on offline, and says at the end how to upload", line_of(error))
            _unreachable.append(line_of(error))
            wandb.teardown()  # it would hold the id
    return _init(own, sweep, "offline" if mode == "online" else mode)


def _init(own: Mapping[str, Any], sweep: str | None, mode: Mode) -> Any:
    import wandb

    settings = wandb.Settings(
        init_timeout=INIT_SECONDS,
        finish_timeout=FINISH_SECONDS,
        finish_timeout_raises=True,
        sweep_id=sweep,
        silent=mode == "offline",  # what it says about uploading knows of one attempt
    )
    return wandb.init(**own, mode=mode, resume="allow", reinit="create_new", settings=settings)


def _knock(address: str) -> None:
    """OSError unless a server answers: wandb itself would try for long, and once more when the process ends."""
    try:
        urllib.request.urlopen(address, timeout=KNOCK_SECONDS).close()
    except urllib.error.HTTPError:
        return  # it answers
    except urllib.error.URLError as error:
        if not isinstance(error.reason, ssl.SSLError):
            raise OSError(f"{address} cannot be reached: {error.reason}") from error
    except TimeoutError as error:
        raise OSError(f"{address} does not answer within {KNOCK_SECONDS} s") from error


@contextmanager
def _without_terminal() -> Iterator[None]:
    """Without a key wandb would ask for one, and wait."""
    kept = sys.stdin
    with Path(os.devnull).open(encoding="utf-8") as nothing:
        sys.stdin = nothing
        try:
            yield
        finally:
            sys.stdin = kept
