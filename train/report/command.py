"""The command: folders to report.html, report.md and report.json."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from configs.arguments import Parser
from configs.errors import InputError, UsageError, UserError
from configs.files import write_atomically
from configs.shown import printable
from train.report import page
from train.report.collection import collect
from train.report.examples import Thumbnails
from train.report.facts import Record, size
from train.report.networks import Subject, subject
from train.run_folder import readings

NAME = "report.html"
T = TypeVar("T")


def parser() -> Parser:
    """The options."""
    made = Parser(prog="python -m train.report", description="A run, or several, as one page.", allow_abbrev=False)
    told = "the folder of a run, a chain or a sweep; more of them are seeds of the first, or controls for it"
    made.add_argument("runs", nargs="+", type=Path, metavar="RUN", help=told)
    told = f"the page; {Path(NAME).stem}.md and .json lie beside it (default: {NAME} in the first folder)"
    made.add_argument("--output", type=Path, metavar="FILE", help=told)
    told = "measure accuracy with a fifth of the channels of each layer gone, layer by layer"
    made.add_argument("--sensitivity", action="store_true", help=told)
    return made


def main(argv: Sequence[str] | None = None) -> None:
    """Write the report."""
    options = parser().parse_args(argv)
    output = output_of(options.runs, options.output)
    found = collect(options.runs)
    main_run = subject(found.runs[0])
    values, thumbnails = _computed(main_run, sensitivity=options.sensitivity)
    record = Record(output.with_suffix(".json"), values)
    write_atomically(record.path, json.dumps(values, indent=1) + "\n")
    report = page.build(found, record, thumbnails)
    text = page.html(report)
    write_atomically(output, text)
    write_atomically(output.with_suffix(".md"), page.markdown(report))
    beside = f"{output.with_suffix('.md').name} and {output.with_suffix('.json').name}"
    sys.stdout.write(printable(f"{output}: {size(len(text.encode()))}; {beside} lie beside it\n"))


def output_of(runs: Sequence[Path], named: Path | None) -> Path:
    """Return the file of the page. InputError: its folder is missing, or it is a folder. UsageError: it is no .html."""
    output = runs[0] / NAME if named is None else named
    if output.suffix not in (".html", ".htm"):
        raise UsageError(f"--output is {output}; expected a file that ends with .html")
    if output.is_dir():
        raise InputError(f"--output is {output}, which is a folder; give the name of a file in it")
    if named is not None and not output.parent.is_dir():
        raise InputError(f"--output is {output}, but there is no folder {output.parent}; make it first")
    return output


def _computed(main_run: Subject, *, sensitivity: bool) -> tuple[dict[str, Any], Thumbnails]:
    """Ask the networks what only they know. What cannot be asked is said in the report."""
    values: dict[str, Any] = {"answers": None, "answers_missing": None, "test_reads": _reads(main_run)}
    thumbnails: Thumbnails = {}
    if not main_run.final.file.is_file():
        values["answers_missing"] = f"{main_run.final.file} is not there: the network cannot be asked."
    else:
        from train.report import answers  # torch takes seconds
        from train.report import sensitivity as layers

        found, why = _tried(lambda: answers.ask(main_run))
        values["answers_missing"] = why
        if found is not None:
            values["answers"], thumbnails = found.record, found.thumbnails
        if sensitivity:
            measured, why = _tried(lambda: layers.measure(main_run))
            values["sensitivity"] = {"missing": why} if measured is None else measured
    return values, thumbnails


def _reads(main_run: Subject) -> dict[str, Any]:
    """Count the readings of test by now, which may be more than when the run ended."""
    found = readings.read(main_run.folder.path, main_run.folder.faults).of_run
    return {"number": found.number, "complete": found.complete, "networks": found.networks}


def _tried(action: Callable[[], T]) -> tuple[T | None, str | None]:
    """Return what an action gives, or why it cannot: images that are elsewhere now, code that is not here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return action(), None
        except (UserError, OSError) as error:
            return None, f"The network cannot be asked here: {error}"
