"""Networks of the user's own code in a run: its copy in the run folder, the same on all processes and after a restart.

RUN/my_net.py   the file as it was when the run began
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from accelerate import Accelerator
from accelerate.utils import gather_object

from configs import records
from configs.errors import InputError
from configs.files import write_atomically
from models.own import registry
from models.own.code import Code, Names, listed
from train.processes import by_main
from train.run_folder.run_dir import RunDir


def register(config: Any, folder: RunDir, *, prefer_copy: bool = False) -> tuple[Code, ...]:
    """Let networks of the code that a config names be built and loaded. UsageError: a file is missing."""
    names = tuple(dict.fromkeys(registry.names_in(config)))
    found = registry.register(names, copies=folder.path, prefer_copy=prefer_copy)
    registry.require_one_file_each(found)
    return found


def keep(config: Any, folder: RunDir, accelerator: Accelerator) -> None:
    """Register the code of a config, and copy it into the run folder, which is open. Collective.

    InputError: the copy there is of another file, with which the run began, or processes read different files.
    """
    found = register(config, folder)
    if not found:
        return
    by_main(accelerator, lambda: _keep_all(found, folder))
    hashes = set(gather_object([tuple(code.sha256 for code in found)]))
    if len(hashes) > 1:
        raise InputError(f"{found[0].path} changed while the processes started; start the same command again")


def register_run(run_dir: str | None, network: Names = ()) -> None:
    """Register what the user names, and the code that a run's own config.yaml names, as its copy in the run folder.

    run_dir: None for a file that is used without its run. UsageError: a file is missing, and has no copy.
    """
    folder = None if run_dir is None else RunDir.at(run_dir)
    if folder is not None and folder.config.is_file():
        register(records.from_yaml(folder.config), folder, prefer_copy=True)
    registry.register(listed(network), copies=None if folder is None else folder.path)


def _keep_all(found: Iterable[Code], folder: RunDir) -> None:
    for code in found:
        _keep(code, folder)


def _keep(code: Code, folder: RunDir) -> None:
    copy = (folder.path / code.path.name).absolute()
    if copy == code.path:
        return
    if folder.started and copy.exists() and copy.read_bytes() != code.source:
        raise InputError(
            f"{code.path} is not the file that the run in {folder.path} began with, of which {copy} is the copy. Put "
            "it back, or choose another --run_dir"
        )
    write_atomically(copy, code.source)
