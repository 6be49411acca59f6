"""What the choice of an executor is told about a device: maker, free memory, DALI."""

import shutil
from types import SimpleNamespace

import pytest
import torch

from configs import resources
from configs.errors import UsageError
from data_pipes.executors import choice, devices

FREE = 30_000_000_000


@pytest.fixture
def gpu(monkeypatch):
    """A CUDA device with FREE bytes free, of more in all; the device that was asked for is kept."""
    asked = []

    def memory(device):
        asked.append(device)
        return FREE, 2 * FREE

    monkeypatch.setattr(torch.cuda, "mem_get_info", memory)
    monkeypatch.setattr(torch.version, "hip", None)
    return asked


@pytest.fixture(autouse=True)
def host(monkeypatch, tmp_path):
    """A machine with two processes of the run and a cache folder that nobody made yet."""
    monkeypatch.setattr(resources, "available_memory", lambda: 7)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setenv("HEARTCUT_CACHE", str(tmp_path / "cache" / "below"))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=9 if path == tmp_path else 0))


def test_a_cpu_has_no_device_memory_and_is_never_asked_for_it(gpu):
    found = devices.describe(torch.device("cpu"))
    assert found == choice.Device(kind="cpu", dali=choice.dali_installed(), host_bytes=7, processes=2, cache_bytes=9)
    assert gpu == []


def test_a_cache_folder_that_cannot_be_looked_at_has_unknown_space(monkeypatch):
    def fail(path):
        raise OSError("stale")

    monkeypatch.setattr(shutil, "disk_usage", fail)
    assert devices.describe(torch.device("cpu")).cache_bytes is None


def test_an_nvidia_gpu_tells_what_is_free_on_that_very_device(gpu):
    found = devices.describe(torch.device("cuda", 3))
    assert (found.kind, found.free_bytes) == ("nvidia", FREE)
    assert gpu == [torch.device("cuda", 3)]


def test_what_torch_keeps_in_reserve_is_given_back_before_it_is_counted(gpu, monkeypatch):
    """Or a stage of a chain would choose otherwise than a process that begins with it."""
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: gpu.append("given back"))
    devices.describe(torch.device("cuda", 0))
    assert gpu == ["given back", torch.device("cuda", 0)]


def test_a_gpu_that_torch_calls_cuda_may_be_of_another_maker(gpu, monkeypatch):
    monkeypatch.setattr(torch.version, "hip", "6.4")
    found = devices.describe(torch.device("cuda", 0))
    assert (found.kind, found.free_bytes) == ("other", FREE)


@pytest.mark.parametrize("installed", [True, False])
@pytest.mark.parametrize("name", ["cpu", "cuda:0"])
def test_dali_is_reported_as_it_is(gpu, monkeypatch, name, installed):
    monkeypatch.setattr(choice, "dali_installed", lambda: installed)
    assert devices.describe(torch.device(name)).dali is installed


def test_another_accelerator_tells_its_free_memory_or_none(monkeypatch):
    monkeypatch.setattr(torch.accelerator, "get_memory_info", lambda device: (FREE, 2 * FREE))
    assert devices.describe(torch.device("mps")) == choice.Device(
        kind="other", free_bytes=FREE, dali=choice.dali_installed(), host_bytes=7, processes=2, cache_bytes=9
    )

    def silent(device):
        raise RuntimeError("not supported")

    monkeypatch.setattr(torch.accelerator, "get_memory_info", silent)
    assert devices.describe(torch.device("mps")).free_bytes == 0


def test_a_gpu_that_cannot_be_opened_is_not_taken_for_a_full_one(gpu, monkeypatch):
    def broken(device):
        raise RuntimeError("CUDA error: out of memory")

    monkeypatch.setattr(torch.cuda, "mem_get_info", broken)
    with pytest.raises(RuntimeError, match="out of memory"):
        devices.describe(torch.device("cuda", 0))


def test_runs_that_share_a_gpu_share_its_memory(gpu, monkeypatch):
    monkeypatch.setenv("HEARTCUT_GPU_RUNS", "3")
    assert devices.describe(torch.device("cuda", 0)).free_bytes == FREE // 3
    monkeypatch.setenv("HEARTCUT_GPU_RUNS", "0")
    with pytest.raises(UsageError, match="HEARTCUT_GPU_RUNS is '0'; it must be a number of at least 1"):
        devices.describe(torch.device("cuda", 0))
