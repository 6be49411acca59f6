"""What the code was when something was submitted. Free of torch."""

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
    """With + if the tree differs; None: not in a git checkout, or git is not there."""
    changes: bytes = b""
    """git status and git diff, which git apply takes; empty if the tree is the commit's."""


def version(root: Path = ROOT) -> Version:
    """Return the version of the code in a folder, as far as git knows it."""
    try:
        commit = _git(root, "rev-parse", "--short=12", "HEAD").decode().strip()
        status = _git(root, "status", "--short", "--", ".")
        diff = _git(root, "diff", "--binary", "--no-ext-diff", "--no-color", "HEAD", "--", ".")
    except (OSError, subprocess.SubprocessError):
        return Version(None)
    changes = b"".join(b"# %s\n" % line for line in status.splitlines()) + diff
    return Version(f"{commit}+" if changes else commit, changes)


def _git(root: Path, *words: str) -> bytes:
    git = ["git", "-C", str(root), *words]
    return subprocess.run(git, capture_output=True, timeout=SECONDS, check=True).stdout
