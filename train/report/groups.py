"""Several runs: seeds of one config, controls, points of a sweep. Free of torch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configs.errors import InputError
from configs.files import json_object
from configs.shown import printable
from models.spec import names_file
from train.charts import sweep
from train.charts.sweep import Tried
from train.report.elements import Cell, Chart, Missing, Section, Table, chart
from train.report.facts import Place, bare_share, combined, count, interval, line, points, share
from train.report.folder import RunFolder, require_run
from train.report.networks import Network, of_run, subject

IDENTITY = ("run_dir", "seed")
"""Keys of a config in which runs of one group may differ."""
SWEEP = "sweep.json"
LISTED = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """Runs that differ in their seed alone."""

    name: str
    runs: Sequence[RunFolder]


@dataclass(frozen=True, kw_only=True, slots=True)
class Collection:
    """All runs of a report; the first is the one that it is about."""

    runs: Sequence[RunFolder]
    overrides: Mapping[Path, Mapping[str, str]]
    """What points of a sweep vary, by their folders."""

    @property
    def groups(self) -> list[Group]:
        """In the order of their first run."""
        found: dict[str, list[RunFolder]] = {}
        for run in self.runs:
            found.setdefault(_group_key(run), []).append(run)
        return [Group(name=_name(runs, number), runs=runs) for number, runs in enumerate(found.values())]

    @property
    def controls(self) -> list[Network]:
        """The network of each other group, with the group's name."""
        return [of_run(group.name, group.runs[0]) for group in self.groups[1:]]


def collect(paths: Sequence[Path]) -> Collection:
    """Find the runs in folders of runs and of sweeps. InputError: there is none, or they do not belong together."""
    runs: list[RunFolder] = []
    overrides: dict[Path, Mapping[str, str]] = {}
    for path in paths:
        if (path / SWEEP).is_file():
            found = _points(path)
            overrides |= found
            runs += sorted(map(RunFolder, found), key=_best_first)
        else:
            runs.append(require_run(path))
    _require_together(runs)
    return Collection(runs=runs, overrides=overrides)


def _points(path: Path) -> dict[Path, Mapping[str, str]]:
    """The points of a sweep that have begun."""
    faults: list[str] = []
    runs = json_object(path / SWEEP, faults).get("runs")
    if faults or not isinstance(runs, list):
        raise InputError(f"{path / SWEEP} is damaged: it names no runs")
    found: dict[Path, Mapping[str, str]] = {}
    for run in runs:
        if isinstance(run, dict) and isinstance(run.get("id"), str) and Path(run["id"]).name == run["id"]:
            values = {**(run.get("inherited") or {}), **(run.get("overrides") or {})}
            found[path / "runs" / run["id"]] = {str(key): str(value) for key, value in values.items()}
    begun = {folder: values for folder, values in found.items() if folder.is_dir()}
    if not begun:
        raise InputError(f"no run of the sweep in {path} has begun; python -m launch.status {path} shows them")
    return begun


def _best_first(run: RunFolder) -> tuple[bool, float]:
    return run.state != "done", -(run.result.number("validation_accuracy") or 0.0)


def _require_together(runs: Sequence[RunFolder]) -> None:
    """InputError for runs on different data sets."""
    first = runs[0]
    for run in runs[1:]:
        for what, one, other in (
            ("classes", _classes(first), _classes(run)),
            ("data.source", _source(first), _source(run)),
        ):
            if one is not None and other is not None and one != other:
                raise InputError(
                    f"{first.path} and {run.path} do not belong together: their {what} are {_few(one)} and "
                    f"{_few(other)}. Give runs on the same data set, or make a report of each"
                )


def _classes(run: RunFolder) -> Any:
    return run.header.get("card", "classes")


def _source(run: RunFolder) -> Any:
    return run.settings.get("data", "source")


def _few(found: Any) -> str:
    words = list(map(str, found)) if isinstance(found, list) else [str(found)]
    return ", ".join(words[:5]) + (f", ... ({len(words)})" if len(words) > 5 else "")


