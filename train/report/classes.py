"""What is taken for what, and accuracy by class, the teacher beside its student. K classes. Free of torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from configs.shown import command, printable
from train.charts import classes, style
from train.charts.classes import MOST_NAMED, Bars
from train.report.elements import Cell, Missing, Section, Table, chart
from train.report.facts import Fact, Record, bare_share, combined, count, interval, line, share, whole_share
from train.report.networks import Subject
from train.report.shades import BY_DAY

STEPS = len(BY_DAY)
"""Shades of a cell of the matrix."""
MOST_CONFUSED = 20
"""Confusions that are listed where there are too many classes for a matrix."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Shaded:
    """A cell of the matrix: its count, its share of the row, and the shade that stands for it."""

    count: Fact | None
    shade: int
    """0: none; STEPS: the whole row."""
    diagonal: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Matrix:
    """The confusion matrix as a table: a row per label, a column per answer."""

    names: Sequence[str]
    rows: Sequence[tuple[Sequence[Shaded], Cell]]
    """The cells of a label, and its recall."""


def section(subject: Subject, record: Record) -> Section:
    """Return confusion and accuracy by class: of train.evaluate where it ran, or else of the report's own answers.

    record: report.json.
    """
    evaluation = subject.final.evaluation
    source, keys = (evaluation, ()) if _matrix(evaluation, ()) else (record, ("answers", "network"))
    matrix, names = _matrix(source, keys), source.get(*keys[:1], "classes")
    if matrix is None or not isinstance(names, list):
        how = command("python", "-m", "train.evaluate", "--run_dir", subject.folder.path)
        missing = [Missing("There are no answers by class. This measures them:", how)]
        return Section(key="classes", title="By class", missing=missing)
    return Section(
        key="classes", title="By class", parts=[_confusion(source, keys, names), _accuracy(source, keys, record, names)]
    )


def _matrix(record: Record, keys: tuple[str, ...]) -> list[list[int]] | None:
    found = record.get(*keys, "confusion")
    whole = (
        isinstance(found, list)
        and bool(found)
        and all(isinstance(row, list) and len(row) == len(found) for row in found)
    )
    return found if whole and all(type(cell) is int for row in found for cell in row) else None


def _confusion(record: Record, keys: tuple[str, ...], names: list[str]) -> Section:
    found = _matrix(record, keys) or []
    images = line(record.fact(count, *keys[:1], "samples"), f" {record.text(*keys[:1], 'split')} images")
    text = line("Rows are labels, columns are answers, of ", images, ". A shade is a share of its row.")
    if len(names) > MOST_NAMED:
        return Section(
            key="confusion", title="What is taken for what", text=text, tables=[_most(record, keys, found, names)]
        )
    rows = []
    for label, row in enumerate(found):
        cells = [
            Shaded(
                count=record.fact(count, *keys, "confusion", label, answer) if number else None,
                shade=_shade(number, sum(row)),
                diagonal=label == answer,
            )
            for answer, number in enumerate(row)
        ]
        rows.append((cells, _recall(record, keys, label, names)))
    matrix = Matrix(names=[printable(name) for name in names], rows=rows)
    return Section(key="confusion", title="What is taken for what", text=text, extra=matrix)


def _shade(number: int, total: int) -> int:
    return 0 if not number else max(1, round(STEPS * number / total))


def _recall(record: Record, keys: tuple[str, ...], label: int, names: list[str]) -> Fact | None:
    """The share of a class that is recognised."""
    place = _per_class(record, keys, label, names)
    both = [(record, (*place, key)) for key in ("correct", "samples")]
    return combined(whole_share, "share", *both)


def _per_class(record: Record, keys: tuple[str, ...], label: int, names: list[str]) -> tuple[str | int, ...]:
    """Where the counts of a class are: by its name in evaluation-SPLIT.json, by its number in report.json."""
    return (*keys, "per_class", label if keys else names[label])


def _most(record: Record, keys: tuple[str, ...], found: list[list[int]], names: list[str]) -> Table:
    pairs = [(number, i, j) for i, row in enumerate(found) for j, number in enumerate(row) if i != j and number]
    rows: list[list[Cell]] = [
        [printable(names[i]), printable(names[j]), record.fact(count, *keys, "confusion", i, j)]
        for _, i, j in sorted(pairs, key=lambda pair: (-pair[0], *pair[1:]))[:MOST_CONFUSED]
    ]
    return Table(caption="The most frequent confusions", columns=("label", "answer", "images"), rows=rows)


def _accuracy(source: Record, keys: tuple[str, ...], record: Record, names: list[str]) -> Section:
    """Bars where there is room. The teacher is beside its student on the images of which the report has both."""
    both = record.get("answers", "teacher") is not None
    shown: list[tuple[str, Record, tuple[str, ...], str]] = [("network", source, keys, style.BLUE)]
    if both:
        own = ("answers", "network")
        shown = [("network", record, own, style.BLUE), ("teacher", record, ("answers", "teacher"), style.GREY)]
    origin, where = shown[0][1], shown[0][2][:1]
    images = line(origin.fact(count, *where, "samples"), f" {origin.text(*where, 'split')} images")
    beside = "" if not both else " The teacher stands beside it."
    text = line("95 % intervals, over ", images, ".", beside)
    columns = ["class", "images", *(f"{head}{name}" for name, *_ in shown for head in ("", "95 % interval, "))]
    rows = [_row(label, names, shown) for label in range(len(names))]
    table = Table(caption="Accuracy by class", columns=columns, rows=rows)
    bars = [Bars(name=name, counts=_counts(r, k, names), colour=colour) for name, r, k, colour in shown]
    charts = []
    if len(names) <= MOST_NAMED:
        told = "Bars of the share of each class that is recognised, with 95 % intervals, best class at the top."
        charts.append(chart(classes.accuracy(bars, names), "classes", title="Accuracy by class", text=told))
    return Section(key="per-class", title="Accuracy by class", text=text, charts=charts, details=[table])


def _counts(record: Record, keys: tuple[str, ...], names: list[str]) -> list[tuple[int, int]]:
    places = [_per_class(record, keys, label, names) for label in range(len(names))]
    pairs = [[round(record.number(*place, key) or 0) for key in ("correct", "samples")] for place in places]
    return [(min(max(correct, 0), max(samples, 0)), max(samples, 0)) for correct, samples in pairs]


def _row(label: int, names: list[str], shown: Sequence[tuple[str, Record, tuple[str, ...], str]]) -> list[Cell]:
    first = _per_class(shown[0][1], shown[0][2], label, names)
    row: list[Cell] = [printable(names[label]), shown[0][1].fact(count, *first, "samples")]
    for _, record, keys, _ in shown:
        place = _per_class(record, keys, label, names)
        both = [(record, (*place, key)) for key in ("correct", "samples")]
        whole = bool(record.number(*place, "samples"))
        ends = [combined(bare_share, f"wilson_{end}", *both) for end in ("low", "high")]
        row += [combined(share, "share", *both), interval(ends)] if whole else [None, None]
    return row
