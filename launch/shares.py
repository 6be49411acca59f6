"""What each of several runs on this machine may use: its share of the cores and of the GPUs. Free of torch."""

from __future__ import annotations

from collections.abc import Callable

from configs.errors import UsageError
from configs.resources import CORES
from launch.start import CUDA, Place, visible_gpus


def shares(runs: int, flag: str, look_around: Callable[[], Place]) -> list[dict[str, str]]:
    """Return variables for the environment of each of so many runs at a time; none for a single one, which has all.

    Args:
        runs: How many.
        flag: The option that says so, for the error.
        look_around: Says what there is.

    Raises:
        UsageError: There are fewer GPUs than runs.
    """
    if runs <= 1:
        return [{}] * runs
    place = look_around()
    cores = {CORES: str(max(place.cores // runs, 1))}
    gpus = visible_gpus(place.environment, place.gpus)
    if not gpus:
        return [cores] * runs
    if gpus < runs:
        raise UsageError(f"{flag} is {runs}, and only {gpus} GPUs are visible; {CUDA}= trains on the CPU")
    named = place.environment.get(CUDA) or ",".join(map(str, range(gpus)))
    visible = named.split(",")[:gpus]
    return [cores | {CUDA: ",".join(visible[run::runs])} for run in range(runs)]
