"""A check of sweep files for wandb's agents that needs no server. Free of torch.

wandb reads the file with PyYAML and passes every value on as Python prints it: --optim.lr=1e-05. The check does the
same, value by value and in combinations, with the config of the swept command.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from configs import yaml_text
from configs.errors import UsageError
from launch.commands import COMMANDS, suggestion
from launch.points import grid, sweep_file
from launch.points.grid import Point
from launch.points.parameters import Parameter
from launch.points.sweep_file import Sweep
from launch.submit import chain
from launch.sweep.metric_names import RESULT, metric_names

TRIAL = "launch.trial"
"""Module before the swept command that gives each trial a run folder."""
REFUSED = {
    "${args_no_hyphens}": "options begin with --",
    "${args_no_equals}": "a value that begins with -- would be taken for an option",
    "${args_no_boolean_flags}": "what is false would be left out, and keep its default",
    "${args_json}": "options are no JSON",
    "${args_json_file}": "options are no JSON",
    "${args_append_hydra}": "options begin with --, not with +",
    "${args_override_hydra}": "options begin with --, not with ++",
}
OWN = {"run_dir": "each trial has a folder of its own", "track.wandb": "an agent needs it online"}
"""Keys that launch.trial sets."""
BOUNDED = (1e-12, 0.25, 0.5, 0.75, 1 - 1e-12)
UNBOUNDED = (0.001, 0.25, 0.5, 0.75, 0.999)
"""Quantiles at which distributions are tried."""
ALL = 128
"""Number of combinations up to which all are tried."""
TOGETHER = 32
"""Number of random combinations that are tried of more, besides each value by itself."""


@dataclass(frozen=True, slots=True)
class Checked:
    """A sweep file that passed the check."""

    sweep: Sweep
    config: dict[str, Any]
    """For wandb.sweep."""
    trials: int | None
    """Number of trials; None: until the sweep is stopped."""
    tried: int
    """Combinations of values that the command's config accepted."""
    notes: tuple[str, ...]


def check(path: str) -> Checked:
    """Read and check a sweep file. UsageError names file, line, key and what is valid."""
    _check_macros(path)
    sweep = sweep_file.read(path)
    config: dict[str, Any] = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    _check_command(sweep, config)
    _check_metric(sweep)
    for key, reason in OWN.items():
        if key in sweep.places:
            raise UsageError(f"{sweep.places[key]}: {key} is set by {TRIAL}: {reason}")
    values = {parameter.key: _values(parameter, config["parameters"], sweep) for parameter in sweep.parameters}
    points = list(_points(values))
    base = [*sweep.base_words, f"--run_dir={path}", "--track.wandb=online"]
    chain.require_filled([*base, *(text for point in points for text in point.overrides.values())])
    grid.check(points, COMMANDS[sweep.command].config, base, sweep.places)
    trials = len(grid.expand(sweep).points) if sweep.method == "grid" else sweep.run_cap
    return Checked(sweep, {"program": sweep.command, **config}, trials, len(points), tuple(_notes(sweep, config)))


def _check_macros(path: str) -> None:
    """Refuse macros other than ${args}, each with its reason."""
    for entry in yaml_text.entries(yaml_text.load(path), set(), path):
        if entry.key == "command" and isinstance(entry.node, yaml.SequenceNode):
            for word in (node.value for node in entry.node.value):
                if word in REFUSED:
                    raise UsageError(f"{entry.label} has {word}, and {REFUSED[word]}; write ${{args}}")


def _check_command(sweep: Sweep, config: Mapping[str, Any]) -> None:
    """The command must pass the parameters on to launch.trial."""
    right = f'["${{env}}", python, -m, {TRIAL}, {sweep.command}, --config, FILE, "${{args}}"]'
    if "command" not in config:
        raise UsageError(f"{sweep.path}: command is missing, and wandb would start program as a file; write {right}")
    words = [str(word) for word in config["command"]]
    at = words.index(sweep.command) if sweep.command in words else words.index("${program}")
    if words[at - 1] != TRIAL or not at:
        raise UsageError(
            f"{sweep.path}: command has no {TRIAL} before {words[at]}: all trials would share one run folder; "
            f"write {right}"
        )
    if "${args}" not in words[at:]:
        raise UsageError(f"{sweep.path}: command has no ${{args}} after {words[at]}, so no parameter; write {right}")


