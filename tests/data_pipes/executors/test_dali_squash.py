"""Whole images from DALI for a canvas: their order, the pipeline that serves all blocks, and bad files."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("nvidia.dali", reason="NVIDIA DALI is not installed")

import reference
from configs.errors import InputError, UsageError
from data_pipes.executors import dali_graph, dali_squash
from data_pipes.executors.dali import Ticket
from data_pipes.executors.dali_errors import DaliMemoryError
from data_pipes.sources.index import scan
from data_pipes.spec import DaliSpec, DataSpec

GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
DEVICES = [pytest.param("cpu"), pytest.param("cuda", marks=[pytest.mark.gpu, GPU])]


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("HEARTCUT_CACHE", str(tmp_path_factory.mktemp("cache")))


def spec(**changes) -> DataSpec:
    shape = {"image_size": (28, 28), "mean": (0.5,) * 3, "std": (0.2,) * 3, "threads": 1}
    return DataSpec(source="digits", executor="dali", dali=DaliSpec(hw_decoder_load=0.0), **{**shape, **changes})


def photographs(folder):
    paths = tuple(f"{i}.jpg" for i in range(7))
    for i, path in enumerate(paths):
        Image.fromarray(reference.picture(80 + 7 * i, 95 - 4 * i, 3, i)).save(folder / path, quality=95)
    table = scan(folder, paths)
    stand_in = reference.in_memory([reference.noise(4, 4)] * len(paths))
    return replace(stand_in, key_N=paths, size_N2=table.size_N2, images=table.images())


@pytest.mark.parametrize("device", DEVICES)
def test_squashing_keeps_the_order_and_names_a_bad_file(tmp_path, monkeypatch, device):
    monkeypatch.setattr(dali_squash, "CANVAS_BATCH", 2)
    samples = photographs(tmp_path)
    row_R = np.array([6, 0, 3, 3, 1])
    canvas = dali_squash.squash(samples, spec(prefetch=1), torch.device(device), (40, 50), row_R)
    one_by_one = [
        dali_squash.squash(samples, spec(), torch.device(device), (40, 50), row_R[i : i + 1]) for i in range(5)
    ]
    assert torch.equal(canvas, torch.cat(one_by_one)) and not torch.equal(canvas[0], canvas[1])
    (tmp_path / "3.jpg").write_bytes(b"x" * (tmp_path / "3.jpg").stat().st_size)
    with pytest.raises(InputError, match=r"3\.jpg: its content has changed"):
        dali_squash.squash(samples, spec(), torch.device(device), (40, 50), row_R)


def test_a_lack_of_memory_names_the_way_out(tmp_path, monkeypatch):
    def without_memory(self):
        raise DaliMemoryError("DALI ran out of host memory")

    monkeypatch.setattr(Ticket, "result", without_memory)
    with pytest.raises(UsageError, match=r"data\.dali\.feed files keeps none\. DALI ran out of host"):
        dali_squash.squash(photographs(tmp_path), spec(), torch.device("cpu"), (40, 50), np.arange(2))


def test_one_pipeline_serves_all_blocks(tmp_path, monkeypatch):
    samples, built, real = photographs(tmp_path), [], dali_graph.build
    monkeypatch.setattr(dali_graph, "build", lambda *args, **named: built.append(args) or real(*args, **named))
    worker = dali_squash.Squash(samples, spec(), torch.device("cpu"), (40, 50))
    blocks = [worker(np.arange(start, start + 3)) for start in (0, 3)]
    worker.close()
    assert len(built) == 1
    whole = dali_squash.squash(samples, spec(), torch.device("cpu"), (40, 50), np.arange(6))
    assert torch.equal(torch.cat(blocks), whole) and len(built) == 2
    with pytest.raises(RuntimeError, match="shutdown"):
        worker(np.arange(1))
