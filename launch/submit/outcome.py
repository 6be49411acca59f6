"""What a finished run has reached, with the trainings that it builds on. Free of torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configs import records
from models.spec import names_file
from train.run_folder import result

CONFIG = "config.yaml"


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """One finished run."""

    run: str
    """Its folder, as seen from the folder of all runs."""
    seed: int
    validation: float
    """Accuracy, a share."""
    test: float | None
    """Accuracy; None: test has no labels, or was not read."""
    parameters: int
    nonzero: int
    macs: int
    epochs: float
    """Passes over the training split, in all trainings that made the network; that of a starting student included."""
    seconds: float
    """Likewise."""
    images: Mapping[str, Any]
    """What the accuracies are of: the images. Equal for runs that can be compared."""


def read(folder: Path, name: str) -> Outcome:
    """Read a finished run. InputError: a file of it is missing or damaged."""
    trained = list(_trainings(folder))
    config, own = records.from_yaml(folder / CONFIG), trained[0]
    test = own["accuracy"] if own["accuracy_split"] == "test" else None
    return Outcome(
        run=name,
        seed=own.get("seed", config.get("seed", 0)),
        validation=own["validation_accuracy"],
        test=test,
        parameters=own["parameters"],
        nonzero=own.get("nonzero", own["parameters"]),
        macs=own["macs"],
        epochs=sum(map(result.passes, trained)),
        seconds=sum(one["seconds"] for one in trained),
        images=result.measured_on(config, own),
    )


def passes(folder: Path) -> float:
    """Passes of a finished run and of those that it started from; 0: no finished run is there."""
    return sum(map(result.passes, _trainings(folder))) if (folder / result.NAME).is_file() else 0


def _trainings(folder: Path) -> Iterator[dict[str, Any]]:
    """The results of a run and of those that it started from, the newest first."""
    seen: set[Path] = set()
    home: Path | None = folder
    while home is not None and home.resolve() not in seen:
        seen.add(home.resolve())
        yield result.read(home)
        home = _origin(home)


def _origin(folder: Path) -> Path | None:
    """The folder of the finished run whose network a run started from."""
    path = folder / CONFIG
    config = records.from_yaml(path) if path.is_file() else {}
    if "cut" in config:  # a chain of train.compress, whose result is that of its cuts
        return folder / "student"
    trained = config.get("student", config.get("model"))
    found = trained if isinstance(trained, dict) else {}
    name, anew = found.get("name"), found.get("from_scratch")
    if anew or not isinstance(name, str) or not names_file(name) or not (Path(name).parent / result.NAME).is_file():
        return None
    return Path(name).parent
