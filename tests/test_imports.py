"""No module imports itself by way of others; import-linter holds the layers."""

import graphlib
from collections.abc import Iterable, Mapping

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
