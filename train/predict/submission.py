"""The CSV file of train.predict: identifiers, text, and a write that loses nothing. N images."""

from __future__ import annotations

import csv
import io
import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path

from configs.errors import UsageError
from configs.files import write_atomically
from data_pipes.sources.image_files import EXTENSIONS, some
from data_pipes.sources.samples import Samples
from train.predict.config import Ids

logger = logging.getLogger(__name__)
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def identifiers(samples: Samples, ids: Ids = "name") -> list[str]:
    """Return file names without folder and image ending, whole paths where names are not unique; or 0, 1, 2, ..."""
    if ids == "index":
        return [str(place) for place in range(len(samples))]
    names = [Path(key) for key in samples.key_N]
    stems = [name.stem if name.suffix.lower() in EXTENSIONS else name.name for name in names]
    return stems if len(set(stems)) == len(stems) else list(samples.key_N)


def text_of(columns: str, name_N: Sequence[str], answer_N: Sequence[int | str]) -> bytes:
    """Return the CSV in UTF-8, with a header, line feeds at line ends, and quotes only where they are needed.

    Bytes of a file's name that are not UTF-8 become escapes. Cells are data and stay as they are.
    """
    stream = io.StringIO()
    rows = csv.writer(stream, lineterminator="\n")
    rows.writerow([name.strip() for name in columns.split(",")])
    rows.writerows(zip(name_N, answer_N, strict=True))
    return stream.getvalue().encode("utf-8", errors="backslashreplace")


def warn_of_odd(name_N: Sequence[str]) -> None:
    """Warn of names that a spreadsheet takes for formulas, and of names that are not UTF-8."""
    if formulas := [name for name in name_N if name.startswith(FORMULA_STARTS)]:
        logger.warning(
            "%d names begin with =, +, - or @, which a spreadsheet may take for formulas; they are written as they "
            "are: %s",
            len(formulas),
            some(formulas, 3),
        )
    if foreign := [name for name in name_N if any("\ud800" <= letter <= "\udfff" for letter in name)]:
        logger.warning("%d names are not UTF-8; their bytes are written as escapes: %s", len(foreign), some(foreign, 3))


def require_writable(path: Path) -> None:
    """Create the folder of an output file. UsageError: it cannot be, or the output is a folder."""
    if path.is_dir():
        raise UsageError(f"output {path} is a folder; give a file in it, such as {path / 'predictions.csv'}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile("wb", dir=path.parent):
            pass
    except OSError as error:
        raise UsageError(f"output {path} cannot be written ({error.strerror}); give another --output") from error


def deliver(path: Path, content: bytes) -> None:
    """Write the file atomically. OSError: it could not be written, and names the file that holds it instead."""
    try:
        if path.exists() and not path.is_file():  # a pipe or a terminal
            path.write_bytes(content)
        else:
            write_atomically(path, content)
    except OSError as error:
        spare = Path(tempfile.mkdtemp(prefix="heartcut-")) / path.name
        spare.write_bytes(content)
        raise OSError(f"{path} could not be written ({error.strerror}); the predictions are in {spare}") from error
