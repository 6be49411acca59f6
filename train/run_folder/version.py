"""What git says of a checkout. Free of torch."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
SECONDS = 60


@dataclass(frozen=True, slots=True)
class Version:
    """A commit, and how the tree differs from it."""

    commit: str | None
    """Twelve digits, and + if the tree differs; None: not in a git checkout, or there is no git."""
    changes: bytes = b""
    """git status and git diff, which git apply takes; empty if the tree is the commit's."""


def commit(root: Path = ROOT) -> str | None:
    """The commit of a checkout, as `Version.commit`; files that git does not know count as a difference."""
    try:
        return _commit(root, _status(root))
    except (OSError, subprocess.SubprocessError):
        return None


def version(root: Path = ROOT) -> Version:
    """The commit of a checkout and the changes since."""
    try:
        status = _status(root)
        diff = _git(root, "diff", "--binary", "--no-ext-diff", "--no-color", "HEAD", "--", ".")
        return Version(_commit(root, status), b"".join(b"# %s\n" % line for line in status.splitlines()) + diff)
    except (OSError, subprocess.SubprocessError):
        return Version(None)


def _commit(root: Path, status: bytes) -> str:
    found = _git(root, "rev-parse", "--short=12", "HEAD").decode().strip()
    return f"{found}+" if status else found


def _status(root: Path) -> bytes:
    return _git(root, "status", "--short", "--", ".")


def _git(root: Path, *words: str) -> bytes:
    git = ["git", "-C", str(root), *words]
    return subprocess.run(git, capture_output=True, timeout=SECONDS, check=True).stdout
