"""The file map and the table of additions in CONTRIBUTING.md, compared with the tree."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
PACKAGES = ("configs", "data_pipes", "models", "train", "launch")
MOST = 3  # files that an addition touches


def rows(heading: str) -> list[list[str]]:
    """Cells of the table under a heading, without its first two lines."""
    section = TEXT.split(f"### {heading}\n")[1].split("\n#")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def mapped() -> dict[str, list[str]]:
    return {folder.strip("`/"): modules.split(", ") if modules else [] for folder, _, modules in rows("File map")}


def in_tree() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            modules = found.setdefault(path.parent.relative_to(ROOT).as_posix(), [])
            modules += [] if path.stem.startswith("__") else [path.stem]
    return found


def test_the_map_names_every_module_in_its_folder_and_no_other():
    assert mapped() == in_tree()


@pytest.mark.parametrize("cells", rows("To add ..."), ids=lambda cells: cells[0])
def test_an_addition_touches_few_files_and_they_exist(cells):
    files = re.findall(r"`([\w/.]+(?:\.py|\.cfg|/))`", cells[1])
    assert 1 <= len(files) <= MOST + ("or" in cells[1].split())
    assert all((ROOT / name).exists() for name in files), files


def test_the_packages_of_the_map_are_those_that_are_installed():
    text = (ROOT / "setup.cfg").read_text(encoding="utf-8")
    listed = text.split("packages =\n")[1].split("install_requires")[0].split()
    assert sorted(listed) == sorted(folder.replace("/", ".") for folder in mapped())


def test_every_module_with_logic_has_its_test():
    tracked = subprocess.run(["git", "-C", str(ROOT), "ls-files", "*.py"], capture_output=True, text=True, check=False)
    if tracked.returncode:
        pytest.skip("not a git checkout")
    without = [
        f"{folder}/{name}.py"
        for folder, names in mapped().items()
        for name in names
        if not (ROOT / "tests" / folder / f"test_{name}.py").exists()
    ]
    assert without == EXEMPT, without


EXEMPT = [
    "data_pipes/batch.py",  # one dataclass
    "train/distill.py",  # ten-line mains, started by many tests
    "train/teacher.py",
]
