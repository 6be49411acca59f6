"""The parameters of a sweep file as wandb defines them, for grids and random sweeps.

Checked against the schema and the sampling code of wandb's `sweeps` 0.3.0. Three things are our own: numbers that were
computed are rounded to eight digits, so that they read well and do not depend on the machine's logarithm; a bounded
number stays within its bounds when it is rounded; and a number that only we would take for one (1e-5 is text to
PyYAML, and so to wandb) is refused as a bound.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from statistics import NormalDist
from typing import Any

import numpy as np
import yaml

from configs import yaml_text
from configs.errors import UsageError
from configs.yaml_text import FLOAT, INT, NULL, TEXT, Entry
from launch.commands import suggestion

# Required fields of each distribution, and optional ones with their defaults.
DISTRIBUTIONS: dict[str, tuple[tuple[str, ...], dict[str, int]]] = {
    "constant": (("value",), {}),
    "categorical": (("values",), {}),
    "categorical_w_probabilities": (("values", "probabilities"), {}),
    "int_uniform": (("min", "max"), {}),
    "uniform": (("min", "max"), {}),
    "q_uniform": (("min", "max"), {"q": 1}),
    "log_uniform_values": (("min", "max"), {}),
    "q_log_uniform_values": (("min", "max"), {"q": 1}),
    "inv_log_uniform_values": (("min", "max"), {}),
    "normal": ((), {"mu": 0, "sigma": 1}),
    "q_normal": ((), {"mu": 0, "sigma": 1, "q": 1}),
    "log_normal": ((), {"mu": 0, "sigma": 1}),
    "q_log_normal": ((), {"mu": 0, "sigma": 1, "q": 1}),
}
OUTDATED = ("log_uniform", "q_log_uniform", "inv_log_uniform")
"""Their bounds are exponents; wandb refuses them in favour of the same with _values."""
FIELDS = ("parameters", "distribution", "value", "values", "probabilities", "min", "max", "mu", "sigma", "q")
MAX_POINTS = 10_000
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")
RESERVED = ("help", "print_config")
"""Options of every command that end it at once."""

Number = int | float


@dataclass(frozen=True, slots=True)
class Parameter:
    """A dotted key of the config, and the distribution of its values."""

    key: str
    where: str
    """File and line."""
    distribution: str
    values: tuple[Any, ...] = ()
    """Of constant and categorical."""
    cumulative: tuple[float, ...] = ()
    """Probability of each value and of those before it."""
    numbers: Mapping[str, Number] | None = None
    """min, max, mu, sigma and q, as far as the distribution has them."""

    def grid(self) -> Sequence[Any]:
        """Return all values, in order. UsageError if they cannot be counted, or are more than a sweep may have."""
        if self.distribution in ("constant", "categorical"):
            return self.values
        if self.distribution not in ("int_uniform", "q_uniform"):
            valid = "value, values, int_uniform, q_uniform; or use method: random"
            raise UsageError(f"{self.where}: {self.key} is {self.distribution}; a grid takes {valid}")
        low, high, q = (self._number(name) for name in ("min", "max", "q"))
        if (high - low) / q > MAX_POINTS:
            raise UsageError(f"{self.where}: {self.key} has more than {MAX_POINTS:,} values")
        if self.distribution == "int_uniform":
            return range(int(low), int(high) + 1)
        return [_tidy(value) for value in np.arange(low, high, q).tolist()]  # wandb, too, leaves max out

    def draw(self, uniform: float) -> Any:
        """Return the value at this quantile, in (0, 1)."""
        if self.distribution == "categorical_w_probabilities":
            return self.values[min(bisect_right(self.cumulative, uniform), len(self.values) - 1)]
        if self.values:
            return self.values[int(uniform * len(self.values))]
        low, high, q = (self._number(name) for name in ("min", "max", "q"))
        if self.distribution == "int_uniform":
            return int(low) + int(uniform * (int(high) - int(low) + 1))
        value = self._quantile(uniform)
        if self.distribution.startswith("q_"):
            return _tidy(round(value / q) * q)  # as in wandb: the nearest multiple may lie outside of min and max
        return min(max(_tidy(value), low), high)

    def _quantile(self, uniform: float) -> float:
        low, high = self._number("min"), self._number("max")
        if "normal" in self.distribution:
            value = NormalDist().inv_cdf(uniform) * self._number("sigma") + self._number("mu")
            return math.exp(value) if "log" in self.distribution else value
        if (
            "log" in self.distribution
        ):  # NOTE: 1/x is log-uniform between 1/max and 1/min exactly when x is between both
            return math.exp(math.log(low) + uniform * (math.log(high) - math.log(low)))
        return low + uniform * (high - low)

    def _number(self, name: str) -> Number:
        unbounded = {"min": -math.inf, "max": math.inf, "q": 1}
        return (self.numbers or {}).get(name, unbounded.get(name, math.nan))


def parameters(node: yaml.MappingNode, path: str, prefix: str = "") -> Iterator[Parameter]:
    """Read the mapping below `parameters`; nested ones get dotted keys. UsageError names file, line and key."""
    for entry in yaml_text.entries(node, set(), path, prefix):
        name = entry.key.removeprefix(prefix)
        if not NAME.fullmatch(name) or name in RESERVED:
            raise UsageError(f"{entry.where}: {name} is not a key of a config")
        if not isinstance(entry.node, yaml.MappingNode):
            raise UsageError(f"{entry.label} is {entry.shown}; expected {{value: ...}}, {{values: [...]}} or a range")
        fields = {
            field.key.removeprefix(f"{entry.key}."): field
            for field in yaml_text.entries(entry.node, set(), path, f"{entry.key}.")
        }
        for field, found in fields.items():
            if field not in FIELDS:
                raise UsageError(f"{found.where}: unknown key {found.key}; {suggestion(field, FIELDS)}")
        if "parameters" not in fields:
            yield _parameter(entry, fields)
            continue
        nested = fields["parameters"].node
        if len(fields) > 1 or not isinstance(nested, yaml.MappingNode) or not nested.value:
            raise UsageError(f"{entry.label} has nested parameters; expected a mapping of them, and nothing beside it")
        yield from parameters(nested, path, f"{entry.key}.")


def _parameter(entry: Entry, fields: Mapping[str, Entry]) -> Parameter:
    distribution = _distribution(entry, fields)
    needed, optional = DISTRIBUTIONS[distribution]
    valid = (*needed, *optional)
    for name, found in fields.items():
        if name not in (*valid, "distribution"):
            raise UsageError(f"{found.label} says nothing to {distribution}, which takes {', '.join(valid)}")
    for name in needed:
        if name not in fields:
            raise UsageError(f"{entry.label} is {distribution} and lacks {name}")
    if "value" in fields or "values" in fields:
        values = _values(fields)
        cumulative = _cumulative(fields["probabilities"], len(values)) if "probabilities" in fields else ()
        return Parameter(entry.key, entry.where, distribution, values, cumulative)
    numbers = {name: _number(fields[name]) if name in fields else optional[name] for name in valid}
    _check_numbers(entry, distribution, numbers)
    return Parameter(entry.key, entry.where, distribution, numbers=numbers)


def _distribution(entry: Entry, fields: Mapping[str, Entry]) -> str:
    """What is named, or else what the other keys imply."""
    if "distribution" in fields:
        named = fields["distribution"]
        name = named.shown
        if name in OUTDATED:
            raise UsageError(f"{named.label} is {name}, whose bounds are exponents; use {name}_values")
        if name not in DISTRIBUTIONS:
            raise UsageError(f"{named.label} is {name}; {suggestion(name, DISTRIBUTIONS)}")
        return name
    if "value" in fields:
        return "constant"
    if "values" in fields:
        return "categorical_w_probabilities" if "probabilities" in fields else "categorical"
    if "min" in fields and "max" in fields:
        return "int_uniform" if {fields["min"].node.tag, fields["max"].node.tag} == {INT} else "uniform"
    raise UsageError(f"{entry.label} says nothing; expected value, values, min with max, or distribution")


def _values(fields: Mapping[str, Entry]) -> tuple[Any, ...]:
    entry = fields.get("value") or fields["values"]
    nodes = [entry.node]
    if "values" in fields:
        if not isinstance(entry.node, yaml.SequenceNode) or not entry.node.value:
            raise UsageError(f"{entry.label} is {entry.shown}; expected a list of at least one value")
        nodes = entry.node.value
    for node in nodes:
        if node.tag == TEXT and yaml_text.from_flag(node.value).tag == NULL:
            raise UsageError(f"{entry.label} has the text {node.value}, which a command line reads as null")
    return tuple(yaml_text.plain(node) for node in nodes)


def _cumulative(entry: Entry, count: int) -> tuple[float, ...]:
    shares = yaml_text.plain(entry.node)
    if not isinstance(shares, list) or not all(type(share) in (int, float) and share >= 0 for share in shares):
        raise UsageError(f"{entry.label} is {entry.shown}; expected a list of numbers of at least 0")
    if len(shares) != count or not math.isclose(sum(shares), 1):
        found = f"has {len(shares)} numbers with the sum {sum(shares):g}"
        raise UsageError(f"{entry.label} {found}; expected one for each of {count} values, with the sum 1")
    return tuple(share / sum(shares) for share in accumulate(shares))


def _number(entry: Entry) -> Number:
    if entry.node.tag not in (INT, FLOAT):
        raise UsageError(f"{entry.label} is {entry.shown}; expected a number")
    value: Number = yaml_text.plain(entry.node)
    if yaml.safe_load(entry.node.value) != value:
        as_wandb = yaml_text.dump(value, flow=True)
        raise UsageError(f"{entry.label} is {entry.shown}, which wandb does not read as this number; write {as_wandb}")
    if not math.isfinite(value):
        raise UsageError(f"{entry.label} is {entry.shown}; expected a finite number")
    return value


def _check_numbers(entry: Entry, distribution: str, numbers: Mapping[str, Number]) -> None:
    """Refuse numbers that the distribution cannot be drawn from."""

    def require(condition: bool, name: str, valid: str) -> None:
        if not condition:
            raise UsageError(f"{entry.label}.{name} is {numbers[name]}; {distribution} needs {valid}")

    if "min" in numbers:
        require(numbers["min"] < numbers["max"], "min", f"less than max, which is {numbers['max']}")
        require("log" not in distribution or numbers["min"] > 0, "min", "more than 0")
        if distribution == "int_uniform":
            for name in ("min", "max"):
                require(isinstance(numbers[name], int), name, "an integer")
    require(numbers.get("q", 1) > 0, "q", "more than 0")
    require(numbers.get("sigma", 1) >= 0, "sigma", "at least 0")


def _tidy(value: Number) -> Number:
    return value if isinstance(value, int) else float(f"{value:.8g}")
