"""What several test packages need."""

from __future__ import annotations

import gc
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

import hidden_gpus

if TYPE_CHECKING:
    import torch

# No deadlines: a shared machine is slow now and then. The same examples every time where a failure blocks a change.
settings.register_profile("heartcut", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("heartcut")


# The files that take longest, the longest first: started last, one of them would leave all cores but one idle.
SLOWEST = [
    "train/prune/test_chain.py",
    "launch/test_run_training.py",
    "train/compress/test_chain.py",
    "launch/test_agent.py",
    "models/export/test_onnx_file.py",
    "test_course.py",
    "train/cache/test_teacher.py",
    "models/export/test_pytorch_file.py",
    "train/run_folder/test_occupied.py",
    "train/track/test_track_runs.py",
    "launch/slurm/test_sbatch_accelerate.py",
    "train/stage/test_run.py",
    "train/test_commands.py",
    "train/cache/test_fill.py",
    "models/test_convolution.py",
    "train/track/test_wandb_run.py",
    "test_notebook.py",
    "train/test_kill.py",
    "train/run_folder/test_extension.py",
    "train/adopt/test_on_the_fly.py",
]


def pytest_configure(config: pytest.Config) -> None:
    """Only `pytest -m gpu` sees GPUs. The processes of xdist inherit what the first one does here."""
    if not hidden_gpus.wanted(config.option.markexpr):
        hidden_gpus.hide()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Sort files: those that submit jobs, which wait while others compute, then the slowest, then all others.

    Before them, on a GPU, go tests without which the others mean nothing: `gpu(first=True)`.
    """
    here, on_gpu = Path(__file__).parent, hidden_gpus.wanted(config.option.markexpr)
    slurm = {item.path for item in items if item.get_closest_marker("slurm")}
    places = {here / name: place for place, name in enumerate(SLOWEST)}
    items.sort(
        key=lambda item: (
            not (on_gpu and _first(item)),
            item.path not in slurm,
            places.get(item.path, len(places)),
        )
    )


def _first(item: pytest.Item) -> bool:
    marker = item.get_closest_marker("gpu")
    return marker is not None and bool(marker.kwargs.get("first"))


def pytest_collection_finish() -> None:
    """Full collections skip what has been imported and collected by now: stages ask for them between networks."""
    gc.freeze()


@pytest.fixture
def data_root(request: pytest.FixtureRequest) -> Path:
    """The folder of the data set that the marker names, as in `@pytest.mark.data("food10")`; skips without it."""
    marker = request.node.get_closest_marker("data")
    home = Path(os.environ.get("HEARTCUT_DATA") or Path(__file__).parents[1] / ".." / "shared" / "data")
    folder = home.joinpath(*(marker.args if marker else ())).resolve()
    if not folder.is_dir():
        pytest.skip(f"data set missing: {folder} (set HEARTCUT_DATA to the folder of the data sets)")
    return folder


@pytest.fixture
def cuda() -> torch.device:
    """The first NVIDIA GPU; skips without one."""
    import torch

    if not torch.cuda.is_available():
        pytest.skip("no NVIDIA GPU here")
    return torch.device("cuda", 0)
