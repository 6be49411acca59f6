"""One network of a library through its whole way, in a process of its own: `python tests/network_trial.py NAME`.

The network is cut to half of its parameters in three cuts, as train.prune does it, saved, loaded and trained for one
step. The last line of the output is one JSON object. CPU time is limited, so that a hang is a result.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

LIMIT = 60
"""CPU seconds of one network, without imports and the choice of an image size."""
IMPORTS = 40
SIZES = (32, 64, 96, 128, 224, 240, 256)
"""Image sides, smallest first; the first that the network takes is used."""
CLASSES = 10
CUTS = 3


def trial(name: str) -> dict[str, object]:
    """Return outcome (whole, refused, failed or slow), CPU seconds and a message, from a process of its own."""
    command = [sys.executable, __file__, name]
    done = subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=_limit)
    if done.returncode < 0:
        return {"name": name, "outcome": "slow", "cpu_s": LIMIT, "message": f"it takes more than {LIMIT} CPU seconds"}
    if done.returncode:  # an exception that no message explains
        lines = done.stderr.strip().splitlines()
        return {"name": name, "outcome": "failed", "cpu_s": None, "message": lines[-1] if lines else "no message"}
    found: dict[str, object] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (LIMIT + IMPORTS, LIMIT + IMPORTS))


def main(name: str) -> None:
    """Run one network and print its result."""
    import timm  # noqa: F401
    import torch
    import torchvision  # noqa: F401

    from configs.errors import UserError

    torch.set_num_threads(1)
    torch.manual_seed(0)
    net, size = _built(name)
    start = time.process_time()
    found: dict[str, object] = {"name": name, "outcome": "whole", "message": "", "size": size[1]}
    try:
        found |= _whole_way(name, net, size)
    except UserError as error:
        found |= {"outcome": "refused", "message": str(error)}
    found["cpu_s"] = round(time.process_time() - start, 1)
    if found["cpu_s"] > LIMIT:
        found["outcome"] = "slow"
    found["rss_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps(found))


def _whole_way(name: str, net: nn.Module, size: tuple[int, int, int]) -> dict[str, object]:
    import torch
    from torch.nn import functional as F

    from models import artefact
    from models.artefact import Card
    from models.counting import measure
    from models.pruning import planner, surgery
    from models.pruning.spec import Budget, PruneSpec
    from models.spec import ModelSpec

    first = measure(net, size)
    spec = PruneSpec(budget=Budget(parameters=first.parameters // 2), steps=CUTS)
    plan = planner.plan(net, size, spec)
    for number in range(CUTS):
        cost = measure(net, size)
        target = spec.budget.next_target(cost.parameters, cost.macs, CUTS - number)
        surgery.apply(net, planner.plan_cut(net, size, target, spec, start=plan.widths))
    after = measure(net, size)
    assert after.parameters <= first.parameters // 2, (after.parameters, first.parameters)
    card = Card(
        model=ModelSpec(name=name),
        classes=tuple(f"class{i}" for i in range(CLASSES)),
        input_CHW=size,
        mean=(0.5,) * 3,
        std=(0.25,) * 3,
        eval_crop=1.0,
        cost=after,
        pruned=True,
    )
    with tempfile.TemporaryDirectory() as folder:
        artefact.save(Path(folder) / "cut.safetensors", net, card)
        loaded, _ = artefact.load(Path(folder) / "cut.safetensors")
    image_BCHW = torch.randn(2, *size)
    with torch.no_grad(), surgery.evaluating(net):
        difference = float((net(image_BCHW) - loaded(image_BCHW)).abs().max())
    assert difference == 0, f"the loaded network differs by {difference}"
    loss = F.cross_entropy(loaded.train()(image_BCHW), torch.arange(2))
    loss.backward()
    return {"before": first.parameters, "after": after.parameters}


def _built(name: str) -> tuple[nn.Module, tuple[int, int, int]]:
    from configs.errors import UsageError
    from models import zoo
    from models.spec import ModelSpec

    for side in SIZES:
        size = (3, side, side)
        try:
            net = zoo.build(ModelSpec(name=name), num_classes=CLASSES, input_CHW=size)
        except UsageError:
            if side == SIZES[-1]:
                raise
            continue
        return net, size
    raise AssertionError


if __name__ == "__main__":
    main(sys.argv[1])
