"""Run folders as one table: python -m launch.status runs/sweeps/digits_kd [--watch] [--sort KEY] [--plot sweep.png]

Every run below the folder is a row; so are stages, below their chain, and points of a sweep that have not begun.
`lost` means that the folder says running and its process is gone: start the same command again.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from rich.console import Console

from configs.arguments import Parser
from configs.errors import InputError, UsageError
from configs.tables import PlainConsole
from launch.commands import suggestion
from launch.status import runs
from launch.status.runs import Run
from launch.status.table import Found
from train.run_folder.status import STATES

SECONDS = 10.0
"""Interval of --watch."""
PICTURES = (".png", ".pdf", ".svg")
ORDERS: dict[str, Callable[[Run], Any]] = {
    "run": lambda run: str(run.path),
    "state": lambda run: STATES.index(run.state),
    "epoch": lambda run: run.epoch,
    "validation": lambda run: _negative(run.validation),
    "test": lambda run: _negative(run.test),
    "parameters": lambda run: run.parameters,
    "macs": lambda run: run.macs,
    "left": lambda run: run.left,
    "starts": lambda run: run.starts,
}
"""Accuracies in descending order, everything else ascending."""
PIPE_WIDTH = 240


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = Parser(prog="python -m launch.status", description="All runs below a folder.", allow_abbrev=False)
    made.add_argument("folder", type=Path, metavar="DIR", help="a folder of runs, of a sweep, or of one run")
    looks = made.add_mutually_exclusive_group()
    meaning = f"look again every so many seconds ({SECONDS:g}), until Ctrl-C"
    looks.add_argument("--watch", type=float, nargs="?", const=SECONDS, metavar="SECONDS", help=meaning)
    looks.add_argument("--json", action="store_true", help="print one JSON object")
    looks.add_argument(
        "--plot", type=Path, metavar="FILE", help="draw accuracy against what varies: .png, .pdf or .svg"
    )
    made.add_argument(
        "--test", action="store_true", help="show accuracy on test for a sweep, too; choose by validation"
    )
    known = ", ".join(ORDERS)
    made.add_argument(
        "--sort", metavar="KEY", help=f"{known}, or a key that a sweep varies; a sweep begins with its best"
    )
    return made


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table."""
    options = parser().parse_args(argv)
    if options.watch is not None and not options.watch > 0:
        raise UsageError(f"--watch is {options.watch:g}; it must be positive")
    if options.plot is not None and options.plot.suffix not in PICTURES:
        raise UsageError(f"--plot is {options.plot}; expected a file that ends with {', '.join(PICTURES)}")
    if options.watch is not None:
        watch(options.folder, options.sort, options.watch, test=options.test)
        return
    found = look(options.folder, options.sort, test=options.test)
    if options.json:
        sys.stdout.write(json.dumps(found.as_json(), indent=2) + "\n")
        return
    found.print(_console())
    if options.plot is not None:
        from launch.status import plot  # matplotlib takes a second

        plot.write(options.plot, found.rows, found.varied)
        print(f"{options.plot} shows {len([run for run in found.rows if run.validation is not None])} runs")


def look(folder: Path, order: str | None, *, test: bool = False) -> Found:
    """Read all run folders. InputError: there are none. UsageError: they cannot be sorted like this."""
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder")
    rows, faults = runs.collect(folder)
    rows = [run for run in rows if not (run.agent and run.state == "done")]
    if not rows:
        raise InputError("; ".join(faults) or f"{folder} holds no run: no folder below it has a status.json")
    found = Found(folder, rows, faults)
    if order is not None and order not in (*ORDERS, *found.varied):
        raise UsageError(f"--sort is {order}; {suggestion(order, [*ORDERS, *found.varied])}")
    asked = test or order == "test"
    return Found(folder, sorted(rows, key=_order(order, bool(found.varied))), faults, asked)


def watch(folder: Path, order: str | None, seconds: float, *, test: bool = False) -> None:
    """Show the table again every `seconds`, until Ctrl-C."""
    with suppress(KeyboardInterrupt):
        while True:
            found, console = look(folder, order, test=test), _console()
            console.clear()
            found.print(console)
            console.print(f"{time.strftime('%H:%M:%S')}, every {seconds:g} s; Ctrl-C ends")
            time.sleep(seconds)


def _order(key: str | None, sweep: bool) -> Callable[[Run], Any]:
    """The sort key. By default a sweep begins with its best finished run; other folders go by name."""
    if key is None and sweep:
        return lambda run: (run.state != "done", _last(_negative(run.validation)), STATES.index(run.state))
    if key is None or key in ORDERS:
        return lambda run: _last(ORDERS[key or "run"](run))
    return lambda run: _natural(run.overrides.get(key, ""))


def _last(value: Any) -> tuple[bool, Any]:
    """Unknown values last."""
    return (value is None, 0 if value is None else value)


def _natural(text: str) -> tuple[bool, float, str]:
    """Numbers by their size, before words."""
    try:
        return (False, float(text), "")
    except ValueError:
        return (True, 0.0, text)


def _negative(value: float | None) -> float | None:
    return None if value is None else -value


def _console() -> Console:
    """As wide as the terminal; in a pipe, as wide as the table."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else PIPE_WIDTH
    return PlainConsole(width=width, soft_wrap=True)
