"""Checks of GPUs: driver, memory, compute capability, JPEG decoders, and communication between processes."""

from __future__ import annotations

import re
import shutil
import subprocess
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from data_pipes.executors import nvjpeg
from launch.doctor.checks import Check, first_line, limit
from launch.doctor.machine import gigabytes

if TYPE_CHECKING:
    import torch

SECONDS = 60  # for a child process; an idle GPU takes a while to initialise
DRIVER_FILE = Path("/proc/driver/nvidia/version")
FREE_SHARE = 0.5


def checks() -> list[Check]:
    """All checks of this module. Imports torch."""
    import torch

    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        count = number()
    driver = driver_version()
    if count and torch.version.hip is None:
        found = [Check("driver", "ok", f"NVIDIA {driver or 'of unknown version'}; torch is built for {_build()}")]
        return [*found, *map(gpu, range(count)), jpeg(), distributed(count)]
    if count:
        return [*map(gpu, range(count)), distributed(count)]
    return [no_gpu(driver, [first_line(w.message) for w in heard if isinstance(w.message, Warning)]), distributed(0)]


def number() -> int:
    """Number of cuda devices that torch can use."""
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def training_device() -> torch.device:
    """Device on which the first process of a run trains."""
    import torch

    from train.processes import accelerator_type

    kind = accelerator_type()
    return torch.device("cpu") if kind is None else torch.device(kind, 0)


def _build() -> str:
    """Platform that the installed torch is built for."""
    import torch

    return f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU only"


def no_gpu(driver: str | None, heard: Sequence[str]) -> Check:
    """Check without GPUs: a warning where there is a driver. heard: warnings of torch."""
    import torch

    if torch.accelerator.is_available():
        device = torch.accelerator.current_accelerator()
        cpu = ", which has no float64: networks train on the CPU" if training_device().type == "cpu" else ""
        return Check("GPU", "ok", f"torch device {device}{cpu}")
    if driver is None:
        return Check("GPU", "ok", "no GPU: networks train on the CPU")
    found = f"NVIDIA driver {driver}, but torch {torch.__version__} (built for {_build()}) cannot use a GPU"
    advice = "update the driver or install a torch for an older CUDA; in a container, start it with --gpus all"
    return Check("GPU", "warning", ": ".join([found, *heard[:1]]), advice)


def driver_version() -> str | None:
    """Version of the NVIDIA driver; None without one."""
    try:
        return parse_driver(DRIVER_FILE.read_text(encoding="utf-8"))
    except OSError:
        pass
    if not shutil.which("nvidia-smi"):
        return None
    try:
        return parse_driver(_run("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"))
    except (OSError, subprocess.SubprocessError):
        return None


def parse_driver(text: str) -> str | None:
    """The first driver version (570.124.06) in the output of the kernel module or nvidia-smi."""
    found = re.search(r"(?<![\d.])\d{3,4}\.\d+(\.\d+)?(?![\d.])", text)
    return found[0] if found else None


def gpu(index: int) -> Check:
    """Name, memory and compute capability of one GPU."""
    import torch

    name = f"GPU {index}"
    try:
        properties = torch.cuda.get_device_properties(index)
        free, total = torch.cuda.mem_get_info(index)
    except RuntimeError as error:
        advice = "nvidia-smi shows which process uses it; CUDA_VISIBLE_DEVICES excludes it"
        return Check(name, "warning", f"cannot be opened: {first_line(error)}", advice)
    capability = (properties.major, properties.minor)
    found = f"{properties.name}, {gigabytes(free)} of {gigabytes(total)} free"
    if torch.version.hip is None:
        found += f", compute capability {capability[0]}.{capability[1]}"
        if not has_kernels(capability, torch.cuda.get_arch_list()):
            return Check(
                name, "warning", f"{found}; this torch has no kernels for it", "install another build of torch"
            )
    advice = "another process uses the rest (nvidia-smi shows which): use a smaller micro_batch_size, or wait"
    return limit(name, found, good=free >= FREE_SHARE * total, advice=advice)


def has_kernels(capability: tuple[int, int], built: Sequence[str]) -> bool:
    """Whether a build with these targets (sm_80, sm_90a, compute_90) runs on a GPU of this capability."""
    return not built or any(_runs_on(capability, target) for target in built)


def _runs_on(capability: tuple[int, int], target: str) -> bool:
    """Machine code (sm) runs on the same major version and on no lower minor one; with suffix `a`, on its version only.

    compute is compiled when loaded, for its version or a newer one.
    """
    parts = re.fullmatch(r"(sm|compute)_(\d+)(\d)([af]?)", target)
    if parts is None:
        return False
    kind, needed, exact = parts[1], (int(parts[2]), int(parts[3])), parts[4] == "a"
    if exact:
        return needed == capability
    return needed <= capability and (kind == "compute" or needed[0] == capability[0])


def jpeg() -> Check:
    """Hardware JPEG decoders of the first GPU, found in a separate process."""
    try:
        engines, cores = nvjpeg.ask()
    except subprocess.CalledProcessError as error:
        why = (error.stderr or "").strip().splitlines()
        return Check("JPEG hardware", "ok", f"unknown: {why[-1] if why else f'exit code {error.returncode}'}")
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        return Check("JPEG hardware", "ok", f"unknown: {first_line(error)}")
    if engines == 0:
        return Check("JPEG hardware", "ok", "none: DALI decodes JPEG files with CUDA kernels")
    found = f"{engines} engine{'s' if engines > 1 else ''} of {cores} cores; data.dali.hw_decoder_load is its share"
    return Check("JPEG hardware", "ok", found)


def distributed(gpus: int) -> Check:
    """Backends between the processes of a run: NCCL for NVIDIA GPUs, gloo for CPUs."""
    import torch

    if not torch.distributed.is_available():
        return Check("processes", "ok", "this torch runs in one process only")
    ways = ["gloo"] if torch.distributed.is_gloo_available() else []
    nccl = torch.distributed.is_nccl_available()
    if nccl:
        number = ".".join(map(str, torch.cuda.nccl.version()))  # type: ignore[no-untyped-call]
        ways.insert(0, f"{'RCCL' if torch.version.hip else 'NCCL'} {number}{'' if gpus else ' (needs GPUs)'}")
    advice = "several GPUs need NCCL: install torch for Linux from the package index"
    return limit("processes", ", ".join(ways) or "neither NCCL nor gloo", good=nccl or gpus < 2, advice=advice)


def _run(*words: str) -> str:
    """Output of a command. CalledProcessError, TimeoutExpired or OSError: it failed."""
    return subprocess.run(
        words, capture_output=True, encoding="utf-8", errors="replace", timeout=SECONDS, check=True
    ).stdout
