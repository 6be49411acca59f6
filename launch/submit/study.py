"""Main runs and their controls as requests, each for a folder of its own. Free of torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from configs import reader
from configs.files import write_atomically
from launch.points.grid import Point
from launch.submit import chain
from launch.submit.controls import CONTROLS, Control
from launch.submit.request import Request, require_valid, run_settings
from launch.sweep_folder import Run, Submission, SweepFolder


def requests(main: Request, drafts: Path) -> list[Request]:
    """Return a request and those of its controls, in the order in which they are carried out.

    drafts: a folder for the configs of the controls, from which the folders of the controls get their copies.

    Raises:
        UsageError: A control makes no sense for this config, or its config does not hold.
    """
    if not main.controls:
        return [main]
    config = run_settings(main.folder, main.submission, Run(id="main", overrides={}))
    return [main, *(_request(main, name, CONTROLS[name](config), drafts) for name in main.controls)]


def _request(main: Request, name: str, control: Control, drafts: Path) -> Request:
    draft = drafts / f"{name}.yaml"
    write_atomically(draft, reader.dump(control.config))
    folder = SweepFolder(main.home / name)
    submission = Submission(
        command=control.command,
        words=(f"--config={draft}", *control.words),
        directory=main.submission.directory,
        after=str(main.folder.path.absolute()) if control.words else None,
        runs=tuple(_runs(name, main.submission.runs, main.folder) if control.words else main.submission.runs),
    )
    require_valid(folder, submission, {})
    notes = [control.note] if control.note else []
    if control.words and main.dry_run:  # otherwise the jobs say so
        notes.append(f"each run of {name} starts when the run of its seed in {main.folder.path} is done")
    parent, coming = (main.submission, True) if control.words else (None, False)
    own = replace(main, folder=folder, submission=submission, sweep=None, notes=tuple(notes))
    return replace(own, parent=parent, coming=coming)


def _runs(name: str, parents: Iterable[Run], folder: SweepFolder) -> Iterator[Run]:
    """The run of a control for each main run, which has its seed."""
    for parent in parents:
        point = Point(name, parent.overrides)
        yield from chain.carry_on([point], [parent], lambda run_id: str(folder.run_dir(run_id).absolute()))
