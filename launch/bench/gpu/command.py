"""The parts in turn, each in a process of its own, and the document of what they found. Free of torch.

machine       what is here: decides whether this is a measurement or a trial on the CPU
each part     python -m launch.bench.gpu PART ..., with a time limit; its output goes to FOLDER/PART.log
after each    FOLDER/report.md and report.json, and on a GPU the document and its JSON
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any, Literal, NoReturn

from configs import records
from configs.errors import InputError, UnavailableError, UserError
from configs.figures import counted
from configs.files import write_atomically
from configs.shown import printable
from launch.bench.gpu import child, document
from launch.bench.gpu.config import GpuConfig
from launch.bench.gpu.order import PARTS, Part
from launch.bench.gpu.result import Outcome, Result, State, plain, read, result_of

MODULE = "launch.bench.gpu"
MACHINE_SECONDS = 60
SLOWER = 2
"""Factor of the time limits on a CPU, where processes take longer to start."""
CANNOT = "cannot run"
"""Key of an answer that is a reason rather than a result."""
Device = Literal["cuda", "cpu"]


class FoundError(UserError):
    """A part did not end well: it failed, or found what is not as it should be."""


def run(config: GpuConfig) -> None:
    """Run the parts and write what they found. UnavailableError: there is no GPU. FoundError: a part did not end well.

    InputError: the JSON beside the document is damaged.
    """
    read(Path(config.output).with_suffix(".json"))  # a damaged one is refused now, and not after the first part
    folder = Path(config.folder)
    folder.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, _leave)
    with tempfile.TemporaryDirectory(prefix="work-", dir=folder, ignore_cleanup_errors=True) as work:
        calls = Calls(config, folder, Path(work).absolute())
        calls.look()
        for part in PARTS:
            if part.name in (config.parts or [part.name for part in PARTS]):
                calls.take(part)
    calls.conclude()


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)  # so that the running part is ended, and the work folder removed


@dataclass
class Calls:
    """The parts that have been run, and what they share."""

    config: GpuConfig
    folder: Path
    work: Path
    device: Device = "cpu"
    machine: str = ""
    commit: str | None = None
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    begun: float = field(default_factory=time.monotonic)

    def look(self) -> None:
        """Find out what is here. UnavailableError: torch cannot be imported, or a GPU is asked for and missing."""
        asked = self.config.device
        ended, answer = self._start("machine", MACHINE_SECONDS, "cpu" if asked == "cpu" else "cuda")
        if ended.code != 0 or answer is None:
            log = self.folder / "machine.log"
            raise UnavailableError(f"this machine could not be looked at, which takes torch: {ended.said}; see {log}")
        found = records.typed(Path("machine"), answer, {"gpus": list[str], "machine": str, "commit": str | None})
        if asked == "cuda" and not found["gpus"]:
            raise UnavailableError(
                "device is cuda, and torch finds no NVIDIA GPU here; python -m launch.doctor says why"
            )
        self.device = "cuda" if found["gpus"] and asked != "cpu" else "cpu"
        self.machine, self.commit = found["machine"], found["commit"]
        self._say(self.machine)
        if self.device == "cpu":
            self._say(f"on the CPU, in a small form: {self.config.output} stays as it is; see {self._report('.md')}")

    def take(self, part: Part) -> None:
        """Run one part to its end, whatever that is, and write it down."""
        left = 60 * self.config.minutes - (time.monotonic() - self.begun)
        if left <= 0:
            reason = f"{self.config.minutes:g} minutes were over"
            outcome = self._outcome("left out", 0.0, reason)
        else:
            seconds = part.seconds * (SLOWER if self.device == "cpu" else 1)
            outcome = self._ended(part, *self._start(part.name, min(left, seconds), self.device))
        self.outcomes[part.name] = outcome
        self._say(f"{part.name}: {document.how(outcome)}")
        if self.device == "cpu":
            self._say(f"    without a GPU not tried: {part.unseen}")
        for what, reason in outcome.result.left_out.items():
            self._say(f"    left out: {what}: {reason}")
        self._write()

    def conclude(self) -> None:
        """Say where the figures are. FoundError: a part failed, or found a fault."""
        if self.config.json:
            sys.stdout.write(json.dumps(plain(self.outcomes)) + "\n")
        self._say(f"written: {self._report('.md')}" + (f", {self.config.output}" if self.device == "cuda" else ""))
        bad = [name for name, outcome in self.outcomes.items() if outcome.state in ("faults", "failed", "timed out")]
        if bad:
            whole = counted(len(self.outcomes), "part")
            raise FoundError(f"{len(bad)} of {whole} did not end well: {', '.join(bad)}; see {self._report('.md')}")

    def _start(self, name: str, seconds: float, device: Device) -> tuple[child.Ended, Any]:
        """Run a part; how it ended, and its answer if there is one."""
        answer = self.work / f"{name}.json"
        words = ["--device", device, "--work", self.work, "--answer", answer]
        data = self.config.data or os.environ.get("HEARTCUT_DATA")
        words += ["--data", Path(data).absolute()] if data else []
        variables = child.environment(device, self.work, os.environ)
        ended = child.run(child.python(MODULE, name, *words), variables, self.folder / f"{name}.log", seconds)
        try:
            return ended, records.from_json(answer) if answer.exists() else None
        except InputError:
            return ended, None

    def _ended(self, part: Part, ended: child.Ended, answer: Any) -> Outcome:
        log = self.folder / f"{part.name}.log"
        if ended.code is None:
            return self._outcome("timed out", ended.seconds, f"where it was is in {log}")
        if ended.code != 0 or answer is None:
            said = ended.said.replace(f"{self.work}/", "").replace(f"{child.ROOT}/", "") or "it said nothing"
            return self._outcome("failed", ended.seconds, f"exit code {ended.code}: {said}; see {log}")
        if CANNOT in answer:
            return self._outcome("left out", ended.seconds, str(answer[CANNOT]))
        result = result_of(log, answer)
        return replace(self._outcome("faults" if result.faults else "done", ended.seconds), result=result)

    def _outcome(self, state: State, seconds: float, reason: str = "") -> Outcome:
        date = datetime.now(UTC).strftime("%Y-%m-%d %H:%M")
        return Outcome(
            state=state, reason=reason, seconds=round(seconds, 1), date=date, machine=self.machine, commit=self.commit,
            result=Result(),
        )  # fmt: skip

    def _report(self, suffix: str) -> Path:
        return self.folder / f"report{suffix}"

    def _write(self) -> None:
        """The report of this call; on a GPU also the document, in which the other parts keep what they have."""
        trial = self.device == "cpu"
        _both(self._report(".md"), self.outcomes, trial=trial)
        if not trial:
            output = Path(self.config.output)
            _both(output, read(output.with_suffix(".json")) | self.outcomes, trial=False)

    def _say(self, line: str) -> None:
        if not self.config.json:
            print(printable(line), flush=True)


def _both(path: Path, outcomes: dict[str, Outcome], *, trial: bool) -> None:
    write_atomically(path, document.markdown(outcomes, trial=trial))
    write_atomically(path.with_suffix(".json"), json.dumps(plain(outcomes), indent=1) + "\n")
