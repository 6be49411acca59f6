"""What a run folder holds, read while a run writes it, after it failed, or when files are damaged. Free of torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import safetensors

from configs import records
from configs.errors import InputError
from configs.files import json_object, read_regular
from configs.shown import printable
from train.charts import series
from train.charts.series import Curves
from train.report.facts import Record
from train.run_folder import status
from train.run_folder.status import State

Kind = Literal["compress", "prune", "distill", "teacher", "unknown"]
WEIGHTS = "model.safetensors"


# No slots: cached_property stores what was read in the instance's __dict__.
@dataclass(frozen=True)
class RunFolder:
    """One run or chain. A file that is missing counts as empty; one that is damaged, too, and is named in `faults`."""

    path: Path
    faults: list[str] = field(default_factory=list)

    @cached_property
    def status(self) -> Record:
        """status.json."""
        return self._object(status.NAME)

    @property
    def state(self) -> State:
        """How the run stands."""
        return status.state(self.path, dict(self.status.values) if isinstance(self.status.values, dict) else {})

    @cached_property
    def result(self) -> Record:
        """result.json."""
        return self._object("result.json")

    @cached_property
    def environment(self) -> Record:
        """environment.json."""
        return self._object("environment.json")

    @cached_property
    def export(self) -> Record:
        """export.json."""
        return self._object("export.json")

    @cached_property
    def before(self) -> Record:
        """before.json: accuracy just after a cut."""
        return self._object("before.json")

    @cached_property
    def cut(self) -> Record:
        """cut.json: what was cut."""
        return self._object("cut.json")

    @cached_property
    def ledger(self) -> Record:
        """ledger.json: a list with an entry per cut."""
        path = self.path / "ledger.json"
        found: Any = []
        try:
            found = json.loads(read_regular(path))
        except FileNotFoundError:
            pass
        except (OSError, ValueError, RecursionError):
            found = None
        if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
            self.faults.append(f"{path} is damaged")
            return Record(path, [])
        return Record(path, found)

    @cached_property
    def evaluation(self) -> Record:
        """evaluation-SPLIT.json of the run's own images: of test, or else of validation; not of earlier weights."""
        found = [self._object(f"evaluation-{split}.json") for split in ("test", "validation", "all")]
        return next((record for record in found if record and not self._of_others(record)), Record(found[0].path, {}))

    def _of_others(self, evaluation: Record) -> bool:
        """Whether other weights were evaluated than the run's, which it had before it was extended."""
        evaluated, own = evaluation.text("weights"), self.result.text("sha256")
        return None not in (evaluated, own) and evaluated != own

    @cached_property
    def config(self) -> Mapping[str, Any]:
        """config.yaml."""
        path = self.path / "config.yaml"
        if not path.exists():
            return {}
        try:
            return records.from_yaml(path)
        except InputError as error:
            self.faults.append(str(error))
            return {}

    @cached_property
    def header(self) -> Record:
        """The card in the header of model.safetensors."""
        return card(self.path / WEIGHTS, self.faults)

    @cached_property
    def curves(self) -> Curves:
        """The curves of metrics.jsonl."""
        return series.read(self.path / "metrics.jsonl")

    @property
    def settings(self) -> Record:
        """config.yaml, for figures of it."""
        return Record(self.path / "config.yaml", self.config)

    @property
    def kind(self) -> Kind:
        """What made it, by the sections of its config."""
        config = self.config
        if "cut" in config and "student" in config:
            return "compress"
        known: tuple[tuple[str, Kind], ...] = (("prune", "prune"), ("student", "distill"), ("model", "teacher"))
        return next((kind for key, kind in known if key in config), "unknown")

    @property
    def cuts(self) -> list[RunFolder]:
        """The run folders of a chain of cuts, in order."""
        home = self.path / "cut" if self.kind == "compress" else self.path
        return [RunFolder(path, self.faults) for path in sorted(home.glob("cut-*")) if path.is_dir()]

    def stage(self, name: str) -> RunFolder | None:
        """A stage of a chain of train.compress; None: it has not begun."""
        path = self.path / name
        return RunFolder(path, self.faults) if path.is_dir() else None

    def _object(self, name: str) -> Record:
        faults: list[str] = []
        found = json_object(self.path / name, faults)
        self.faults.extend(f"{self.path / fault}" for fault in faults)
        return Record(self.path / name, found)


def require_run(path: Path) -> RunFolder:
    """Return the folder of a run. InputError: it is not there, or no run has written it."""
    if not path.is_dir():
        raise InputError(f"{path} is no folder; give the folder of a run, which holds config.yaml and status.json")
    names = {entry.name for entry in path.iterdir()}
    if not status.is_run(names):
        raise InputError(
            f"{path} is no run folder: it has neither a status.json nor two other files of a run, such as config.yaml "
            "and metrics.jsonl; give the --run_dir of a training"
        )
    return RunFolder(path)


def card(path: Path, faults: list[str]) -> Record:
    """Return the card of a file of weights, without reading the weights; what is wrong with it is added to `faults`."""
    if not path.is_file():
        return Record(path, {})
    try:
        with safetensors.safe_open(path, framework="np") as file:
            header = json.loads((file.metadata() or {})["heartcut"])
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        return Record(path, {"card": header["card"], "shapes": shapes | dict(header.get("packed", {}))})
    except (safetensors.SafetensorError, OSError, KeyError, TypeError, ValueError, RecursionError) as error:
        faults.append(f"{path} is damaged: its header cannot be read ({printable(str(error))})")
        return Record(path, {})
