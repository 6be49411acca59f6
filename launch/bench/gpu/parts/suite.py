"""The tests that need a GPU: pytest -m gpu, on the files that have such tests."""

from __future__ import annotations

import subprocess
from importlib.util import find_spec
from pathlib import Path
from xml.etree import ElementTree

from launch.bench.gpu.child import ROOT, python
from launch.bench.gpu.config import PartConfig
from launch.bench.gpu.result import Cell, Result, Table
from launch.bench.work import LeftOut

MARK = "mark.gpu"
NO_TESTS = 5  # exit code of pytest that has collected none
COLUMNS = ("file", "passed", "failed", "skipped")
FIRST = 200  # characters of a failure


def run(config: PartConfig, name: str, root: Path = ROOT) -> Result:
    """Run them. LeftOut: pytest or the tests are not here."""
    if find_spec("pytest") is None:
        raise LeftOut("pytest is not installed: pip install pytest hypothesis")
    files = marked(root / "tests")
    if not files:
        raise LeftOut(f"{root / 'tests'} has no tests that need a GPU: they come with the repository")
    found = config.folder / f"{name}.xml"
    words = [
        "-m",
        "gpu",
        f"--junitxml={found}",
        "-p",
        "no:cacheprovider",
        "--continue-on-collection-errors",
        *(file.relative_to(root) for file in files),
    ]
    ended = subprocess.run(python("pytest", *words), cwd=root, check=False)
    if not found.exists():
        raise RuntimeError(f"pytest ended with exit code {ended.returncode}")
    return summary(ElementTree.parse(found).getroot(), ended.returncode, device=config.device)


def marked(folder: Path) -> list[Path]:
    """The files of tests that name the mark."""
    return sorted(path for path in folder.rglob("test_*.py") if MARK in path.read_text(encoding="utf-8"))


def summary(report: ElementTree.Element, code: int, *, device: str) -> Result:
    """A row per file; each failure is a fault, and so is an exit code without one, or a GPU on which no test ran."""
    counts: dict[str, list[int]] = {}
    faults = []
    for case in report.iter("testcase"):
        file = case.get("classname", "").replace(".", "/") + ".py"
        bad = [child for child in case if child.tag in ("failure", "error")]
        kind = 1 if bad else 2 if case.find("skipped") is not None else 0
        counts.setdefault(file, [0, 0, 0])[kind] += 1
        faults += [f"{file} {case.get('name')}: {child.get('message', '')[:FIRST]}" for child in bad]
    if code not in (0, NO_TESTS) and not faults:
        faults.append(f"pytest ended with exit code {code}")
    if device == "cuda" and not any(passed + failed for passed, failed, _ in counts.values()):
        faults.append("every test was skipped, although there is a GPU")
    rows: list[list[Cell]] = [[file, *numbers] for file, numbers in counts.items()]
    return Result(tables=[Table.of("Tests", COLUMNS, rows)], faults=faults)
