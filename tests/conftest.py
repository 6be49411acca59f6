"""What several test packages need."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture
def data_root(request: pytest.FixtureRequest) -> Path:
    """The folder of the data set that the marker names, as in `@pytest.mark.data("food10")`; skips without it."""
    marker = request.node.get_closest_marker("data")
    home = Path(os.environ.get("HEARTCUT_DATA") or Path(__file__).parents[1] / ".." / "shared" / "data")
    folder = home.joinpath(*(marker.args if marker else ())).resolve()
    if not folder.is_dir():
        pytest.skip(f"data set missing: {folder} (set HEARTCUT_DATA to the folder of the data sets)")
    return folder
