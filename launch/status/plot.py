"""A sweep as a picture: accuracy on validation against each key that varies, and against parameters. Free of torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from configs.errors import InputError
from configs.files import write_atomically
from launch.status.runs import Run
from train.charts import picture, sweep
from train.charts.sweep import Tried


def write(path: Path, runs: Sequence[Run], varied: Sequence[str]) -> None:
    """Draw them; the file's ending says how. InputError: no run has an accuracy yet."""
    shown = [run for run in runs if run.validation is not None]
    if not shown:
        raise InputError("no run has an accuracy yet: there is nothing to draw")
    keys = list(varied)
    if len({run.parameters for run in shown} - {None}) > 1:
        keys.append("parameters")
    keys = keys or ["run"]
    tried = [_tried(run) for run in shown]
    if "parameters" in keys:
        known = [run for run in tried if run.values["parameters"]]
        panels = sweep.panels(tried, [key for key in keys if key != "parameters"]) + sweep.panels(known, keys)[-1:]
    else:
        panels = sweep.panels(tried, keys)
    write_atomically(path, picture.file(panels, title=_title(shown), kind=path.suffix[1:]))


def _tried(run: Run) -> Tried:
    own = {"parameters": "" if run.parameters is None else str(run.parameters), "run": run.path.name}
    return Tried(values={**run.overrides, **own}, accuracy=run.validation or 0.0, done=run.state == "done")


def _title(runs: Sequence[Run]) -> str:
    unfinished = sum(run.state != "done" for run in runs)
    rest = f", {unfinished} of them unfinished (hollow)" if unfinished else ""
    return f"{len(runs)} runs{rest}; the best is ringed"
