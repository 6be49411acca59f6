"""What all attempts at a run share in wandb, kept in RUN/wandb.json: one id and one name.

Offline, each attempt logs the whole of metrics.jsonl into a folder of its own, RUN/wandb/offline-run-DATE_TIME-ID.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

from configs import records
from configs.errors import InputError
from configs.files import write_atomically

NAME = "wandb.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Identity:
    """The id and name of a run in wandb."""

    id: str
    name: str
    recipe: str
    """Digest of the config keys that affect the result; with another recipe it is another run."""

    @classmethod
    def read(cls, folder: Path, name: str, recipe: str) -> Identity:
        """The identity stored in a run folder; a new one, called `name`, if there is none or the recipe has changed.

        InputError: the file is damaged.
        """
        new, path = cls(id=secrets.token_hex(4), name=name, recipe=recipe), folder / NAME
        if not path.exists():
            return new
        try:
            found = records.typed(path, records.from_json(path), {"id": str, "name": str, "recipe": str})
        except InputError as error:
            raise InputError(f"{error}; delete it to go on as a new wandb run") from error
        old = cls(id=found["id"], name=found["name"], recipe=found["recipe"])
        return old if old.recipe == recipe else new

    def write(self, folder: Path) -> None:
        """Store it for the next attempt."""
        write_atomically(folder / NAME, json.dumps(asdict(self), indent=2) + "\n")
