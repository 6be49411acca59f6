"""No module imports itself by way of others; import-linter holds the layers, and this the one module outside them."""

import ast
import graphlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import grimp
import pytest

PACKAGES = ("configs", "data_pipes", "models", "train", "launch")


def require_no_circle(imports: Mapping[str, Iterable[str]]) -> None:
    """CycleError that names the modules of a circle."""
    graphlib.TopologicalSorter(imports).prepare()


def test_imports_have_no_circle():
    graph = grimp.build_graph(*PACKAGES, cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    assert len(imports) > 100
    require_no_circle(imports)
    with pytest.raises(graphlib.CycleError):
        require_no_circle(imports | {"configs.errors": ["train.loop"]})


def imported(path: Path) -> set[str]:
    """Top-level names that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        found |= {name.partition(".")[0] for name in names}
    return found


def test_heartcut_is_above_train_and_nothing_is_above_it():
    root = Path(__file__).parents[1]
    assert "models" in imported(root / "heartcut.py") and "launch" not in imported(root / "heartcut.py")
    inner = [path for package in PACKAGES for path in (root / package).rglob("*.py")]
    assert not [path for path in inner if "heartcut" in imported(path)]
