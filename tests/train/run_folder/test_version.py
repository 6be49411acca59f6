"""What git says of a checkout, however it is asked."""

import re
import subprocess
from pathlib import Path

import pytest

from train.run_folder import run_dir
from train.run_folder.version import Version, commit, version


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@x", "-C", str(tmp_path)]
    (tmp_path / "code.py").write_text("a = 1\n")
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "x"], ["tag", "-am", "first", "v1.0"]):
        subprocess.run([*git, *words], check=True)
    return tmp_path


def head(root: Path) -> str:
    git = ["git", "-C", str(root), "rev-parse", "HEAD"]
    return subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()


def test_a_tagged_commit_is_its_digits_in_both_files(checkout: Path) -> None:
    assert version(checkout) == Version(head(checkout)[:12]) and commit(checkout) == head(checkout)[:12]


@pytest.mark.parametrize("name", ["code.py", "untracked.py"])
def test_a_difference_is_a_plus_and_can_be_applied(checkout: Path, name: str) -> None:
    (checkout / name).write_text("a = 2\n")
    found = version(checkout)
    assert found.commit == commit(checkout) == f"{head(checkout)[:12]}+"
    assert name.encode() in found.changes and (b"+a = 2" in found.changes) == (name == "code.py")


def test_a_run_notes_the_commit_of_its_code() -> None:
    found = run_dir.environment()["commit"]
    here = head(Path(__file__).parent)
    assert re.fullmatch(r"[0-9a-f]{12}\+?", found) and here.startswith(found.rstrip("+"))


def test_without_a_checkout_or_git_there_is_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert commit(tmp_path) is None and version(tmp_path) == Version(None)
    monkeypatch.setenv("PATH", "")
    assert commit() is None