def _check_metric(sweep: Sweep) -> None:
    metric, known = sweep.metric, metric_names(sweep.command)
    if metric is None:
        if sweep.method == "bayes" or sweep.early_terminate:
            raise UsageError(f"{sweep.path}: metric is missing; bayes and early_terminate need one")
        return
    if metric.name == "accuracy":
        raise UsageError(
            f"{sweep.path}: metric.name is accuracy, which is read on test, by which nothing is chosen; "
            f"write {known[0] if sweep.command != 'train.prune' else 'cut/accuracy'}"
        )
    if metric.name not in known:
        raise UsageError(f"{sweep.path}: metric.name is {metric.name}; {suggestion(metric.name, known)}")
    if sweep.early_terminate and metric.name in RESULT:
        raise UsageError(
            f"{sweep.path}: metric.name is {metric.name}, which is known at the end; early_terminate needs what is "
            "logged on the way, as validation/accuracy"
        )


def _values(parameter: Parameter, space: Mapping[str, Any], sweep: Sweep) -> list[Any]:
    """Values that wandb may pass on: all of them, or samples of a range."""
    raw = _below(space, parameter.key)
    if parameter.values:
        theirs = list(raw["values"]) if "values" in raw else [raw["value"]]
        for ours, found in zip(parameter.values, theirs, strict=True):
            if not _same(ours, found):
                shown = yaml_text.dump(ours, flow=True)
                raise UsageError(
                    f"{parameter.where}: {parameter.key} is {shown}, and {found!r} to wandb; write it another way"
                )
        return theirs
    bounds = {type(raw[name]) for name in ("min", "max") if name in raw}
    if len(bounds) > 1 and "distribution" not in raw:
        raise UsageError(
            f"{parameter.where}: {parameter.key} has a min and a max of which one is a whole number and the other is "
            "not; wandb wants both alike, or a distribution"
        )
    if sweep.method == "grid":
        return list(parameter.grid())
    quantiles = UNBOUNDED if "normal" in parameter.distribution else BOUNDED
    return list(dict.fromkeys(parameter.draw(quantile) for quantile in quantiles))


def _below(space: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """The mapping of a dotted key, however its sections are nested."""
    if key in space:
        return dict(space[key])
    outer = next(name for name in space if key.startswith(f"{name}."))
    return _below(space[outer]["parameters"], key.removeprefix(f"{outer}."))


def _same(ours: Any, theirs: Any) -> bool:
    """Whether wandb reads a value as we do; 1e-3, text to wandb, becomes a number on our command line."""
    if isinstance(ours, list):
        both = isinstance(theirs, list) and len(ours) == len(theirs)
        return both and all(_same(one, other) for one, other in zip(ours, theirs, strict=True))
    if isinstance(ours, dict):
        both = isinstance(theirs, dict) and ours.keys() == theirs.keys()
        return both and all(_same(value, theirs[key]) for key, value in ours.items())
    if isinstance(theirs, str) and not isinstance(ours, str):
        theirs = yaml_text.plain(yaml_text.from_flag(theirs))
    return isinstance(ours, bool) == isinstance(theirs, bool) and bool(ours == theirs)


def _points(values: Mapping[str, Sequence[Any]]) -> Iterator[Point]:
    """All combinations; if there are many, each value by itself and random combinations."""
    axes = [list(axis) for axis in values.values()]
    if math.prod(map(len, axes)) <= ALL:
        rows = [list(row) for row in product(*axes)]
    else:
        first, draw = [axis[0] for axis in axes], random.Random(0)
        rows = [[*first[:i], value, *first[i + 1 :]] for i, axis in enumerate(axes) for value in axis]
        rows += [[draw.choice(axis) for axis in axes] for _ in range(TOGETHER)]
    for row in rows:
        point = Point.of(dict(zip(values, row, strict=True)))
        yield Point(point.id, {key: str(value) for key, value in zip(values, row, strict=True)})


def _notes(sweep: Sweep, config: Mapping[str, Any]) -> Iterator[str]:
    nested = [name for name, raw in config["parameters"].items() if "parameters" in raw]
    for name in nested:
        yield f"{name} has nested parameters: wandb will show each twice, as {name} and as {name}.KEY; write {name}.KEY"
    if sweep.method != "grid" and sweep.run_cap is None:
        yield f"{sweep.method} without run_cap goes on until somebody stops it"
