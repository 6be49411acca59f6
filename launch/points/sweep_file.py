"""A sweep file, the same that wandb takes, read and checked without a server.

    program: train.distill
    command: ["${env}", python, -m, train.distill, --config, configs/digits/distill.yaml, "${args}"]
    method: grid
    metric: {name: validation_accuracy, goal: maximize}
    parameters:
      optim.lr: {values: [1e-3, 3e-3]}
      distill.temperature: {values: [1, 4]}

Values are only read here; the config of the command judges them (grid.check).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import yaml

from configs import yaml_text
from configs.errors import UsageError
from configs.yaml_text import Entry
from launch.commands import SWEPT, suggestion
from launch.points.parameters import Parameter, parameters
from train.config import PROJECT_RULE, is_project

METHODS = ("grid", "random", "bayes")
KEYS = (
    *("program", "command", "method", "metric", "parameters", "name", "description", "project", "entity", "run_cap"),
    *("early_terminate", "kind", "apiVersion", "controller", "job", "image_uri", "metrics", "scheduler"),
)
"""Top-level keys that wandb allows."""
METRIC_KEYS = ("name", "goal", "target", "impute", "impute_while_running")


@dataclass(frozen=True, slots=True)
class Metric:
    """The metric that compares runs."""

    name: str
    goal: Literal["minimize", "maximize"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Sweep:
    """The content of a sweep file."""

    path: str
    method: str
    """One of METHODS."""
    command: str
    """One of commands.SWEPT."""
    base_words: tuple[str, ...]
    """Options before the overrides of a point."""
    parameters: tuple[Parameter, ...]
    metric: Metric | None
    run_cap: int | None
    """At most this many points."""
    early_terminate: bool
    """Whether wandb should stop bad runs; without its agents this has no effect."""

    @property
    def places(self) -> dict[str, str]:
        """File and line of each parameter."""
        return {parameter.key: parameter.where for parameter in self.parameters}


def read(path: str) -> Sweep:
    """Read a sweep file. UsageError names file, line, key and what is valid."""
    entries = {entry.key: entry for entry in yaml_text.entries(yaml_text.load(path), set(), path)}
    for key, entry in entries.items():
        if key not in KEYS:
            raise UsageError(f"{entry.where}: unknown key {key}; {suggestion(key, KEYS)}")
    for key in ("method", "parameters"):
        if key not in entries:
            raise UsageError(f"{path}: {key} is missing")
    project = entries.get("project")
    if project is not None and not is_project(str(yaml_text.plain(project.node))):
        raise UsageError(f"{project.label} is {project.shown}; it must be {PROJECT_RULE}")
    method, space = entries["method"], entries["parameters"]
    kind = yaml_text.plain(method.node)
    if kind not in METHODS:
        raise UsageError(f"{method.label} is {method.shown}; {suggestion(method.shown, METHODS)}")
    if not isinstance(space.node, yaml.MappingNode) or not space.node.value:
        raise UsageError(f"{space.label} is {space.shown}; expected at least one")
    command, words = _command(path, entries)
    return Sweep(
        path=path,
        method=kind,
        command=command,
        base_words=words,
        parameters=tuple(_distinct(parameters(space.node, path))),
        metric=_metric(entries["metric"]) if "metric" in entries else None,
        run_cap=_run_cap(entries["run_cap"]) if "run_cap" in entries else None,
        early_terminate="early_terminate" in entries,
    )


def _distinct(found: Iterable[Parameter]) -> Iterator[Parameter]:
    """Refuse a key that is given twice, also within a section: on a command line the last one would win."""
    seen: list[Parameter] = []
    for parameter in found:
        for other in seen:
            if f"{parameter.key}.".startswith(f"{other.key}.") or other.key.startswith(f"{parameter.key}."):
                raise UsageError(f"{parameter.where}: {parameter.key} is set already by {other.key}, {other.where}")
        seen.append(parameter)
        yield parameter


def _command(path: str, entries: Mapping[str, Entry]) -> tuple[str, tuple[str, ...]]:
    """The command that is swept, and its words before the overrides."""
    program = str(yaml_text.plain(entries["program"].node)) if "program" in entries else ""
    module = program.removesuffix(".py").replace("/", ".")
    words = _words(entries["command"]) if "command" in entries else ["${program}", "${args}"]
    words = [module if word == "${program}" else word for word in words]
    start = next((i for i, word in enumerate(words) if word in SWEPT), None)
    if start is None:
        place = entries["command"].label if "command" in entries else f"{path}: program"
        raise UsageError(f"{place} names no command; {suggestion(module, SWEPT)}")
    base = [word for word in words[start + 1 :] if word != "${args}"]
    for word in base:
        if "${" in word:
            raise UsageError(
                f"{entries['command'].label} has {word}; after {words[start]}, only ${{args}} is filled in"
            )
    return words[start], tuple(base)


def _words(entry: Entry) -> list[str]:
    nodes = entry.node.value if isinstance(entry.node, yaml.SequenceNode) else []
    words = [str(node.value) for node in nodes if isinstance(node, yaml.ScalarNode)]
    if not words or len(words) < len(nodes):
        raise UsageError(f"{entry.label} is {entry.shown}; expected a list of words")
    return words


def _metric(entry: Entry) -> Metric:
    found = yaml_text.plain(entry.node)
    if not isinstance(found, dict):
        raise UsageError(f"{entry.label} is {entry.shown}; expected {{name: ..., goal: minimize|maximize}}")
    for key in found:
        if key not in METRIC_KEYS:
            raise UsageError(f"{entry.where}: unknown key metric.{key}; {suggestion(key, METRIC_KEYS)}")
    goal = found.get("goal", "minimize")
    if not isinstance(found.get("name"), str) or goal not in ("minimize", "maximize"):
        raise UsageError(f"{entry.label} is {entry.shown}; expected a name, and the goal minimize or maximize")
    return Metric(found["name"], goal)


def _run_cap(entry: Entry) -> int:
    cap = yaml_text.plain(entry.node)
    if type(cap) is not int or cap < 1:
        raise UsageError(f"{entry.label} is {entry.shown}; expected a whole number of at least 1")
    return cap
