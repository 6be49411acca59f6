"""What this machine can do: python -m launch.doctor [--config FILE ...] [--data.source S] [--data.root DIR] [--json]

For a person who is about to start, or whose run is slow: a line for each thing that matters, with what to do about it,
then which executor each config would get here, and why. Exit code 1 only where nothing at all can run.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from configs.arguments import Parser
from configs.home import cache_folder
from configs.tables import PlainConsole, plain_table
from data_pipes.spec import SOURCES
from launch.doctor import forecast, gpus, machine, precision, software
from launch.doctor.checks import Check
from launch.doctor.forecast import Forecast
from train.progress import start_logging

WIDTH = 100
STYLES = {"ok": "green", "warning": "yellow", "problem": "bold red"}


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = Parser(prog="python -m launch.doctor", description="What this machine can do.", allow_abbrev=False)
    meaning = "a training config, for which the data set is looked at too; repeatable, each is judged by itself"
    made.add_argument("--config", action="append", default=[], metavar="FILE", help=meaning)
    made.add_argument("--data.root", dest="root", metavar="DIR", help="the folder of the data set, instead of theirs")
    meaning = f"the kind of the data set, likewise; without --config, it is judged by itself: {', '.join(SOURCES)}"
    made.add_argument("--data.source", dest="source", metavar="SOURCE", help=meaning)
    made.add_argument("--json", action="store_true", help="print one JSON object")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Print the report. Exit code 1 if there is a problem, which stops every run."""
    options = parser().parse_args(argv)
    configs = forecast.read_configs(options.config, options.root, options.source)
    start_logging(main_process=True)
    checks, forecasts = examine(configs)
    if options.json:
        sys.stdout.write(json.dumps(report(checks, forecasts), indent=2) + "\n")
    else:
        width = min(WIDTH, shutil.get_terminal_size((WIDTH, 24)).columns)
        show(checks, forecasts, PlainConsole(width=width))
    return 1 if worst(checks) == "problem" else 0


def examine(configs: Sequence[forecast.TrainingConfig]) -> tuple[list[Check], list[Forecast]]:
    """All checks, and the forecasts if what they need can be imported at all."""
    checks = software.checks()
    folders = {"run folder": Path.cwd()}
    if worst(checks) == "problem":
        return [*checks, *machine.checks(folders, gpus=0)], []
    folders["cache folder"] = cache_folder()
    checks += gpus.checks()
    checks += machine.checks(folders, gpus.number())
    device = gpus.training_device()
    if device.type == "cpu":
        checks.append(precision.check())
    return checks, [forecast.predict(config, device) for config in configs]


def worst(checks: Sequence[Check]) -> str:
    """The gravest level among them."""
    levels = {check.level for check in checks}
    return next((level for level in ("problem", "warning") if level in levels), "ok")


def report(checks: Sequence[Check], forecasts: Sequence[Forecast]) -> dict[str, Any]:
    """What --json prints."""
    return {
        "level": worst(checks),
        "checks": [asdict(check) for check in checks],
        "executors": [asdict(one) for one in forecasts],
    }


def show(checks: Sequence[Check], forecasts: Sequence[Forecast], console: Console) -> None:
    """What a person reads."""
    console.print(check_table(checks))
    if forecasts:
        console.print(forecast_table(forecasts))
    else:
        console.print("Executors cannot be judged before the problems above are mended.")


def check_table(checks: Sequence[Check]) -> Table:
    """One row per check, advice below what was found."""
    table = plain_table()
    table.add_column("check", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("found")
    for check in checks:
        found = Text(check.found)
        if check.advice:
            found.append(f"\n-> {check.advice}", "bold")
        table.add_row(check.name, Text(check.level, STYLES[check.level]), found)
    return table


def forecast_table(forecasts: Sequence[Forecast]) -> Table:
    """One row per outcome: configs that share data and executor share it."""
    table = plain_table("Executor that each config would get here")
    for column in ("config", "training images", "executor", "why"):
        table.add_column(column, no_wrap=column in ("config", "executor"))
    names: dict[tuple[str, str, str], list[str]] = {}
    for one in forecasts:
        names.setdefault((_images(one), one.executor, one.reason), []).append(one.config)
    for (images, executor, reason), configs in names.items():
        table.add_row("\n".join(configs), images, executor, reason)
    return table


def _images(one: Forecast) -> str:
    size = f"{one.images:,} of up to {one.largest_side} px" if one.images else f"{one.source}: not read"
    return f"{size} (assumed: {one.assumed})" if one.assumed else size
