"""One trial of a wandb sweep, as an element of a job array: python -m launch.agent ENTITY/PROJECT/SWEEP DIR SECONDS

The exit code tells the batch script what to do, and DIR/status.json says the same:

    done        the trial is done, or wandb stopped it, or the sweep had no trial left
    preempted   the agent was told to stop. The trial saved and marked its wandb run as preempting, so that wandb queues
                it again. The element is queued again too, and its next agent takes that trial or another. Any agent
                that takes it resumes from the checkpoint: the run folder follows from the parameters.
    failed      the trial failed, or there was no way to get one

An agent is signalled once, and forwards SIGTERM to its trial (--forward-signals). Free of torch and of wandb.
"""

from __future__ import annotations

if __name__ == "__main__":  # before slower imports
    from configs import stopping

    stopping.install()

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from configs import locks, reader, stopping
from configs.arguments import Parser
from configs.errors import ExitCode
from launch.trial import AGENT, NOTE
from train.run_folder import status

End = tuple[status.Stored, dict[str, Any]]
"""The state that an agent ends in, and its exit code and reason."""
SECONDS = status.QUIET / 5
"""Between two touches of an agent's status."""
EARLY = "told to stop before there was a trial"


def main(argv: Sequence[str] | None = None) -> int:
    """Let an agent run one trial, and return the exit code of its end."""
    parser = Parser(prog="python -m launch.agent", description="One trial of a wandb sweep.", allow_abbrev=False)
    parser.add_argument("sweep", metavar="ENTITY/PROJECT/SWEEP")
    parser.add_argument("folder", type=Path, metavar="DIR", help="for status.json")
    parser.add_argument("seconds", type=int, metavar="SECONDS", help="how long a trial that is told to stop may save")
    options = parser.parse_args(argv)
    folder: Path = options.folder
    with at_work(folder):
        words = [*agent_words(options.sweep), "--count", "1", "--term-timeout", str(options.seconds)]
        state, end = work(folder, words)
        note(folder, state, end)
    return int(end["exit_code"])


def work(folder: Path, words: Sequence[str]) -> End:
    """Start an agent of wandb, and wait for its end."""
    (folder / NOTE).unlink(missing_ok=True)  # an earlier attempt's
    note(folder, "running", {"exit_code": None})
    agents = Agents()
    if stopping.requested():
        return _end("preempted", ExitCode.STOPPED, EARLY)
    agents.start(words, os.environ | {AGENT: str(folder.absolute())})
    (code,) = agents.wait()
    return ending(folder, code, told=agents.told)


@contextmanager
def at_work(folder: Path) -> Iterator[None]:
    """Hold the lock of the agent's folder, and touch its status: without either, an agent elsewhere counts as lost."""
    done = threading.Event()
    with locks.alone(folder, lambda: f"another agent is at work in {folder}; wait for it"):
        threading.Thread(target=_beat, args=(folder, done), name="beat", daemon=True).start()
        try:
            yield
        finally:
            done.set()


def _beat(folder: Path, done: threading.Event) -> None:
    while not done.wait(SECONDS):
        status.touch(folder)


def agent_words(sweep: str) -> list[str]:
    """The command of a wandb agent that forwards signals to its trial."""
    return [sys.executable, "-m", "wandb", "agent", "--forward-signals", sweep]


def ending(folder: Path, code: int, *, told: bool) -> End:
    """State, exit code and reason of an agent's end.

    Args:
        folder: The agent's folder.
        code: Exit code of wandb's agent.
        told: Whether it was told to stop.
    """
    try:
        trial = Path((folder / NOTE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        if told:
            return _end("preempted", ExitCode.STOPPED, EARLY)
        return (
            _end("failed", code, "the agent got no trial") if code else _end("done", 0, "the sweep had no trial left")
        )
    said = status.read(trial)
    state, own = said.get("state"), said.get("exit_code")
    if state == "done":
        return _end("done", 0, f"{trial} is done")
    if told and state in ("preempted", "running"):
        return _end("preempted", ExitCode.STOPPED, f"{trial} was stopped")
    if state == "preempted":
        return _end("done", 0, f"{trial} was stopped by wandb")
    reason = f"{trial}: {said.get('reason') or 'ended without a status'}"
    return _end("failed", own if isinstance(own, int) and 0 < own < 256 else ExitCode.FAILED, reason)


def note(folder: Path, state: status.Stored, values: Mapping[str, Any]) -> None:
    """Write the agent's status."""
    status.write(folder, state, {**values, "kind": "agent", **status.process()})


class Agents:
    """Processes that are signalled together, once, when this one is."""

    def __init__(self) -> None:
        self.told = False
        self._running: list[subprocess.Popen[bytes]] = []
        for name in (*stopping.SIGNALS, "SIGINT", "SIGHUP"):
            number = getattr(signal, name, None)  # Windows lacks some
            if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._tell)

    def start(self, words: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start one in a session of its own: Ctrl-C reaches it as a SIGTERM from here, and its trial saves."""
        process = subprocess.Popen(words, env=environment, start_new_session=True)
        self._running.append(process)
        if self.told:  # the signal came before it was listed
            process.terminate()

    def wait(self) -> list[int]:
        """Wait for all; their exit codes."""
        return [process.wait() for process in self._running]

    def _tell(self, number: int, frame: FrameType | None) -> None:
        if not self.told:
            self.told = True
            for process in self._running:
                process.terminate()


def _end(state: status.Stored, code: int, reason: str) -> End:
    return state, {"exit_code": code, "reason": reason}


if __name__ == "__main__":
    reader.command(lambda: sys.exit(main()))
