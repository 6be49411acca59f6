"""What each of several runs on this machine may use: its share of the cores and of the GPUs. Free of torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from configs.errors import UsageError
from configs.figures import counted
from configs.resources import CORES, GPU_RUNS
from launch.start import CUDA, THREADS, Place, to_reach, visible_gpus


def shares(runs: int, flag: str, look_around: Callable[[], Place]) -> list[dict[str, str]]:
    """Return variables for the environment of each of so many runs at a time; none for a single one, which has all.

    All have as many GPUs, so that runs that are compared have as many processes. Where there are fewer GPUs than runs,
    each GPU has equally many: those of small networks leave most of a GPU idle.

    Args:
        runs: How many.
        flag: The option that says so, for the error.
        look_around: Says what there is.

    Raises:
        UsageError: GPUs would have unequal numbers of runs, or the runs would be on other machines.
    """
    if runs <= 1:
        return [{}] * runs
    place = look_around()
    if to_reach(place.environment):
        raise UsageError(f"{flag} is for the machine that this is; in a Slurm allocation, give --cluster")
    cores = max(place.cores // runs, 1)
    found = [{CORES: str(cores), **_threads(place, cores)} for _ in range(runs)]
    gpus = visible_gpus(place.environment, place.gpus)
    if not gpus:
        return found
    each, on_one = gpus // runs, runs // gpus
    if not each and runs % gpus:
        raise UsageError(
            f"{flag} is {runs}, and {gpus} GPUs are visible: give {gpus * on_one} or {gpus * (on_one + 1)}, so that "
            f"each GPU has equally many runs; {CUDA}= trains on the CPU"
        )
    named = place.environment.get(CUDA) or ",".join(map(str, range(gpus)))
    visible = named.split(",")
    own = [visible[run * each : (run + 1) * each] if each else [visible[run // on_one]] for run in range(runs)]
    shared = {GPU_RUNS: str(on_one)} if on_one > 1 else {}
    return [one | {CUDA: ",".join(ids)} | shared for one, ids in zip(found, own, strict=True)]


def described(shared: Sequence[Mapping[str, str]]) -> str:
    """Say what runs at a time, such as `8 at a time, each with 1 GPU and 8 cores`."""
    one = shared[0]
    gpus = [counted(len(one[CUDA].split(",")), "GPU")] if CUDA in one else []
    text = f"{len(shared)} at a time, each with {' and '.join([*gpus, counted(int(one[CORES]), 'core')])}"
    return f"{text}; {one[GPU_RUNS]} share a GPU" if GPU_RUNS in one else text


def _threads(place: Place, cores: int) -> dict[str, str]:
    """A thread for each core of a share, where the user asks for more."""
    asked = place.environment.get(THREADS, "")
    return {THREADS: str(cores)} if asked.isdecimal() and int(asked) > cores else {}
