"""A report as HTML and as Markdown, from the same sections. Free of torch."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from configs.shown import printable
from train.report import classes, comparison, cutting, examples, groups, origin, overview, shades, training
from train.report.collection import Collection
from train.report.elements import Cell, Section
from train.report.examples import Thumbnails
from train.report.facts import Fact, Line, Record
from train.report.networks import Subject, subject

MARKS = re.compile(r"([\\`*_{}\[\]<>#|~])")
"""What Markdown takes for a mark."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """All that a page says."""

    title: str
    notices: Sequence[Cell]
    faults: Sequence[str]
    verdict: Line
    tiles: Sequence[tuple[str, Cell, Cell]]
    unchecked: Sequence[Cell]
    sections: Sequence[Section]


def build(found: Collection, record: Record, thumbnails: Thumbnails) -> Report:
    """Build the report of a collection of runs.

    Args:
        found: The runs; the report is about the first one.
        record: report.json: what was computed for this report.
        thumbnails: Images that the record names.
    """
    main = subject(found.runs[0])
    sections = _sections(main, found, record, thumbnails)
    seeds, controls = len(found.groups[0].runs), [network.name for network in found.controls]
    unchecked = overview.unchecked(main, seeds=seeds, controls=controls, chosen_of=found.chosen_of, computed=record)
    notices = [notice for run in found.runs for notice in overview.notices(run)]
    faults = list(dict.fromkeys(printable(fault) for run in found.runs for fault in run.faults))
    return Report(
        title=printable(str(main.folder.path)),
        notices=notices,
        faults=faults,
        verdict=overview.verdict(main),
        tiles=overview.tiles(main),
        unchecked=unchecked,
        sections=sections,
    )


def _sections(main: Subject, found: Collection, record: Record, thumbnails: Thumbnails) -> list[Section]:
    every = [
        groups.section(found),
        comparison.section(main),
        training.section(main),
        cutting.section(main, found.controls),
        cutting.layer_by_layer(main, record),
        classes.section(main, record),
        examples.section(main, record, thumbnails),
        examples.sheet(main),
        origin.section(main),
    ]
    return [section for section in every if section is not None]


def html(report: Report) -> str:
    """Return one page that needs nothing else."""
    environment = _environment(autoescape=True)
    environment.filters["cell"] = _cell
    return environment.get_template("report.html.j2").render(report=report)


def markdown(report: Report) -> str:
    """Return the report without its pictures."""
    environment = _environment(autoescape=False)
    environment.filters["cell"] = _plain
    text = environment.get_template("report.md.j2").render(report=report)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def _environment(*, autoescape: bool) -> Environment:
    loader = PackageLoader("train.report", "templates")
    made = Environment(
        loader=loader, autoescape=autoescape, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    made.globals |= {"by_day": shades.BY_DAY, "in_the_dark": shades.IN_THE_DARK}
    return made


def _cell(cell: Cell) -> Markup:
    """Return a cell as HTML; what is not known is a dash that is read as `none`."""
    if cell is None or str(cell) == "":
        return Markup(
            '<span class="unknown"><span aria-hidden="true">&ndash;</span><span class="spoken">none</span></span>'
        )
    return Markup("{}").format(cell)


def _plain(cell: Any) -> str:
    """Return a cell as Markdown; names are data."""
    if cell is None:
        return "-"
    if isinstance(cell, Fact):
        return cell.text
    parts = cell.parts if isinstance(cell, Line) else (cell,)
    words = [part.text if isinstance(part, Fact) else MARKS.sub(r"\\\1", printable(str(part))) for part in parts]
    return " ".join("".join(words).split())
