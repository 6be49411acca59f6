"""Whether precision bf16 pays on this CPU: its instructions, and a training step measured in both precisions."""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Collection
from pathlib import Path

from launch.doctor.checks import Check

INSTRUCTIONS = {"amx_bf16": "AMX", "avx512_bf16": "AVX512-BF16"}
"""As /proc/cpuinfo and a person call them; without one, bf16 is emulated."""
ROUNDS = 5
PAYS = 0.9  # of float32's time: less is lost in noise
IMAGES, SIDE = 32, 28


def check(cpuinfo: Path = Path("/proc/cpuinfo")) -> Check:
    """Say whether a run on the CPU should take precision bf16. Imports torch where the CPU has instructions for it."""
    found = instructions(cpuinfo)
    return verdict(found, time_share() if found else None)


def instructions(cpuinfo: Path) -> tuple[str, ...]:
    """Return the instructions for bf16 that the kernel reports; none where it reports nothing (not Linux)."""
    try:
        flags = re.search(r"^flags\s*:(.*)$", cpuinfo.read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        flags = None
    present = set(flags[1].split()) if flags else set()
    return tuple(name for flag, name in INSTRUCTIONS.items() if flag in present)


def verdict(found: Collection[str], share: float | None) -> Check:
    """share: time of a step in bf16 over that in float32; None: not measured."""
    if share is None:
        return Check("bf16", "ok", "this CPU has no instructions for it: train with precision float32")
    times = f"{' and '.join(found)}; a step of a small network takes {share:.2f} of float32's time"
    if share > PAYS:
        return Check("bf16", "ok", f"{times}: precision bf16 does not pay here")
    return Check("bf16", "ok", f"{times}: try precision bf16, and compare the accuracy of a few seeds")


def time_share() -> float:
    """Measure a training step of a small convolutional network in both precisions: the median ratio of CPU times."""
    import torch

    from models import zoo
    from models.spec import ModelSpec

    shape = (1, SIDE, SIDE)
    net = zoo.build(ModelSpec(name="resnet_small", depth=8), num_classes=10, input_CHW=shape).train()
    image_BCHW, label_B = torch.zeros(IMAGES, *shape), torch.zeros(IMAGES, dtype=torch.int64)

    def seconds(*, bf16: bool) -> float:
        start = time.process_time()  # of all threads: other programs do not count
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            logits_BK = net(image_BCHW)
        torch.nn.functional.cross_entropy(logits_BK.float(), label_B).backward()  # type: ignore[no-untyped-call]
        return time.process_time() - start

    pairs = [(seconds(bf16=True), seconds(bf16=False)) for _ in range(ROUNDS + 1)]
    return statistics.median(low / max(full, 1e-9) for low, full in pairs[1:])  # the first prepares the kernels
