"""What several runs tell: means over seeds, differences between groups, points of a sweep. Free of torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from configs.shown import printable
from train.charts import sweep
from train.charts.sweep import Tried
from train.report.collection import Collection, Group
from train.report.elements import Cell, Chart, Missing, Section, Table, chart
from train.report.facts import Place, bare_share, combined, count, interval, line, points, share
from train.report.folder import RunFolder
from train.report.networks import of_run, subject
from train.run_folder import result


def section(found: Collection) -> Section | None:
    """Return what several runs tell; None: there is one."""
    if len(found.runs) < 2:
        return None
    groups = found.groups
    if found.overrides and len(groups) == len(found.runs):  # a sweep over one seed
        return Section(key="runs", title="Several runs", charts=_sweep_charts(found), tables=[_list(found)])
    tables = [_means(groups)]
    paired, missing = _paired(groups)
    tables += [paired] if paired is not None else []
    return Section(
        key="runs",
        title="Several runs",
        charts=_sweep_charts(found),
        tables=tables,
        missing=missing,
        details=[_list(found)],
    )


def _means(groups: Sequence[Group]) -> Table:
    rows: list[list[Cell]] = []
    for group in groups:
        tests = [run for run in group.runs if run.result.text("accuracy_split") == "test"]
        rows.append([
            group.name,
            str(len(group.runs)),
            of_run("", group.runs[0]).count(count, "nonzero"),
            _mean([(run.result, ("validation_accuracy",)) for run in group.runs]),
            _mean([(run.result, ("accuracy",)) for run in tests]) if tests else None,
        ])  # fmt: skip
    columns = ("run", "seeds", "not zero", "validation, mean (95 % interval)", "test, mean (95 % interval)")
    return Table(caption="Mean over seeds", columns=columns, rows=rows)


def _mean(places: Sequence[Place]) -> Cell:
    """The mean of what is there, with its interval from two on."""
    known = [(record, keys) for record, keys in places if record.number(*keys) is not None]
    mean = combined(share, "mean", *known)
    if len(known) < 2:
        return mean
    ends = [combined(bare_share, end, *known) for end in ("low", "high")]
    return line(mean, " (", interval(ends), ")")


def _paired(groups: Sequence[Group]) -> tuple[Table | None, list[Missing]]:
    """Differences of the first group to others, seed by seed, where both were measured on the same images."""
    rows: list[list[Cell]] = []
    missing = []
    for group in groups[1:]:
        pairs = _pairs(groups[0], group)
        if not pairs:
            missing.append(
                Missing(
                    f"{group.name} and {groups[0].name} cannot be compared seed by seed: there are no two finished "
                    "runs of one seed that were measured on the same images."
                )
            )
            continue
        places = [place for pair in pairs for place in pair]
        mean = combined(points, "mean_difference", *places)
        ends = [combined(points, f"{end}_difference", *places) for end in ("low", "high")] if len(pairs) > 1 else []
        interval = line(ends[0], " to ", ends[1]) if ends else None
        rows.append([f"{groups[0].name} minus {group.name}", str(len(pairs)), mean, interval])
    columns = ("difference", "seeds", "points of accuracy, mean", "95 % interval")
    caption = "Paired differences on the same images, seed by seed"
    return (Table(caption=caption, columns=columns, rows=rows) if rows else None), missing


def _pairs(one: Group, other: Group) -> list[tuple[Place, Place]]:
    known = {run.settings.get("seed"): run for run in other.runs}
    twins = [(run, known.get(run.settings.get("seed"))) for run in one.runs]
    found = [_pair(run, twin) for run, twin in twins if twin is not None]
    return [pair for pair in found if pair is not None]


def _pair(one: RunFolder, other: RunFolder) -> tuple[Place, Place] | None:
    """Two accuracies on the same images: of train.evaluate, or else of the runs themselves; None: there are none."""
    keys = ("accuracy",)
    if one.evaluation.get("data") is not None and other.evaluation.get("data") is not None:
        same = one.evaluation.get("data") == other.evaluation.get("data")
        return ((one.evaluation, keys), (other.evaluation, keys)) if same else None
    same = one.result.number(*keys) is not None and _measured_on(one) == _measured_on(other)
    return ((one.result, keys), (other.result, keys)) if same else None


def _measured_on(run: RunFolder) -> dict[str, Any]:
    reached = run.result.values
    return result.measured_on(run.config, reached if isinstance(reached, dict) else {})


def _list(found: Collection) -> Table:
    rows: list[list[Cell]] = []
    for run in found.runs:
        network = subject(run).final
        varied = ", ".join(f"{key} {value}" for key, value in found.overrides.get(run.path, {}).items())
        rows.append([printable(str(run.path)), printable(varied) or None, run.state, run.settings.fact(_whole, "seed"),
                     network.count(count, "nonzero"), network.validation,
                     network.accuracy if network.split == "test" else None])  # fmt: skip
    columns = ("run", "varied", "state", "seed", "not zero", "validation", "test")
    return Table(caption="All runs", columns=columns, rows=rows, words=True)


def _whole(value: float) -> str:
    return f"{value:.0f}"


def _sweep_charts(found: Collection) -> list[Chart]:
    """All keys of a sweep at once, and each of them."""
    tried = [
        Tried(values=found.overrides[run.path], accuracy=accuracy, done=run.state == "done")
        for run in found.runs
        if run.path in found.overrides
        and (accuracy := run.result.number("validation_accuracy") or run.status.number("validation_accuracy"))
        is not None
    ]
    names = list(dict.fromkeys(key for run in tried for key in run.values))
    keys = [key for key in names if key != "seed" and len({run.values.get(key, "") for run in tried}) > 1]
    if len(tried) < 2 or not keys:
        return []
    text = f"A line per run through the values that it has, {len(tried)} runs; the best one is the thick line."
    charts = [chart(sweep.parallel(tried, keys), "parallel", title="All runs of the sweep", text=text)]
    for number, (key, panel) in enumerate(zip(keys, sweep.panels(tried, keys), strict=True)):
        text = "A dot per run, hollow while it is unfinished; bars are means, the best run is ringed."
        charts.append(chart(panel, f"sweep-{number}", title=f"Accuracy against {printable(key)}", text=text))
    return charts
