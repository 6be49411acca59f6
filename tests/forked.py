"""Commands in processes of their own, without the seconds that each would spend on importing torch.

A server imports it once and forks for every process; it has computed nothing, and opened no device, before it does.
"""

from __future__ import annotations

import gc
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
        "torch._inductor",  # the first optimizer imports it
        "torchvision",
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


class Running:
    """A process that goes on until it ends or is told to."""

    def __init__(self, environment: dict[str, str], cwd: Path | None, words: tuple[str, ...], prelude: str) -> None:
        self._home = tempfile.TemporaryDirectory()
        self._words = words
        self._process = SERVER.Process(target=_begin, args=(Path(self._home.name), environment, cwd, words, prelude))
        self._process.start()

    def tell(self, number: int) -> None:
        """Send a signal."""
        assert self._process.pid is not None
        os.kill(self._process.pid, number)

    def wait(self) -> Ended:
        """Wait until it ends; an assertion fails if it runs on and on."""
        try:
            self._process.join(LIMIT)
            code = self._process.exitcode
            assert code is not None, f"{self._words[0]} runs on and on"
            written = (Path(self._home.name, name) for name in ("out", "err"))
            return Ended(code, *(path.read_text() if path.exists() else "" for path in written))
        finally:
            self.kill()

    def kill(self) -> None:
        """End it at once, unless it has ended, and forget what it wrote."""
        self._process.kill()
        self._process.join()
        self._home.cleanup()


def start(*words: str, prelude: str = "", cwd: Path | None = None) -> Running:
    """Begin `python -m module words`, or `python file.py words`, after the source `prelude`."""
    return Running({}, cwd, words, prelude)


def run(*words: str, prelude: str = "", cwd: Path | None = None) -> Ended:
    """Likewise, to the end."""
    return start(*words, prelude=prelude, cwd=cwd).wait()


def start_world(processes: int, *words: str, prelude: str = "", cwd: Path | None = None) -> list[Running]:
    """Begin several processes that know each other as those of torchrun do."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ranks = [_environment(rank, processes, port) if processes > 1 else {} for rank in range(processes)]
    return [Running(environment, cwd, words, prelude) for environment in ranks]


def run_world(processes: int, *words: str, prelude: str = "", cwd: Path | None = None) -> list[Ended]:
    """Likewise, to the end."""
    started = start_world(processes, *words, prelude=prelude, cwd=cwd)
    try:
        return [one.wait() for one in started]
    finally:
        for one in started:
            one.kill()


def killed_at(place: str, nth: int) -> str:
    """A prelude after which call `nth` of a function, `package.module:Class.name`, is the end, as by SIGKILL."""
    module, _, path = place.partition(":")
    owner, _, name = path.rpartition(".")
    return KILL.format(owner=f"{module}:{owner}" if owner else module, name=name, nth=nth)


def _environment(rank: int, processes: int, port: int) -> dict[str, str]:
    own = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes, "LOCAL_WORLD_SIZE": processes}
    return {key: str(value) for key, value in own.items()} | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}


def _begin(home: Path, environment: dict[str, str], cwd: Path | None, words: tuple[str, ...], prelude: str) -> None:
    gc.freeze()  # a full collection would visit all that the server has imported, in a quarter of a second
    for descriptor, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(home / name, os.O_WRONLY | os.O_CREAT), descriptor)
    os.environ.update(environment)
    os.chdir(cwd or os.curdir)
    exec(prelude, {})
    sys.argv = [*words]
    if words[0].endswith(".py"):
        runpy.run_path(words[0], run_name="__main__")
    else:
        runpy.run_module(words[0], run_name="__main__", alter_sys=True)
