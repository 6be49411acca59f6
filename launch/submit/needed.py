"""Files that runs of a sweep need: looked for before the first run starts, or a job is queued. Free of torch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from configs.errors import InputError
from configs.home import expand
from launch.submit.request import Request, run_settings
from launch.submit.selection import Selection
from launch.sweep_folder import Submission, SweepFolder
from models.spec import names_file
from train.cache.config import CacheConfig
from train.compress.config import CompressConfig
from train.config import DistillConfig, TrainConfig


def require(request: Request, selection: Selection) -> None:
    """Refuse a submission if a run of it has not begun and would not find a file or its data.

    What runs of --after will have written by then is not looked for, nor data that only the nodes may see.

    Raises:
        InputError: The message names each missing file, the runs that need it and what writes it.
    """
    submission, here = selection.submission, Path(request.submission.directory)
    coming = [Path(str(submission.after))] if request.coming else []
    if request.cluster is not None and not request.coming:
        coming = list(_before(submission))
    lacking: dict[tuple[str, str], int] = {}
    for run in (run for part in selection.parts for run in part.runs.values()):
        folder = request.folder.run_dir(run.id)
        if (here / folder / "config.yaml").exists():
            continue  # it has what it needs, or says so itself
        config = run_settings(request.folder, request.submission, run)
        for key, name in files(config, data=request.cluster is None):
            path = here / expand(name)
            if not path.exists() and not any(path.is_relative_to(parent) for parent in coming):
                lacking[key, name] = lacking.get((key, name), 0) + 1
    if lacking:
        raise InputError("\n".join(_message(key, name, count) for (key, name), count in lacking.items()))


def files(config: Any, *, data: bool) -> Iterator[tuple[str, str]]:
    """Yield keys and paths of what a run reads. data: the folder of its data set, too."""
    if data and config.data.root is not None:
        yield "data.root", config.data.root
    if isinstance(config, CompressConfig):
        stages: tuple[TrainConfig, ...] = (config.distillation(),)
        named = {"teacher": config.teacher, "student.model.name": config.student.model.name}
    elif isinstance(config, CacheConfig):
        stages, named = (), {"teacher": config.teacher_file}
    else:
        stages = (config,)
        network = "student.name" if isinstance(config, DistillConfig) else "model.name"
        named = {"teacher": config.teacher_file, network: config.trained.name}
    for key, name in named.items():
        if name is not None and names_file(name):
            yield key, name
    for stage in stages:
        if stage.loss.teacher_logits == "cached" and stage.loss.cache:
            yield "distill.cache", stage.loss.cache


def _before(submission: Submission) -> Iterator[Path]:
    """The folders of the sweeps that one continues, as far back as they are there."""
    after = submission.after
    while after is not None:
        folder = SweepFolder(Path(submission.directory) / after)
        yield folder.path
        after = folder.load().after if folder.file.exists() else None


def _message(key: str, name: str, count: int) -> str:
    start = f"{key} {name} is not there, and {count:,} run{'s need' if count != 1 else ' needs'} it; "
    folder = Path(name).parent
    if key == "data.root":
        return f"{start}name the folder of the images with --data.root"
    if key == "distill.cache":
        return f"{start}train.cache writes it, with the same config"
    if Path(name).name == "model.safetensors":
        command = "train.teacher" if key == "teacher" else "train.distill"
        return f"{start}a finished run writes it: train it first (python -m {command} ... --run_dir {folder})"
    return f"{start}name another with --{key}"
