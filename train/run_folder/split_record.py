"""Which images a run trained on, where its validation split was cut from files that may come and go. Free of torch.

RUN/split.csv   split,checksum,bytes,path   a line per image, train first
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from pathlib import Path

from configs.errors import InputError
from configs.files import read_regular, write_atomically
from data_pipes.sources.samples import Samples

NAME = "split.csv"
HEAD = ("split", "checksum", "bytes", "path")
LARGEST = 2**32  # bytes
Content = tuple[int, int]


def keep(folder: Path, splits: Iterable[Samples], *, cut: bool) -> None:
    """Record the images of a run that begins. cut: its validation split is cut from files, see `Source.is_cut`."""
    if cut and not (folder / NAME).exists():
        write(folder, splits)


def write(folder: Path, splits: Iterable[Samples]) -> None:
    """Record the images of each split."""
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(HEAD)
    for samples in splits:
        pairs = zip(samples.contents(), samples.key_N, strict=True)
        lines.writerows((samples.split, *content, key) for content, key in pairs)
    write_atomically(folder / NAME, text.getvalue().encode("utf-8", "surrogateescape"))


def read(folder: Path) -> dict[Content, str] | None:
    """Return the split of each image by its content, of a run or of a stage below it; None: there is no record.

    InputError: it is damaged.
    """
    found = next((path for depth in ("", "*/", "*/*/") for path in sorted(folder.glob(depth + NAME))), None)
    if found is None:
        return None
    try:
        text = read_regular(found, LARGEST).decode("utf-8", "surrogateescape")
        head, *lines = csv.reader(io.StringIO(text, newline=""))
        if tuple(head) != HEAD:
            raise ValueError(f"its first line is {','.join(head)[:60]!r}")
        return {(int(crc), int(size)): split for split, crc, size, _ in lines}
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"{found} is damaged ({error}); remove it to go by today's images alone") from error
