"""result.json of a folder, once all of its runs are done: python -m launch.submit.conclude FOLDER

Each element of an array starts it after its run, so that the last one of the folder writes the file; also runs count
that launch.submit is not asked for any more. Free of torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from configs import reader
from configs.arguments import Parser
from configs.errors import InputError
from configs.shown import printable
from configs.tables import PlainConsole
from launch.submit import report, summary
from train.run_folder.result import NAME


def main(argv: Sequence[str] | None = None) -> None:
    """Write result.json if all runs in a folder are done, and print its table. InputError: no sweep is there."""
    parser = Parser(prog="python -m launch.submit.conclude", description=__doc__, allow_abbrev=False)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="what --folder of launch.submit named")
    home: Path = parser.parse_args(argv).folder
    found = summary.folders(home)
    if not found:
        raise InputError(f"{home} is no folder of launch.submit: neither it nor main/ in it has a sweep.json")
    if all(folder.is_done(run.id) for folder in found for run in folder.load().runs):
        conclude(home)


def conclude(home: Path) -> None:
    """Write result.json of the runs that are done, and print it if it says more than they do."""
    try:
        values = summary.write(home)
    except InputError as error:
        print(printable(f"{home / NAME} is not written: {error}"))
        return
    if values["differences"] or any(group["n"] > 1 for group in values["groups"]):
        PlainConsole(width=report.WIDTH).print(summary.table(values))
    print(printable(f"{home / NAME} has the figures, with each run"))


if __name__ == "__main__":
    reader.command(main)