def _group_key(run: RunFolder) -> str:
    """Equal for runs that differ in their seed, and in files of weights, which are then of that seed."""

    def bare(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: bare(inner) for key, inner in value.items() if key not in IDENTITY}
        return "FILE" if isinstance(value, str) and names_file(value) else value

    return json.dumps(bare(dict(run.config)), sort_keys=True, default=str)


def _name(runs: Sequence[RunFolder], number: int) -> str:
    """Name a group by what it is a control for, and else by its first folder."""
    first = runs[0]
    distill = first.settings.get("distill")
    if number and isinstance(distill, dict) and not any(distill.get(key) for key in ("alpha", "hint", "attention")):
        return "without teacher"
    if number and first.settings.get("student", "from_scratch") is True:
        return "from scratch"
    return printable(first.path.name)


def section(found: Collection) -> Section | None:
    """Return what several runs tell; None: there is one."""
    if len(found.runs) < 2:
        return None
    groups = found.groups
    tables = [_means(groups)]
    paired, missing = _paired(groups)
    tables += [paired] if paired is not None else []
    return Section(
        key="runs",
        title="Several runs",
        charts=_sweep_charts(found),
        tables=tables,
        missing=missing,
        details=[_list(found)] if len(found.runs) > 1 else [],
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
    """Differences to the first group, seed by seed, where both were measured on the same images."""
    rows: list[list[Cell]] = []
    missing = []
    for group in groups[1:]:
        pairs = list(_pairs(group, groups[0]))
        if not pairs:
            missing.append(
                Missing(
                    f"{group.name} and {groups[0].name} cannot be compared seed by seed: there are no two runs of one "
                    "seed that train.evaluate has measured on the same images (evaluation-test.json)."
                )
            )
            continue
        places = [place for pair in pairs for place in pair]
        mean = combined(points, "mean_difference", *places)
        ends = [combined(points, f"{end}_difference", *places) for end in ("low", "high")] if len(pairs) > 1 else []
        interval = line(ends[0], " to ", ends[1]) if ends else None
        rows.append([f"{group.name} minus {groups[0].name}", str(len(pairs)), mean, interval])
    columns = ("difference", "seeds", "points of accuracy, mean", "95 % interval")
    caption = "Paired differences on the same images, seed by seed"
    return (Table(caption=caption, columns=columns, rows=rows) if rows else None), missing


def _pairs(one: Group, other: Group) -> list[tuple[Place, Place]]:
    found: list[tuple[Place, Place]] = []
    known = {run.settings.get("seed"): run for run in other.runs}
    for run in one.runs:
        twin = known.get(run.settings.get("seed"))
        if (
            twin is None
            or run.evaluation.get("data") is None
            or run.evaluation.get("data") != twin.evaluation.get("data")
        ):
            continue
        found.append(((run.evaluation, ("accuracy",)), (twin.evaluation, ("accuracy",))))
    return found


def _list(found: Collection) -> Table:
    rows: list[list[Cell]] = []
    for run in found.runs:
        network = subject(run).final
        varied = ", ".join(f"{key} {value}" for key, value in found.overrides.get(run.path, {}).items())
        rows.append([printable(str(run.path)), printable(varied) or None, run.state, run.settings.fact(str, "seed"),
                     network.count(count, "nonzero"), network.validation,
                     network.accuracy if network.split == "test" else None])  # fmt: skip
    columns = ("run", "varied", "state", "seed", "not zero", "validation", "test")
    return Table(caption="All runs", columns=columns, rows=rows, words=True)


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
    keys = [key for key in names if len({run.values.get(key, "") for run in tried}) > 1]
    if len(tried) < 2 or not keys:
        return []
    text = f"A line per run through the values that it has, {len(tried)} runs; the best one is the thick line."
    charts = [chart(sweep.parallel(tried, keys), "parallel", title="All runs of the sweep", text=text)]
    for number, (key, panel) in enumerate(zip(keys, sweep.panels(tried, keys), strict=True)):
        text = "A dot per run, hollow while it is unfinished; bars are means, the best run is ringed."
        charts.append(chart(panel, f"sweep-{number}", title=f"Accuracy against {printable(key)}", text=text))
    return charts
