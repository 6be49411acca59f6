"""The networks of a run: teacher, student, after the cuts, exported. Free of torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.spec import names_file
from train.adopt.config import TEACHER
from train.report.facts import Fact, Line, Record, Style, bare_share, combined, interval, share
from train.report.folder import WEIGHTS, RunFolder, card
from train.run_folder import status

NOTHING = Record(Path(), {})


@dataclass(frozen=True, kw_only=True, slots=True)
class Network:
    """A network and the records of it; what there is none of is empty."""

    name: str
    file: Path
    """Its weights, which need not be there."""
    folder: RunFolder | None = None
    """The run that trained it."""
    result: Record = NOTHING
    evaluation: Record = NOTHING
    header: Record = NOTHING
    """The card of its file."""
    exported: Record = NOTHING
    """export.json, if it is in there."""
    side: str = ""
    """Under which name it is in there."""

    def count(self, style: Style, key: str) -> Fact | None:
        """Return parameters, nonzero, macs or bytes."""
        return self.result.fact(style, key) or self.header.fact(style, "card", "cost", key)

    @property
    def split(self) -> str | None:
        """The split of `accuracy`."""
        if self.result.number("accuracy") is not None:
            return self.result.text("accuracy_split")
        return next((name for name in ("test", "validation") if self.header.get("card", "scores", name)), None)

    @property
    def accuracy(self) -> Fact | None:
        """On test where there is one, otherwise on validation."""
        return self.result.fact(share, "accuracy") or self._scored("share", self.split)

    @property
    def interval(self) -> Line | None:
        """The 95 % interval of `accuracy`."""
        ends = [self.result.fact(bare_share, "accuracy_interval_95", end) for end in (0, 1)]
        if None in ends:
            ends = [self._scored(end, self.split, bare_share) for end in ("wilson_low", "wilson_high")]
        return interval(ends)

    @property
    def validation(self) -> Fact | None:
        """Accuracy on validation."""
        found = self.result.fact(share, "validation_accuracy") or self._scored("share", "validation")
        if found is None and self.folder is not None:
            return self.folder.status.fact(share, "validation_accuracy")  # of the last epoch so far
        return found

    @property
    def validation_images(self) -> int | None:
        """How many images that is over."""
        found = self.header.number("card", "scores", "validation", "total")
        return None if found is None else round(found)

    def _scored(self, operation: str, split: str | None, style: Style = share) -> Fact | None:
        if split is None:
            return None
        places = [(self.header, ("card", "scores", split, key)) for key in ("correct", "total")]
        return combined(style, operation, *places)


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """What a report is about."""

    folder: RunFolder
    final: Network
    """What the run is for."""
    teacher: Network | None = None
    student: Network | None = None
    """Before the cuts; None: nothing was cut."""

    @property
    def networks(self) -> list[Network]:
        """Those that there are, from left to right."""
        found = [self.teacher, self.student, self.final, self._exported()]
        return [network for network in found if network is not None]

    def _exported(self) -> Network | None:
        if not self.folder.export:
            return None
        return Network(name="exported", file=self.final.file, exported=self.folder.export, side="exported")


def subject(folder: RunFolder) -> Subject:
    """Find the networks of a run."""
    config, kind = folder.config, folder.kind
    own = {"compress": "cut", "prune": "cut", "distill": "student"}.get(kind, "network")
    final = of_run(own, folder, exported=folder.export, side="exported")
    teacher, student = None, None
    if kind == "compress" and (stage := folder.stage("teacher")) is not None:
        teacher = of_run("teacher", stage, exported=folder.export, side="against")
    elif kind in ("compress", "prune", "distill"):
        teacher = _of_file("teacher", config.get("teacher"), folder)
    if kind == "compress" and (stage := folder.stage("student")) is not None:
        student = of_run("student", stage)
    elif kind == "prune":
        named = config.get("student")
        student = _of_file("student", named.get("name") if isinstance(named, dict) else None, folder)
    return Subject(folder=folder, final=final, teacher=teacher, student=student)


def of_run(name: str, folder: RunFolder, *, exported: Record = NOTHING, side: str = "") -> Network:
    """Return the network that a run trained."""
    return Network(
        name=name,
        file=folder.path / WEIGHTS,
        folder=folder,
        result=folder.result,
        evaluation=folder.evaluation,
        header=folder.header,
        exported=exported,
        side=side,
    )


def _of_file(name: str, file: Any, user: RunFolder) -> Network | None:
    """Return a network by its file of weights: that of a run where it lies in one. None: no file is named."""
    if not isinstance(file, str) or not names_file(file):
        return None
    adopted = user.path / TEACHER
    path = adopted if name == "teacher" and adopted.exists() else Path(file)
    home = path.parent
    if path.name == WEIGHTS and home.is_dir() and status.is_run({entry.name for entry in home.iterdir()}):
        return of_run(name, RunFolder(home, user.faults))
    against = user.export if user.export.get("networks", "against", "path") == file else NOTHING
    header = card(path, user.faults)
    return Network(name=name, file=path, header=header, exported=against, side="against" if against else "")
