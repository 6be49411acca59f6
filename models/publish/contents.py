"""What is sent to the hub: a folder of its own, in which nothing names this machine.

model.safetensors   the network; of files that its lineage names, the names without folders
README.md           a model card for it
NAME.onnx           exports that are beside it, for the file as it is sent
NAME.py, NAME.pt
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from configs.errors import InputError
from configs.files import read_regular
from configs.home import home
from models import artefact, artefact_file
from models.card import beside, facts, readme
from models.card.options import WEIGHTS

SHORTEST = 5
"""Letters of a path that is looked for; a shorter one could be in any file by chance."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Contents:
    """Files that lie ready in a folder."""

    folder: Path
    names: tuple[str, ...]
    """All that is sent, in the order of the list."""
    notes: tuple[str, ...]
    """What is not sent, and what was changed, in words."""

    def sizes(self) -> dict[str, int]:
        """Bytes by name."""
        return {name: (self.folder / name).stat().st_size for name in self.names}


def prepare(
    weights: Path, folder: Path, *, repo: str, license_id: str | None = None, added: Sequence[Path] = ()
) -> Contents:
    """Copy what is to be sent into an empty folder.

    InputError: the network is damaged or no file of ours, two files have one name, or one names a folder of this
    machine.
    """
    sha256 = artefact.sha256(weights)
    found = beside.find(weights.parent, sha256, weights=weights)
    exports = [name for name in found.names if name != found.weights]
    notes = _weights(weights, folder / WEIGHTS)
    sent = artefact.sha256(folder / WEIGHTS)
    for name in exports:
        _copy(weights.parent / name, folder / name, sha256, sent)
    for path in added:
        if path.name in (WEIGHTS, *exports):
            raise InputError(f"{path} cannot be added: {path.name} is sent already")
        if path.name == readme.NAME and not readme.is_ours(path):
            raise InputError(f"{path} is no model card of Heartcut; begin with the one that models.card writes")
        _copy(path, folder / path.name, sha256, sent)
    if not (folder / readme.NAME).exists():
        there = beside.find(folder, sent, weights=folder / WEIGHTS)
        stated = license_id or readme.license_of(weights.parent / readme.NAME)
        text = readme.build(artefact.read_card(weights), sent, there, repo=repo, license_id=stated)
        (folder / readme.NAME).write_text(text, encoding="utf-8")
    names = tuple(dict.fromkeys([readme.NAME, WEIGHTS, *exports, *(path.name for path in added)]))
    for name in names:
        _require_anonymous(folder / name)
    return Contents(folder=folder, names=names, notes=(*notes, *_left_out(weights, found, added)))


def _weights(path: Path, copy: Path) -> list[str]:
    """Copy the network; return what was changed."""
    contents = artefact_file.read(path)
    card = artefact.read_card(path)
    contents.require_intact(path)
    lineage = _without_folders(card.lineage)
    if lineage == card.lineage:
        shutil.copyfile(path, copy)
        return []
    copy.write_bytes(artefact_file.compose(asdict(replace(card, lineage=lineage)), contents.tensors))
    changed = [key for key, value in lineage.items() if value != card.lineage[key]]
    return [f"{key} in the header: {card.lineage[key]} is sent as {lineage[key]}" for key in changed]


def _without_folders(lineage: Mapping[str, str]) -> dict[str, str]:
    """Return a lineage in which files have no folders."""
    return {
        key: facts.file_name(str(value)) if key == "teacher" or Path(str(value)).is_absolute() else value
        for key, value in lineage.items()
    }


def _copy(path: Path, copy: Path, before: str, after: str) -> None:
    """Copy a file; where it names the SHA-256 of the network, that becomes the one of the network as it is sent.

    Both have 64 characters, so that the lengths in an .onnx file stay right.
    """
    if before == after or path.suffix == ".pt":
        shutil.copyfile(path, copy)
    else:
        copy.write_bytes(path.read_bytes().replace(before.encode(), after.encode()))


def _require_anonymous(path: Path) -> None:
    """InputError if a file names the home or the working folder of whoever sends it."""
    places = {str(place) for place in (home(), Path.cwd()) if place is not None and len(str(place)) >= SHORTEST}
    try:
        content = read_regular(path, artefact_file.LARGEST)
    except OSError as error:
        raise InputError(f"{path.name} cannot be read: {error.strerror}") from error
    if told := [place for place in sorted(places) if os.fsencode(place) in content]:
        raise InputError(
            f"{path.name} names the folder {told[0]} of this machine, which would be published; take it out, or leave "
            "the file out"
        )


def _left_out(weights: Path, found: beside.Beside, added: Sequence[Path]) -> list[str]:
    """Return what somebody may miss, and why it is not sent."""
    notes = [f"not sent: {name}, which was not exported from this network, or cannot be read" for name in found.others]
    if (weights.parent / readme.NAME).exists() and not any(path.name == readme.NAME for path in added):
        notes.append(
            f"not sent: {readme.NAME} of the folder; a new one with its licence is (--add {readme.NAME} sends yours)"
        )
    code = artefact.read_card(weights).model.name.rpartition(":")[0]
    if code.endswith(".py") and not any(path.name == code for path in added):
        notes.append(f"not sent: {code}, without which nobody can load the network (--add {code} sends it)")
    return notes
