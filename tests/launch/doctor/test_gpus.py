"""GPUs as torch reports them, simulated: this is what is said about each."""

import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from data_pipes.executors import nvjpeg
from launch.doctor import gpus

GB = 10**9


@pytest.fixture
def two_gpus(monkeypatch):
    """Two H200, mostly free; the test changes what it is about."""
    properties = SimpleNamespace(name="NVIDIA H200", major=9, minor=0)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: properties)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda index: (140 * GB, 150 * GB))
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: ["sm_80", "sm_90"])
    monkeypatch.setattr(torch.cuda.nccl, "version", lambda: (2, 30, 7))
    monkeypatch.setattr(torch.distributed, "is_nccl_available", lambda: True)
    monkeypatch.setattr(torch.version, "hip", None)
    monkeypatch.setattr(torch.version, "cuda", "13.2")
    monkeypatch.setattr(gpus, "driver_version", lambda: "570.124.06")
    monkeypatch.setattr(nvjpeg, "ask", lambda: (1, 8))
    monkeypatch.setattr(gpus, "_run", lambda *words: "")


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)


def test_everything_about_two_gpus(two_gpus):
    found = {check.name: check for check in gpus.checks()}
    assert list(found) == ["driver", "GPU 0", "GPU 1", "JPEG hardware", "processes"]
    assert {check.level for check in found.values()} == {"ok"}
    assert found["driver"].found == "NVIDIA 570.124.06; torch is built for CUDA 13.2"
    assert found["GPU 1"].found == "NVIDIA H200, 140.0 GB of 150.0 GB free, compute capability 9.0"
    assert found["JPEG hardware"].found.startswith("1 engine of 8 cores")
    assert found["processes"].found.startswith("NCCL 2.30.7")
    assert gpus.number() == 2


def test_a_gpu_that_others_fill_is_a_warning(two_gpus, monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda index: ((140, 74)[index] * GB, 150 * GB))
    assert [gpus.gpu(index).level for index in (0, 1)] == ["ok", "warning"]
    assert "nvidia-smi" in gpus.gpu(1).advice


def test_a_gpu_that_cannot_be_opened_does_not_end_the_report(two_gpus, monkeypatch):
    def fails(index):
        raise RuntimeError("CUDA error: out of memory\nmore")

    monkeypatch.setattr(torch.cuda, "mem_get_info", fails)
    assert gpus.gpu(0).found == "cannot be opened: CUDA error: out of memory" and gpus.gpu(0).level == "warning"


def test_a_gpu_that_torch_was_not_built_for_is_a_warning(two_gpus, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: ["sm_100", "sm_120"])
    assert gpus.gpu(0).level == "warning" and "no kernels" in gpus.gpu(0).found


@pytest.mark.parametrize(
    ("capability", "built", "expected"),
    [
        ((9, 0), ["sm_80", "sm_90"], True),
        ((8, 6), ["sm_80"], True),  # machine code also runs on later minor versions
        ((8, 0), ["sm_86"], False),
        ((9, 0), ["sm_80"], False),
        ((9, 0), ["compute_80"], True),  # compiled when loaded
        ((7, 5), ["sm_80", "compute_80"], False),
        ((12, 0), ["sm_120"], True),
        ((9, 0), ["sm_90a"], True),
        ((10, 3), ["sm_100a"], False),
        ((10, 3), ["sm_100f"], True),
        ((9, 0), ["gfx942"], False),
        ((9, 0), [], True),  # nothing is known
    ],
)
def test_which_gpus_a_build_runs_on(capability, built, expected):
    assert gpus.has_kernels(capability, built) is expected


def test_a_gpu_of_another_maker_has_neither_capability_nor_jpeg_line(two_gpus, monkeypatch):
    monkeypatch.setattr(torch.version, "hip", "6.4")
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: ["gfx942"])
    found = gpus.checks()
    assert [check.name for check in found] == ["GPU 0", "GPU 1", "processes"]
    assert found[0].level == "ok" and "capability" not in found[0].found and "RCCL" in found[2].found


