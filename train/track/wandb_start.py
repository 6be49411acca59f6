"""Start of a run in wandb: one id and name for all attempts, and offline mode where no server answers.

wandb's own variables (WANDB_PROJECT, WANDB_RUN_GROUP, WANDB_JOB_TYPE, WANDB_NAME, WANDB_MODE) win over the config.
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
from train.track.wandb_identity import Identity
from train.track.wandb_run import WandbRun, one_line, warn

logger = logging.getLogger(__name__)
ANSWER_SECONDS = 5  # for the first answer of a server
INIT_SECONDS = 30
FINISH_SECONDS = 15
# They describe one run, so the first run takes them and later ones do not see them. WANDB_SERVICE names a service of
# another process, which would hold our id after a kill.
INHERITED = ("WANDB_SWEEP_ID", "WANDB_RUN_ID", "WANDB_SWEEP_PARAM_PATH", "WANDB_SERVICE")
NAME_LENGTH = 100
Mode = Literal["online", "offline", "disabled", "shared"]

_unreachable: list[str] = []


def start(spec: TrackSpec, folder: Path, *, config: Mapping[str, Any], stage: str) -> WandbRun | None:
    """Start or resume a run, on the main process. None if wandb is disabled or does not work.

    config: flat, by dotted names. The first run of a process is the one that a sweep's agent asked for.
    UsageError: wandb refuses a name or one of its own variables.
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
    """Run of a whole chain, in one group with the runs of its stages. None on all but the main process."""
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
    """Overrides on a command line, as in `lr=0.01 seed=1`, without those that do not affect the result."""
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
    identity = _identity(folder, config, agent.get("WANDB_RUN_ID"))
    sweep = agent.get("WANDB_SWEEP_ID")
    ours = {
        "project": ("WANDB_PROJECT", spec.project),
        "group": ("WANDB_RUN_GROUP", spec.group or sweep),
        "job_type": ("WANDB_JOB_TYPE", stage),
        "name": ("WANDB_NAME", identity.name),
    }
    named = {key: os.environ.get(variable) or value for key, (variable, value) in ours.items()}
    if home() is None:
        os.environ["HOME"] = str(cache_folder())  # wandb does not start without one
    _check(identity.id, named)
    # The folder is absolute: wandb's service writes the files, and may have been started in another folder.
    own: dict[str, Any] = {"id": identity.id, "dir": folder.resolve(), "config": dict(config), **named}
    run = _begin(spec, own, sweep)
    if run.disabled:  # by WANDB_MODE
        return None
    run.define_metric("train/step")
    run.define_metric("*", step_metric="train/step")
    swept = sweep is not None
    if run.offline:
        return WandbRun(run=run, swept=swept, upload=Path(run.dir).parent)
    return WandbRun(run=run, swept=swept, known=dict(run.summary))


def _identity(folder: Path, config: Mapping[str, Any], run_id: str | None) -> Identity:
    """Id and name, stored before wandb starts: a first attempt that is killed keeps its id. run_id: the agent's."""
    in_chain = (folder.parent / "config.yaml").exists()  # the overrides on the command line are the chain's
    name = ("" if in_chain else short_name(sys.argv[1:], config)) or folder.resolve().name
    found = Identity.read(folder, name, _recipe(config))
    identity = replace(found, id=run_id or found.id)
    identity.write(folder)
    return identity


def _check(run_id: str, named: Mapping[str, str | None]) -> None:
    """UsageError for settings that wandb refuses, its own variables included: it would drop the whole record."""
    import wandb

    ours = {"run_id": run_id, "project": named["project"], "run_group": named["group"], "run_name": named["name"]}
    try:
        wandb.setup()  # reads the variables
        wandb.Settings(**ours, run_job_type=named["job_type"])
    except (wandb.errors.UsageError, ValueError) as error:
        raise UsageError(
            f"wandb refuses a setting: {one_line(error)}. Correct it, in WANDB_ variables too, or use "
            "--track.wandb disabled"
        ) from error


def _recipe(config: Mapping[str, Any]) -> str:
    """Digest of the config keys that affect the result."""
    kept = {key: value for key, value in config.items() if not _is_free(key)}
    return hashlib.sha256(json.dumps(kept, default=str).encode()).hexdigest()


def _is_free(key: str) -> bool:
    return any(f"{key}.".startswith(f"{free}.") for free in (*FREE_KEYS, *END_KEYS))


def _begin(spec: TrackSpec, own: Mapping[str, Any], sweep: str | None) -> Any:
    """wandb.init, in the requested mode; offline instead of online if no server can be reached."""
    import wandb

    mode: Mode = "offline" if spec.wandb == "offline" or _unreachable else wandb.setup().settings.mode
    if mode == "online":
        try:
            _require_answer(wandb.setup().settings.base_url)
            with _without_terminal():
                return _init(own, sweep, mode)
        except Exception as error:  # whatever wandb raises
            logger.warning("wandb: %s; goes on offline, and says at the end how to upload", one_line(error))
            _unreachable.append(one_line(error))
            wandb.teardown()  # it would hold the id
    return _init(own, sweep, "offline" if mode == "online" else mode)


def _init(own: Mapping[str, Any], sweep: str | None, mode: Mode) -> Any:
    import wandb

    offline = mode == "offline"
    settings = wandb.Settings(
        init_timeout=INIT_SECONDS,
        finish_timeout=FINISH_SECONDS,
        finish_timeout_raises=True,
        sweep_id=sweep,
        silent=offline,  # WandbRun.finish says how to upload
    )
    # Without resume, an upload replaces what the server has of this run: an offline attempt logs the whole run anew.
    resume: Literal["allow"] | None = None if offline else "allow"
    return wandb.init(**own, mode=mode, resume=resume, reinit="create_new", settings=settings)


def _require_answer(address: str) -> None:
    """OSError unless a server answers; wandb itself would retry for minutes, and again when the process ends."""
    try:
        urllib.request.urlopen(address, timeout=ANSWER_SECONDS).close()
    except urllib.error.HTTPError:
        return  # it answers
    except urllib.error.URLError as error:
        if not isinstance(error.reason, ssl.SSLError):
            raise OSError(f"{address} cannot be reached: {error.reason}") from error
    except TimeoutError as error:
        raise OSError(f"{address} does not answer within {ANSWER_SECONDS} s") from error


@contextmanager
def _without_terminal() -> Iterator[None]:
    """Standard input is empty: without a key wandb would ask for one, and wait."""
    stdin = sys.stdin
    with Path(os.devnull).open(encoding="utf-8") as empty:
        sys.stdin = empty
        try:
            yield
        finally:
            sys.stdin = stdin
