"""A command that leaves no status of its own, with one: python -m launch.noted FOLDER train.cache --config ...

FOLDER/status.json says what a run's does: running, then done, preempted or failed.
"""

from __future__ import annotations

import os
import runpy
import sys
from pathlib import Path
from typing import Any

from configs import stopping
from train.run_folder import status_file


def main() -> None:
    """Run the module as python -m does, and leave with its exit code. The first process of a launcher writes."""
    sys.argv = sys.argv[1:]
    folder = Path(sys.argv[0])
    sys.argv = sys.argv[1:]
    first = os.environ.get("RANK", "0") == "0"
    code: Any = 1
    if first:
        _note(folder, "running", None)
    try:
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as end:
        code = end.code or 0
        raise
    finally:
        ends = {0: "done", stopping.StoppedError.exit_code: "preempted"}
        if first:
            _note(folder, ends.get(code, "failed"), code if isinstance(code, int) else 1)


def _note(folder: Path, state: str, code: int | None) -> None:
    status_file.write(folder, {"state": state, "exit_code": code, **status_file.process()})


if __name__ == "__main__":
    stopping.install()
    main()
