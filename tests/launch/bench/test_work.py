"""What the variants of the bench share."""

import os
from dataclasses import replace

import pytest

from bench_work import photo_spec, work_of
from data_pipes.executors import build, canvas
from launch.bench import loader

# torchvision 0.29 announces that its decoders will leave.
pytestmark = pytest.mark.filterwarnings("ignore:The image decoding:DeprecationWarning")


def test_canvases_of_the_bench_do_not_stay(photographs, tmp_path):
    """The control is an executor built by itself, as a run has it: it keeps its canvas."""
    cache, work = os.environ["HEARTCUT_CACHE"], work_of(photo_spec(photographs), images=canvas.KEPT_FROM)
    loader.BUILDERS["resident"](work).close()
    assert os.environ["HEARTCUT_CACHE"] == cache and not list(tmp_path.rglob("canvas-*"))
    spec = replace(work.spec, executor="resident")
    build.build(build.choose(spec, work.samples, work.device), spec, work.samples, work.device).close()
    assert list(tmp_path.rglob("canvas-*"))
