"""What the runs of a folder say together: result.json, and a table of it. Free of torch.

groups        runs that differ in seeds alone, their own or those of runs that they continue: mean, Student's 95 %
              interval and sample standard deviation
differences   the main runs minus those of a control, seed by seed, where both were measured on the same images
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from configs.figures import duration
from configs.files import write_atomically
from configs.intervals import of_mean
from configs.tables import plain_table
from launch.points.seeds import KEY as SEED
from launch.submit import outcome
from launch.submit.outcome import Outcome
from launch.sweep_folder import CONTROLS, MAIN, SweepFolder
from train.run_folder.result import NAME

SPLITS = ("validation", "test")


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """Finished runs that differ in their seed alone, or in that of a run that they continue."""

    name: str
    overrides: Mapping[str, str]
    """What a sweep sets for them, apart from the seed."""
    runs: Sequence[Outcome]
    """By their own seed, then in the order of what they continue."""


def folders(home: Path) -> list[SweepFolder]:
    """The sweep in a folder, or the main runs and the controls that it holds."""
    if SweepFolder(home).file.exists():
        return [SweepFolder(home)]
    return [folder for name in (MAIN, *CONTROLS) if (folder := SweepFolder(home / name)).file.exists()]


def write(home: Path) -> dict[str, Any]:
    """Write result.json of all finished runs of a folder; return its content. InputError: a run is damaged."""
    groups = [group for folder in folders(home) for group in _groups(home, folder)]
    main = [group for group in groups if group.name == MAIN]
    controls = [group for group in groups if group.name in CONTROLS]
    values = {
        "groups": [_plain(group) for group in groups],
        "differences": [_difference(one, other) for one in main for other in controls],
    }
    write_atomically(home / NAME, json.dumps(values, indent=1) + "\n")
    return values


def table(values: Mapping[str, Any]) -> Table:
    """The content of result.json, a row for each group; accuracies with the interval of their mean, in per cent."""
    split = "test" if any(group["test"] for group in values["groups"]) else "validation"
    differences = {found["minus"]: found[split] for found in values["differences"]}
    columns: dict[str, Callable[[Mapping[str, Any]], str]] = {
        "seeds": lambda group: str(group["n"]),
        "validation %": lambda group: _shown(group["validation"]),
        "test %": lambda group: _shown(group["test"]),
        f"main minus it, {split}": lambda group: _shown(differences.get(group["name"]), "+.2f"),
        "not zero": lambda group: f"{group['nonzero']:,}",
        "MACs": lambda group: f"{group['macs'] / 1e6:.2f} M",
        "epochs": lambda group: f"{group['epochs']:g}",
        "time": lambda group: duration(group["seconds"]),
    }
    cells = {name: [cell(group) for group in values["groups"]] for name, cell in columns.items()}
    kept = {name: column for name, column in cells.items() if any(column)}
    made = plain_table()
    for name in ("run", *kept):
        made.add_column(name, justify="left" if name == "run" else "right", no_wrap=True)
    for number, group in enumerate(values["groups"]):
        made.add_row(group["name"], *(column[number] for column in kept.values()))
    return made


def _groups(home: Path, folder: SweepFolder) -> Iterator[Group]:
    found: dict[str, dict[tuple[str | None, int], Outcome]] = {}
    overrides: dict[str, dict[str, str]] = {}
    for run in folder.load().runs:
        if not folder.is_done(run.id):
            continue
        path = folder.run_dir(run.id)
        own = {key: text for key, text in run.settings.items() if key != SEED}
        inherited = {key: text for key, text in run.inherited.items() if key != SEED}
        key = json.dumps([own, inherited], sort_keys=True)
        reached = outcome.read(path, str(path.relative_to(home)))
        found.setdefault(key, {})[run.parent, reached.seed] = reached
        overrides[key] = own
    for key, runs in found.items():
        varied = ", ".join(f"{name} {text}" for name, text in overrides[key].items())
        name = folder.path.name if folder.path != home else varied or MAIN
        yield Group(name=name, overrides=overrides[key], runs=sorted(runs.values(), key=lambda run: run.seed))


def _plain(group: Group) -> dict[str, Any]:
    """Sizes are the largest over the seeds, epochs and seconds are means."""
    runs = group.runs
    tests = [run.test for run in runs if run.test is not None]
    return {
        "name": group.name,
        "overrides": dict(group.overrides),
        "n": len(runs),
        "seeds": [run.seed for run in runs],
        "validation": _statistics([run.validation for run in runs]),
        "test": _statistics(tests) if len(tests) == len(runs) else None,
        **{key: max(getattr(run, key) for run in runs) for key in ("parameters", "nonzero", "macs")},
        **{key: statistics.fmean(getattr(run, key) for run in runs) for key in ("epochs", "seconds")},
        "runs": [{key: value for key, value in asdict(run).items() if key != "images"} for run in runs],
    }


def _difference(one: Group, other: Group) -> dict[str, Any]:
    twins = {run.seed: run for run in other.runs}
    pairs = [(run, twins[run.seed]) for run in one.runs if run.seed in twins and run.images == twins[run.seed].images]
    found: dict[str, Any] = {"of": one.name, "minus": other.name, "n": len(pairs), "seeds": [a.seed for a, _ in pairs]}
    for split in SPLITS:
        known = [(getattr(a, split), getattr(b, split)) for a, b in pairs]
        complete = bool(known) and all(None not in pair for pair in known)
        found[split] = _statistics([a - b for a, b in known]) if complete else None
    return found


def _statistics(values: Sequence[float]) -> dict[str, Any]:
    several = len(values) > 1
    return {
        "mean": statistics.fmean(values),
        "interval_95": of_mean(values) if several else None,
        "standard_deviation": statistics.stdev(values) if several else None,
    }


def _shown(found: Mapping[str, Any] | None, style: str = ".2f") -> str:
    """95.30 (94.11 to 96.49), of shares; the mean alone where there is one seed."""
    if found is None:
        return ""
    mean, interval = found["mean"], found["interval_95"]
    ends = "" if interval is None else f" ({' to '.join(f'{100 * end:{style}}' for end in interval)})"
    return f"{100 * mean:{style}}{ends}"
