"""A walk over folders of image files: which files are images, which are ignored, and which links are followed."""

from __future__ import annotations

import functools
import logging
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from configs.errors import InputError
from data_pipes.sources.pillow_formats import TIFF_MAGIC

logger = logging.getLogger(__name__)


def _endings(text: str) -> frozenset[str]:
    return frozenset(f".{ending}" for ending in text.split())


# Includes formats that the index refuses: it names such files, whereas the walk would only count them.
EXTENSIONS = _endings("jpg jpeg jpe jfif jif jfi png apng webp bmp dib tif tiff gif heic heif hif avif")
# Files that commonly accompany images: neither opened nor counted.
COMPANIONS = _endings(
    "txt csv tsv json jsonl xml yaml yml toml md rst htm html log ini cfg py ipynb sh db parquet dvc xmp aae md5 sha256"
)
COMPANION_NAMES = frozenset(("readme", "license", "licence", "copying", "notice", "makefile", "checksums", "icon\r"))
# Backup copies, thumbnails, and raw photographs, which are TIFF files with a thumbnail inside: by their content, all of
# them would be images.
NEVER = _endings(
    "bak orig old tmp part crdownload swp thm "
    "cr2 nef nrw dng arw srf sr2 orf rw2 rwl pef srw raw 3fr erf kdc dcr mef mos iiq"
)
COPY = re.compile(r"~$|_original$")
JUNK_FOLDERS = frozenset(
    ("@eadir", "@tmp", "@recycle", "#recycle", "#snapshot", "__macosx", "__pycache__", "lost+found", "$recycle.bin")
) | {"recycler", "system volume information"}
HEIF_BRANDS = frozenset((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"avif", b"avis"))
BMP_HEADERS = frozenset((12, 40, 52, 56, 64, 108, 124))
NAMED = 3

KNOWN = f"Images end in {', '.join(sorted(EXTENSIONS))}, or are recognised by their content"
NOT_IMAGES = "files that are no images"
STRAY = "images in no class folder"
AGAIN = "links to a folder that is read already"
FOLLOW = "data.follow_links: true follows it"


class Walk:
    """Finds the image files below a root. Files left out are counted and reported in one warning.

    Hidden entries and folders created by systems and tools (.ipynb_checkpoints, @eaDir, __MACOSX, ...) are ignored and
    named in a line of the log; files that accompany images, such as labels.csv, are ignored silently.
    """

    def __init__(self, root: Path, *, follow_links: bool) -> None:
        self.root = root
        self.follow_links = follow_links
        self._prefix = len(str(root).rstrip(os.sep)) + 1
        self._left_out: dict[str, set[str]] = {}
        self._ignored: set[str] = set()
        self._read: dict[str, tuple[Path, Path]] = {}

    def top_folders(self) -> tuple[str, ...]:
        """Names of the folders in the root, links to folders included."""
        return tuple(entry.name for entry in self._listed(self.root) if _is_folder(entry))

    def require_apart(self, folders: Iterable[Path]) -> None:
        """InputError: one of these folders is a link out of the root that must not be followed, or lies in another."""
        seen: dict[Path, Path] = {}
        for folder in folders:
            target = Path(os.path.realpath(folder))
            if folder.is_symlink() and not self.follow_links and not target.is_relative_to(self.root):
                raise InputError(f"{folder} is a link to {target}, outside {self.root}; {FOLLOW}")
            for other, name in seen.items():
                if target.is_relative_to(other) or other.is_relative_to(target):
                    raise InputError(f"{folder} and {name} are one folder: its images would count twice")
            seen[target] = folder

    def folders(self, folder: Path) -> tuple[str, ...]:
        """Names of the subfolders of a folder."""
        return tuple(entry.name for entry in self._entries(folder) if _is_folder(entry))

    def direct(self, folder: Path) -> tuple[str, ...]:
        """Images in a folder, without its subfolders, as paths below the root."""
        entries = (entry for entry in self._entries(folder) if not _is_folder(entry))
        return self._ordered(entry.path for entry in entries if self._is_image(entry))

    def images(self, folder: Path) -> tuple[str, ...]:
        """Images in a folder and its subfolders, as paths below the root, in natural order.

        Each folder is read once, however many links lead to it. InputError: another call has read it by another path,
        so that its images would belong to two classes or splits.
        """
        return self._ordered(self._below(folder, folder))

    def leave_out(self, why: str, paths: Iterable[str]) -> None:
        """Count these paths below the root for the report."""
        self._left_out.setdefault(why, set()).update(paths)

    def report(self) -> None:
        """Log a warning that counts and names what was left out, and a line about what was ignored, if anything."""
        if self._ignored:
            names = some(sorted(self._ignored, key=natural), NAMED)
            say_once(f"{self.root}: ignored are hidden and system entries ({len(self._ignored):,}): {names}")
        found = [(why, sorted(paths, key=natural)) for why, paths in sorted(self._left_out.items()) if paths]
        if found:
            text = "; ".join(f"{why} ({len(paths):,}): {some(paths, NAMED)}" for why, paths in found)
            known = f". {KNOWN}" if NOT_IMAGES in self._left_out else ""
            warn_once(f"{self.root}: left out are {text}{known}")

    def _ordered(self, paths: Iterable[str]) -> tuple[str, ...]:
        return tuple(sorted((self._relative(path) for path in paths), key=natural))

    def _relative(self, path: str) -> str:
        return path[self._prefix :].replace(os.sep, "/")  # a million names, no Path for each

    def _below(self, folder: Path, origin: Path) -> Iterator[str]:
        if self.follow_links and not self._first_time(folder, origin):
            return
        # Links come last, so that a folder is known by its own name if it has one.
        for entry in sorted(self._entries(folder), key=lambda entry: entry.is_symlink()):
            if _is_folder(entry):
                yield from self._below(Path(entry.path), origin)
            elif self._is_image(entry):
                yield entry.path

    def _first_time(self, folder: Path, origin: Path) -> bool:
        earlier, came_from = self._read.setdefault(os.path.realpath(folder), (folder, origin))
        if earlier == folder:
            return True
        if came_from != origin:
            raise InputError(f"{folder} and {earlier} are one folder: its images would count twice; remove a link")
        self.leave_out(AGAIN, [self._relative(str(folder))])
        return False

    def _entries(self, folder: Path) -> list[os.DirEntry[str]]:
        """Entries of a folder, by name. InputError: the folder cannot be read, or a link must not be followed."""
        entries = self._listed(folder)
        if not self.follow_links:
            for entry in entries:
                if entry.is_symlink():
                    self._require_inside(entry)
        return entries

    def _listed(self, folder: Path) -> list[os.DirEntry[str]]:
        """Entries of a folder, by name, without hidden ones and those of systems, which are noted if worth a word."""
        try:
            with os.scandir(folder) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError as error:
            raise InputError(f"{folder} cannot be read: {error.strerror}") from error
        kept = []
        for entry in entries:
            if not _is_junk(entry):
                kept.append(entry)
            elif _worth_a_word(entry):
                self._ignored.add(self._relative(entry.path))
        return kept

    def _require_inside(self, entry: os.DirEntry[str]) -> None:
        target = Path(os.path.realpath(entry.path))
        if not target.is_relative_to(self.root):
            raise InputError(f"{entry.path} links to {target}, outside {self.root}; {FOLLOW}")
        # Following it would count images twice, or never end.
        if _is_folder(entry):
            raise InputError(f"{entry.path} links to the folder {target}; {FOLLOW}, each folder once")

    def _is_image(self, entry: os.DirEntry[str]) -> bool:
        name = entry.name.lower()
        stem, ending = os.path.splitext(name)  # noqa: PTH122 - a million names, no Path for each
        # The index names broken links. A pipe or a device would block the reader forever.
        readable = Path(entry.path).is_file() if entry.is_symlink() else entry.is_file()
        if ending in EXTENSIONS and (readable or not Path(entry.path).exists()):
            return True
        if ending in COMPANIONS or (stem in COMPANION_NAMES and ending not in EXTENSIONS):
            return False
        foreign = ending in EXTENSIONS | NEVER or COPY.search(name) is not None
        if readable and not foreign and _starts_as_image(entry.path):
            return True
        self.leave_out(NOT_IMAGES, [self._relative(entry.path)])
        return False


