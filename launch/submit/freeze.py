"""Copies of what was submitted: config files, points, sweep file. Free of torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from configs.errors import InputError
from configs.files import write_atomically
from launch.submit import chain
from launch.submit.request import Request, run_config
from launch.sweep_folder import MAIN, Submission, SweepFolder

FLAG = "--config="


def merged(request: Request) -> Submission:
    """The folder's content with the new runs added. Nothing is written.

    Raises:
        InputError: The folder holds something else, or the same sweep with another base; what differs is named.
    """
    folder, new = request.folder, request.submission
    if not folder.file.exists():
        if SweepFolder(folder.path / MAIN).file.exists():
            raise InputError(f"{folder.path} holds runs and their controls; give --controls too, or another --folder")
        if request.controls and SweepFolder(request.home).file.exists():
            raise InputError(f"{request.home} holds a sweep without controls; choose another --folder for --controls")
        others = [path.name for path in folder.path.glob("*") if path.name not in ("lock", "config", "sweep.yaml")]
        if others:
            raise InputError(
                f"{folder.path} holds {others[0]} and no sweep.json; choose a folder that is not there yet"
            )
        return replace(new, words=tuple(_kept(new.words, folder)))
    old = folder.load()
    if changed := differences(folder, old, new):
        valid = "Choose another --folder, or submit what was submitted there"
        raise InputError(f"{folder.path} holds another sweep; {'; '.join(changed)}. {valid}")
    known = {run.id for run in old.runs}
    added = tuple(run for run in new.runs if run.id not in known)
    return replace(old, runs=old.runs + added, metric=new.metric or old.metric)


def differences(folder: SweepFolder, old: Submission, new: Submission) -> list[str]:
    """`key was old, is now new` for each key that all runs share; overrides are part of a run's id."""
    keys = ("command", "directory", "after")
    pairs = [(key, getattr(old, key), getattr(new, key)) for key in keys]
    if all(was == now for _, was, now in pairs):
        before = run_config(folder, old, old.runs[0])
        after = run_config(folder, replace(old, words=new.words), old.runs[0])
        pairs = [(key, before.get(key), after.get(key)) for key in {**after, **before}]
    return [f"{key} was {was}, is now {now}" for key, was, now in pairs if was != now]


def write(request: Request, submission: Submission) -> None:
    """Write the submission and copies of its files. Existing copies stay: merged has compared them."""
    folder = request.folder
    kept = dict(zip(_kept(request.submission.words, folder), request.submission.words, strict=True))
    for copy, word in kept.items():
        if copy != word and not folder.file.exists():
            source, target = (Path(name.removeprefix(FLAG)) for name in (word, copy))
            write_atomically(target, source.read_bytes())
    if request.sweep is not None:
        write_atomically(folder.path / "sweep.yaml", Path(request.sweep).read_bytes())
    folder.save(submission)
    (folder.path / "logs").mkdir(exist_ok=True)


def _kept(words: Sequence[str], folder: SweepFolder) -> Iterator[str]:
    """The words with copies for the files of --config, except for files of a parent run."""
    copies = 0
    for before, word in zip(["", *words], words, strict=False):
        flag = FLAG if word.startswith(FLAG) else ""
        if (flag or before == "--config") and not chain.PLACEHOLDER.search(word):
            yield f"{flag}{folder.path / 'config' / f'{copies}-{Path(word).name}'}"
            copies += 1
        else:
            yield word
