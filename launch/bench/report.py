"""A bench's result: tables for a person, one JSON object for a program."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from configs import resources
from configs.tables import PlainConsole, plain_table
from launch.bench.rounds import Lap, Ratio, cpu_ms, rates
from train.run_folder.run_dir import environment

WIDTH = 118
SHOWN = {
    "torch": "torch",
    "torchvision": "torchvision",
    "opencv-python-headless": "OpenCV",
    "nvidia-dali-cuda120": "DALI",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """All measurements, and the variants that were left out."""

    work: str
    """Description of the work, in a line or two."""
    laps: Mapping[str, Sequence[Lap]]
    notes: Mapping[str, str]
    """Description of each variant."""
    ratios: Sequence[Ratio]
    left_out: Mapping[str, str]
    """Variants that cannot run here, and why."""
    figures: Mapping[str, float]
    """Single numbers by their name in JSON."""
    footer: Sequence[str]
    """Lines for a person below the tables."""
    environment: Mapping[str, Any]

    def as_json(self) -> dict[str, Any]:
        """Plain values, for a program."""
        return {
            "variants": {name: _variant_json(laps) for name, laps in self.laps.items()},
            "ratios": {ratio.goal.name: _ratio_json(ratio) for ratio in self.ratios},
            **self.figures,
            "left_out": dict(self.left_out),
            "environment": dict(self.environment),
        }

    def write(self, *, as_json: bool) -> None:
        """Print it to stdout."""
        if as_json:
            sys.stdout.write(json.dumps(self.as_json()) + "\n")
        else:
            self.print_to(PlainConsole(width=WIDTH))

    def print_to(self, console: Console) -> None:
        """Tables, for a person."""
        console.print(f"{hardware(self.environment)}\n{self.work}")
        console.print(_variant_table(self.laps, self.notes))
        if self.ratios:
            console.print(_ratio_table(self.ratios))
        for line in self.footer:
            console.print(line)
        for name, reason in self.left_out.items():
            console.print(f"left out: {name}: {reason}")


def _variant_json(laps: Sequence[Lap]) -> dict[str, float | None]:
    rate = rates(laps)
    return {
        "images_per_second": rate.median,
        "images_per_second_min": rate.low,
        "images_per_second_max": rate.high,
        "cpu_ms": cpu_ms(laps),
    }


def _ratio_json(ratio: Ratio) -> dict[str, float | str]:
    spread = ratio.spread
    numbers = {"ratio": spread.median, "ratio_min": spread.low, "ratio_max": spread.high, "goal": ratio.goal.least}
    return {**numbers, "against": ratio.against}


def _variant_table(laps: Mapping[str, Sequence[Lap]], notes: Mapping[str, str]) -> Table:
    table = plain_table()
    table.add_column("variant", no_wrap=True)
    for column in ("images/s", "min .. max", "CPU ms/image"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("what it does")
    for name, own in laps.items():
        rate, cpu = rates(own), cpu_ms(own)
        spread = f"{_short(rate.low)} .. {_short(rate.high)}"
        table.add_row(name, _short(rate.median), spread, "?" if cpu is None else f"{cpu:.3g}", notes[name])
    return table


def _ratio_table(found: Sequence[Ratio]) -> Table:
    table = plain_table()
    table.add_column("ratio of images/s", no_wrap=True)
    for column in ("median", "min .. max", "goal"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("")
    for ratio in found:
        spread, least = ratio.spread, ratio.goal.least
        name = f"{ratio.goal.variant} / {ratio.against}" + (" (best pil)" if len(ratio.goal.against) > 1 else "")
        verdict = "reached" if spread.median >= least else "missed"
        table.add_row(name, f"{spread.median:.3g}", f"{spread.low:.3g} .. {spread.high:.3g}", f"{least:g}", verdict)
    return table


def _short(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:.1f}"


def surroundings() -> dict[str, Any]:
    """Hardware, versions and how busy the machine is before anything is measured."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {**environment(), "cpu": resources.cpu_model(), "cores": resources.cores(), "load_average": load}


def hardware(environment: Mapping[str, Any]) -> str:
    """Two lines: the machine, and the versions."""
    gpus = ", ".join(environment["gpus"]) or "no GPU"
    load = environment["load_average"]
    busy = "" if load is None else f"; load average {load:.1f} before the start"
    packages = environment["packages"]
    versions = [f"{shown} {packages[name]}" for name, shown in SHOWN.items() if packages.get(name)]
    computer = f"{environment['cpu']}, {environment['cores']} cores; {gpus}{busy}"
    return f"{computer}\n{', '.join([*versions, 'Python ' + environment['python']])}"
