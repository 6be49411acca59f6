"""Cuts: accuracy against parameters, and what is left of each layer. Free of torch."""

from __future__ import annotations

import math
from collections.abc import Sequence

from configs.figures import percent
from configs.shown import printable
from train.charts import cuts, layers
from train.charts.cuts import Point, Trade
from train.report.elements import Cell, Chart, Missing, Section, Table, chart
from train.report.facts import Fact, Record, bare_share, combined, count, interval, large, line, share
from train.report.networks import Network, Subject
from train.report.overview import budget_of

MOST_LAYERS = 60
"""Layers up to which bars are drawn."""
COUNTED = (("parameters", count), ("nonzero", count), ("macs", large))
SENSITIVE = (("channels", count), ("removed", count), ("accuracy", share))


def section(subject: Subject, controls: Sequence[Network]) -> Section | None:
    """Return the chart and the table of cuts; None: the run cuts nothing, and there is nothing to compare it with.

    controls: other networks, by name.
    """
    folder = subject.folder
    if folder.kind not in ("compress", "prune"):
        return None
    home = folder.stage("cut") if folder.kind == "compress" else folder
    ledger = Record(folder.path, []) if home is None else home.ledger
    if not ledger:
        return Section(key="cuts", title="Cuts", missing=[Missing("No cut is finished yet: there is no ledger.json.")])
    images = _images(subject)
    text = "From left to right as it happened: each cut takes channels or weights away, and training follows."
    trade = _trade(subject, ledger, controls, images)
    if not trade.after:
        return Section(
            key="cuts", title="Cuts", missing=[Missing(f"{printable(str(ledger.path))} has no whole entry.")]
        )
    shown = chart(cuts.panel(trade, height=3.6), "cuts", title="Accuracy through the cuts", text=text)
    return Section(key="cuts", title="Accuracy against parameters", charts=[shown], tables=[_table(ledger, images)])


def _images(subject: Subject) -> Record:
    """before.json of the first cut: it counts the images of validation."""
    found = subject.folder.cuts
    return found[0].before if found else Record(subject.folder.path, {})


def _trade(subject: Subject, ledger: Record, controls: Sequence[Network], images: Record) -> Trade:
    found = images.number("samples")
    samples = None if found is None else round(found)

    keys = ("nonzero", "before", "after")
    entries = [[ledger.number(place, key) for key in keys] for place in range(len(ledger.values))]
    whole = [entry for entry in entries if None not in entry]

    def points(place: int) -> list[Point]:
        return [Point(nonzero=round(e[0] or 0), accuracy=e[place] or 0.0, samples=samples) for e in whole]

    teacher, budget = None if subject.teacher is None else subject.teacher.validation, budget_of(subject.folder)
    named = [_point(network, network.name) for network in controls]
    return Trade(
        before=points(1),
        after=points(2),
        dense=_point(subject.student, ""),
        budget=None if budget is None else round(budget.value),
        teacher=None if teacher is None else teacher.value,
        controls=[point for point in named if point is not None],
    )


def _point(network: Network | None, name: str) -> Point | None:
    if network is None:
        return None
    nonzero, accuracy = network.count(count, "nonzero"), network.validation
    if nonzero is None or accuracy is None:
        return None
    return Point(nonzero=round(nonzero.value), accuracy=accuracy.value, samples=network.validation_images, name=name)


def _table(ledger: Record, images: Record) -> Table:
    rows = []
    for place in range(len(ledger.values)):
        after = [(ledger, (place, "after")), (images, ("samples",))]
        ends = [combined(bare_share, f"share_{end}", *after) for end in ("low", "high")]
        counts = [
            ledger.fact(style, place, key)
            for key, style in (("parameters", count), ("nonzero", count), ("macs", large))
        ]
        accuracies = [ledger.fact(share, place, key) for key in ("before", "after")]
        rows.append([ledger.fact(count, place, "cut"), *counts, *accuracies, interval(ends)])
    columns = ("cut", "parameters", "not zero", "MACs", "just after", "once trained", "95 % interval")
    return Table(caption="Validation accuracy after each cut", columns=columns, rows=rows)


def layer_by_layer(subject: Subject, record: Record) -> Section | None:
    """Return what is left of each layer, and what each is worth. None: nothing was cut or measured."""
    parts = [part for part in (widths(subject), sensitivity(record)) if part is not None]
    return Section(key="layers", title="Layer by layer", parts=parts) if parts else None


