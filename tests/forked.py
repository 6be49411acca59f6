"""Commands in processes of their own, without the seconds that each would spend on importing torch.

A server imports it once and forks for every process; it has computed nothing, and opened no device, before it does.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import socket
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(
    [
        "train.compress.chain",
        "train.predict.prediction",
        "models.export.side_by_side",
        "sklearn.datasets",
        "matplotlib.backends.backend_agg",
        "matplotlib.figure",
    ]
)
LIMIT = 600  # seconds

KILL = """
import os, pkgutil, signal
owner, name, left = pkgutil.resolve_name({owner!r}), {name!r}, {nth}
real = getattr(owner, name)
def deadly(*args, **kwargs):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*args, **kwargs)
setattr(owner, name, deadly)
"""


@dataclass(frozen=True)
class Ended:
    """How a process ended, and what it had written."""

    code: int
    stdout: str
    stderr: str


def run(module: str, *words: str, prelude: str = "", cwd: Path | None = None) -> Ended:
    """`python -m module words`, after the source `prelude`."""
    (ended,) = run_world(1, module, *words, prelude=prelude, cwd=cwd)
    return ended


def run_world(processes: int, module: str, *words: str, prelude: str = "", cwd: Path | None = None) -> list[Ended]:
    """The same on several processes that know each other as those of torchrun do."""
    with tempfile.TemporaryDirectory() as folder, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        ranks = [_environment(rank, processes, port) if processes > 1 else {} for rank in range(processes)]
        homes = [Path(folder) / str(rank) for rank in range(processes)]
        started = []
        for home, environment in zip(homes, ranks, strict=True):
            home.mkdir()
            started.append(SERVER.Process(target=_begin, args=(home, environment, cwd, module, words, prelude)))
            started[-1].start()
        try:
            for process in started:
                process.join(LIMIT)
                assert process.exitcode is not None, f"{module} runs on and on"
        finally:
            for process in started:
                process.kill()
        codes = [process.exitcode for process in started]
        return [Ended(c, *((h / n).read_text() for n in ("out", "err"))) for c, h in zip(codes, homes, strict=True)]


def killed_at(place: str, nth: int) -> str:
    """A prelude after which call `nth` of a function, `package.module:Class.name`, is the end, as by SIGKILL."""
    module, _, path = place.partition(":")
    owner, _, name = path.rpartition(".")
    return KILL.format(owner=f"{module}:{owner}" if owner else module, name=name, nth=nth)


def _environment(rank: int, processes: int, port: int) -> dict[str, str]:
    own = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes, "LOCAL_WORLD_SIZE": processes}
    return {key: str(value) for key, value in own.items()} | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}


def _begin(
    home: Path, environment: dict[str, str], cwd: Path | None, module: str, words: tuple[str, ...], prelude: str
) -> None:
    for descriptor, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(home / name, os.O_WRONLY | os.O_CREAT), descriptor)
    os.environ.update(environment)
    os.chdir(cwd or os.curdir)
    exec(prelude, {})
    sys.argv = [module, *words]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
