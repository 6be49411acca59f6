"""Hardware JPEG decoders of a GPU: python -m data_pipes.executors.nvjpeg prints `ENGINES CORES`, cores per engine.

It runs as a separate process without torch: a broken driver may kill it, and its device memory is freed when it ends.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import subprocess
import sys
from ctypes.util import find_library
from pathlib import Path

COMMAND = (sys.executable, "-m", "data_pipes.executors.nvjpeg")
SECONDS = 60.0  # for the process; an idle GPU takes a while to initialise


def ask() -> tuple[int, int]:
    """Engines, and cores per engine, of the first visible GPU, from a process of its own.

    OSError, ValueError or subprocess.SubprocessError, whose stderr may have the reason: unknown.
    """
    root = Path(__file__).parents[2]  # where -m finds this module
    answer = subprocess.run(
        COMMAND, capture_output=True, encoding="utf-8", errors="replace", timeout=SECONDS, check=True, cwd=root
    ).stdout
    engines, cores = map(int, answer.split())
    return engines, cores


@functools.cache
def hardware() -> str:
    """What distinguishes the pixels of a GPU from those of one with JPEG hardware; empty for one that has it."""
    try:
        engines, _ = ask()
    except (OSError, ValueError, subprocess.SubprocessError):
        return ", JPEG hardware unknown"
    return "" if engines else ", no JPEG hardware"


def library() -> str | None:
    """Path of libnvjpeg in NVIDIA's wheels, or else in the CUDA toolkit; None where neither is installed."""
    spec = importlib.util.find_spec("nvidia")
    folders = spec.submodule_search_locations if spec else None
    found = sorted(file for folder in folders or () for file in Path(folder).glob("*/lib/libnvjpeg.so.*"))
    return str(found[-1]) if found else find_library("nvjpeg")


def decoders(nvjpeg: ctypes.CDLL) -> tuple[int, int]:
    """Number of engines, and of cores per engine. RuntimeError: a call failed, with its status (nvjpegStatus_t)."""
    handle, engines, cores = ctypes.c_void_p(), ctypes.c_uint(), ctypes.c_uint()
    _check("nvjpegCreateSimple", nvjpeg.nvjpegCreateSimple(ctypes.byref(handle)))
    status = nvjpeg.nvjpegGetHardwareDecoderInfo(handle, ctypes.byref(engines), ctypes.byref(cores))
    nvjpeg.nvjpegDestroy(handle)
    _check("nvjpegGetHardwareDecoderInfo", status)
    return engines.value, cores.value


def _check(call: str, status: int) -> None:
    if status:
        raise RuntimeError(f"{call} failed with status {status}")


def main() -> int:
    """Print the numbers and return 0; or print the reason on stderr and return 1."""
    name = library()
    try:
        if name is None:
            raise RuntimeError("libnvjpeg is not installed")
        engines, cores = decoders(ctypes.CDLL(name))
    except (OSError, AttributeError, RuntimeError) as error:
        print(error, file=sys.stderr)
        return 1
    print(engines, cores)
    return 0


if __name__ == "__main__":
    sys.exit(main())