def widths(subject: Subject) -> Section | None:
    """Return what is left of each layer: channels, or weights that are not zero. None: nothing was cut."""
    records = [cut.cut for cut in subject.folder.cuts if cut.cut]
    if not records:
        return None
    last = records[-1]
    if isinstance(last.get("widths"), dict):
        return _channels(records)
    return _kept(last, subject) if isinstance(last.get("free"), dict) else None


def _channels(records: Sequence[Record]) -> Section:
    first, last = records[0], records[-1]
    if not isinstance(first.get("widths_before"), dict):
        why = f"{printable(str(first.path))} has no widths_before: an earlier version wrote it, or it is damaged."
        return Section(key="widths", title="What is left", missing=[Missing(why)])
    names = list(last.get("widths"))
    before, after = (
        [record.number(key, name) or 0.0 for name in names]
        for record, key in ((first, "widths_before"), (last, "widths"))
    )
    rows = [
        [printable(name), first.fact(count, "widths_before", name), last.fact(count, "widths", name)] for name in names
    ]
    table = Table(caption="Channels of each layer", columns=("layer", "before", "after"), rows=rows)
    return _section(names, before, after, "channels", table, "Channels of each layer before and after the cuts")


def _kept(last: Record, subject: Subject) -> Section:
    """Shares of the weights that are not held at zero."""
    header = subject.final.header
    names = [name for name in last.get("free") if header.get("shapes", name) and last.number("free", name) is not None]
    totals = [math.prod(header.get("shapes", name)) for name in names]
    shares = [(last.number("free", name) or 0.0) / total for name, total in zip(names, totals, strict=True)]
    rows: list[list[Cell]] = []
    for name, total, kept in zip(names, totals, shares, strict=True):
        shape = header.source("shapes", name)
        whole = Fact(total, count(total), f"entries({shape})")
        part = Fact(kept, percent(kept, 1), f"kept({last.source('free', name)}, {shape})")
        rows.append([printable(name), whole, last.fact(count, "free", name), part])
    table = Table(caption="Weights that are kept", columns=("layer", "weights", "kept", "share"), rows=rows)
    short = [name.removesuffix(".weight") for name in names]
    return _section(
        short,
        [100.0] * len(names),
        [100 * kept for kept in shares],
        "% of the weights",
        table,
        "Share of weights kept per layer",
    )


def _section(
    names: Sequence[str], before: Sequence[float], after: Sequence[float], unit: str, table: Table, title: str
) -> Section:
    charts: list[Chart] = []
    if len(names) <= MOST_LAYERS:
        panel = layers.bars(names, before, after, unit=unit)
        charts.append(chart(panel, "widths", title=title, text="The outline is what was there, the bar what is left."))
    return Section(key="widths", title="What is left", charts=charts, details=[table])


def sensitivity(record: Record) -> Section | None:
    """Return what each layer is worth, where it was measured; None: it was not asked for."""
    rows = record.get("sensitivity", "layers")
    if not isinstance(rows, list):
        why = record.text("sensitivity", "missing")
        return None if why is None else Section(key="sensitivity", title="What each is worth", missing=[Missing(why)])
    names = [str(row.get("layer")) for row in rows]
    base = record.number("sensitivity", "accuracy") or 0.0
    drops = [
        100 * (base - (record.number("sensitivity", "layers", place, "accuracy") or 0.0)) for place in range(len(rows))
    ]
    text = line(
        "Accuracy on ",
        record.fact(count, "sensitivity", "samples"),
        " validation images when a fifth of the channels of one layer alone leaves, without training; whole: ",
        record.fact(share, "sensitivity", "accuracy"),
        f". Network: {record.text('sensitivity', 'network')}.",
    )
    cells = [
        [printable(name), *(record.fact(style, "sensitivity", "layers", place, key) for key, style in SENSITIVE)]
        for place, name in enumerate(names)
    ]
    table = Table(caption="Each layer cut alone", columns=("layer", "channels", "removed", "accuracy"), rows=cells)
    panel = layers.drops(names, drops, unit="points of accuracy lost")
    shown = [chart(panel, "sensitivity", title="Sensitivity of each layer", text="Longer bars: more is lost.")]
    return Section(key="sensitivity", title="What each is worth", text=text, charts=shown, details=[table])
