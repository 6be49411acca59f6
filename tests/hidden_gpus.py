"""GPUs are hidden from tests that are not for them: a CPU test means a CPU, also on a machine with GPUs.

Hidden for the whole session and for every process that a test starts. No torch: it must not have looked yet.
"""

import os
import re

# For NVIDIA's GPUs, for AMD's, and for those of a Mac, which only accelerate can be kept from.
HIDDEN = {
    "CUDA_VISIBLE_DEVICES": "",
    "HIP_VISIBLE_DEVICES": "",
    "ROCR_VISIBLE_DEVICES": "",
    "ACCELERATE_USE_CPU": "true",
}


def wanted(marks: str) -> bool:
    """Whether an expression of `pytest -m` asks for tests of GPUs."""
    return re.search(r"\bgpu\b", re.sub(r"\bnot\s+gpu\b", "", marks)) is not None


def hide() -> None:
    """Hide all GPUs from this process and those that it starts."""
    os.environ.update(HIDDEN)