def test_no_gpu_is_said_and_is_fine(no_gpu, monkeypatch):
    monkeypatch.setattr(gpus, "driver_version", lambda: None)
    first, second = gpus.checks()
    assert first.level == "ok" and first.found.startswith("no GPU") and second.level == "ok"
    assert gpus.number() == 0 and gpus.training_device() == torch.device("cpu")


def test_a_driver_without_a_gpu_that_torch_can_use_is_a_warning_with_torchs_own_words(no_gpu, monkeypatch):
    def unavailable():
        import warnings

        warnings.warn("The NVIDIA driver on your system is too old", stacklevel=1)
        return False

    monkeypatch.setattr(torch.cuda, "is_available", unavailable)
    monkeypatch.setattr(gpus, "driver_version", lambda: "450.80.02")
    found = gpus.checks()[0]
    assert found.level == "warning" and "450.80.02" in found.found and "too old" in found.found
    assert "update the driver" in found.advice


@pytest.mark.parametrize(
    ("kind", "said", "trains"),
    [("xpu", "xpu", "xpu:0"), ("mps", "mps, which has no float64: networks train on the CPU", "cpu")],
)
def test_another_accelerator_is_named(no_gpu, monkeypatch, kind, said, trains):
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available=False: torch.device(kind))
    assert gpus.no_gpu(None, []).found == f"torch device {said}"
    assert gpus.training_device() == torch.device(trains)


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 01:15:15 UTC 2023", "535.104.05"),
        (
            "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  575.57.08  Release Build\nGCC version: 12.2.0",
            "575.57.08",
        ),
        ("570.124.06\n570.124.06\n", "570.124.06"),
        ("1010.10", "1010.10"),
        ("GCC version:  gcc version 12.2.0 (Debian 12.2.0-14)", None),
        ("", None),
    ],
)
def test_driver_versions(text, version):
    assert gpus.parse_driver(text) == version


def test_the_kernel_module_answers_before_nvidia_smi_and_silence_is_no_driver(tmp_path, monkeypatch):
    monkeypatch.setattr(gpus, "DRIVER_FILE", tmp_path / "version")
    monkeypatch.setattr(gpus.shutil, "which", lambda name: name)
    monkeypatch.setattr(gpus, "_run", lambda *words: "570.124.06\n")
    assert gpus.driver_version() == "570.124.06"
    (tmp_path / "version").write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05\n")
    assert gpus.driver_version() == "535.104.05"

    def fails(*words):
        raise subprocess.CalledProcessError(9, words)

    (tmp_path / "version").unlink()
    monkeypatch.setattr(gpus, "_run", fails)
    assert gpus.driver_version() is None
    monkeypatch.setattr(gpus.shutil, "which", lambda name: None)
    assert gpus.driver_version() is None


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("print('1 8')", "1 engine of 8 cores"),
        ("print('2 4')", "2 engines of 4 cores"),
        ("print('0 0')", "none: DALI decodes JPEG files with CUDA kernels"),
        ("print('what')", "unknown: "),
        ("import sys; sys.exit('libnvjpeg is not installed')", "unknown: libnvjpeg is not installed"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "unknown: exit code -11"),
        ("import time; time.sleep(20); print('1 8')", "unknown: "),
    ],
)
def test_a_child_that_answers_fails_crashes_or_hangs(monkeypatch, script, expected):
    monkeypatch.setattr(nvjpeg, "COMMAND", (sys.executable, "-c", script))
    monkeypatch.setattr(nvjpeg, "SECONDS", 0.3 if "sleep" in script else 10)
    found = gpus.jpeg()
    assert found.level == "ok" and found.found.startswith(expected)


def test_the_real_child_ends_without_a_crash():
    assert gpus.jpeg().found.split()[0] in ("unknown:", "none:", "1", "2")


def test_several_gpus_without_nccl_are_a_warning(two_gpus, monkeypatch):
    assert gpus.distributed(2).level == "ok"
    monkeypatch.setattr(torch.distributed, "is_nccl_available", lambda: False)
    assert gpus.distributed(2).level == "warning" and gpus.distributed(1).level == "ok"
    monkeypatch.setattr(torch.distributed, "is_available", lambda: False)
    assert gpus.distributed(0).found == "this torch runs in one process only"