def _is_folder(entry: os.DirEntry[str]) -> bool:
    # DirEntry.is_dir raises for a link to itself.
    return Path(entry.path).is_dir() if entry.is_symlink() else entry.is_dir()


def _is_junk(entry: os.DirEntry[str]) -> bool:
    return entry.name.startswith(".") or (entry.name.lower() in JUNK_FOLDERS and _is_folder(entry))


def _worth_a_word(entry: os.DirEntry[str]) -> bool:
    """Whether an ignored entry may hold images: .DS_Store does not."""
    return os.path.splitext(entry.name.lower())[1] in EXTENSIONS or _is_folder(entry)  # noqa: PTH122


def _starts_as_image(path: str) -> bool:
    try:
        with Path(path).open("rb") as file:
            return recognised(file.read(32))
    except OSError:
        return False


def recognised(head: bytes) -> bool:
    """Whether a file that starts with these 32 bytes is a JPEG, PNG, WebP, GIF, BMP, TIFF, HEIC or AVIF image."""
    if head[:2] == b"BM":
        return head[6:10] == bytes(4) and int.from_bytes(head[14:18], "little") in BMP_HEADERS
    if head[:4] == b"RIFF":
        return head[8:12] == b"WEBP"
    if head[4:8] == b"ftyp":
        return head[8:12] in HEIF_BRANDS
    return head[:4] in TIFF_MAGIC or head.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a"))


def natural(path: str) -> tuple[list[str | int], str]:
    """Sort key that compares digits as numbers: 2.jpg comes before 10.jpg. The text breaks ties, as of 2 and 02."""
    # Splitting by a group alternates text and digits, so that only values of one type are compared.
    return [int(piece) if i % 2 else piece for i, piece in enumerate(re.split(r"([0-9]+)", path))], path


def some(names: Iterable[str], most: int = 10) -> str:
    """Names for a message, at most `most` of them; those with invisible characters are quoted."""
    listed = [name if name.isprintable() and name == name.strip() else ascii(name) for name in names]
    more = f" and {len(listed) - most:,} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + more


@functools.cache
def say_once(text: str) -> None:
    """Log a line of information once and in one process."""
    if os.environ.get("RANK", "0") == "0":
        logger.info("%s", text)


@functools.cache
def warn_once(text: str) -> None:
    """Log a warning once and in one process: a data set is listed for each of its splits and in every process."""
    if os.environ.get("RANK", "0") == "0":
        logger.warning("%s", text)
