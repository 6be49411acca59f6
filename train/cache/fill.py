"""Filling or checking a cache of teacher logits, on any number of processes and jobs."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from accelerate import Accelerator
from rich.table import Table

from configs import reader
from configs.locks import LockedError
from configs.tables import PlainConsole, plain_table
from data_pipes.loader import Layout
from data_pipes.logits.cache import ROWS_PER_BLOCK
from data_pipes.logits.codec import HEADER, Codec
from data_pipes.sources import source
from data_pipes.sources.source import Source
from train import guards, live_teacher
from train.adopt import on_the_fly
from train.cache import teacher as cached_teacher
from train.cache.config import CacheConfig
from train.cache.filler import Difference, Filler, require_close
from train.evaluate import teacher_check
from train.live_teacher import LiveTeacher
from train.loaders import choose_executor, load_splits, say, training_loader
from train.processes import dtype_of, search_algorithms, start_run
from train.run_folder import own_code
from train.run_folder.occupied import recorded
from train.run_folder.run_dir import RunDir

logger = logging.getLogger(__name__)


def run(config: CacheConfig, status_folder: str | None = None) -> None:
    """Run train.cache.

    Args:
        config: What to fill, verify or repair.
        status_folder: Folder of the status that says how it ends. None: no status, since the run_dir of a config file
            is that of the training which reads the cache.
    """
    if config.dry_run:
        own_code.register(config, RunDir.at(config.run_dir))
        PlainConsole().print(estimate(config))
        return
    accelerator = start_run(config)
    own_code.register(config, RunDir.at(config.run_dir))
    folder = None if status_folder is None or not accelerator.is_main_process else RunDir.at(status_folder)
    with _recorded(folder, config):
        _work(config, accelerator)
    accelerator.end_training()


@contextmanager
def _recorded(folder: RunDir | None, config: CacheConfig) -> Iterator[None]:
    """Record how the work ends, unless a training is in the folder or another process that fills the same cache."""
    with ExitStack() as stack:
        if folder is not None and not folder.started:
            try:
                stack.enter_context(recorded(folder, reader.dump(config), kind="cache"))
            except LockedError:
                logger.info("another process keeps the status of %s", folder.path)
        yield


def _work(config: CacheConfig, accelerator: Accelerator) -> None:
    filler = prepare(config, accelerator)
    if config.verify:
        report = filler.compare(list(config.view_numbers), config.verify, seed=config.seed)
        require_close(report, config.distill.cache)
        _say(accelerator, _shown(report))
    else:
        if config.repair and accelerator.is_main_process:
            _discard(filler, config.view_numbers)
        accelerator.wait_for_everyone()
        search_algorithms(len(config.view_numbers) * filler.loader.steps)
        fill(filler, config.view_numbers)
    accelerator.wait_for_everyone()
    filler.loader.close()


def prepare(config: CacheConfig, accelerator: Accelerator) -> Filler:
    """Open the cache, load the teacher, and build a loader of the views that training will show the student."""
    config = on_the_fly.with_teacher(config, accelerator, RunDir.at(config.run_dir))
    assert config.teacher is not None
    size = config.distill.teacher_size
    live_teacher.require_fit(config.teacher, config.data, size)
    train, validation = load_splits(accelerator, Source(config.data))
    say(train, validation)
    teacher = LiveTeacher.load(config.teacher, config.data, train.classes, size=size)
    chosen = choose_executor(accelerator, config.data, train)  # as in training, before the teacher takes memory
    teacher.to(accelerator.device, dtype_of(config.precision))
    guards.require_frozen(teacher.model)
    teacher_check.check(teacher, config, validation, accelerator)
    micro = config.micro_batch_size or max(config.batch_size // accelerator.num_processes, 1)
    layout = Layout(batch_size=micro, micro_batch_size=micro)
    loader = training_loader(config, accelerator, train, layout, chosen)
    logger.info("executor: %s; %s", chosen.label, chosen.reason)
    cache = cached_teacher.open_cache(config, loader, chosen, to_fill=not config.verify)
    return Filler(cache, loader, teacher, accelerator)


def fill(filler: Filler, views: range) -> None:
    """Make what is missing of all views, and say how it goes."""
    started, done = time.monotonic(), 0
    for number, view in enumerate(views, start=1):
        if view in filler.cache.views:
            continue
        done += filler.fill(view)
        seconds = max(time.monotonic() - started, 1e-9)
        rest = (len(views) - number) * seconds / number
        logger.info(
            "view %d, %d of %d: %.0f images/s by this process, %.0f s left",
            *(view, number, len(views), done / seconds, rest),
        )
    size = filler.cache.nbytes_per_view * len(views)
    logger.info("%s holds %d views, %.1f MB", filler.cache.folder, len(filler.cache.views), size / 1e6)


def estimate(config: CacheConfig) -> Table:
    """What the cache costs, and from how many runs on it saves work."""
    samples, views = source.load(config.data, "train"), len(config.view_numbers)
    count, classes, folder = len(samples), len(samples.classes), str(config.distill.cache)
    codec = Codec.choose(classes, config.distill.store)
    online, once = max(round(config.passes * count), 1), views * count
    size = once * codec.row_bytes(classes) + views * -(-count // ROWS_PER_BLOCK) * HEADER.size
    table = plain_table()
    table.add_column("", no_wrap=True)
    table.add_column("", justify="right", overflow="fold")
    table.add_row("teacher's images in a run of this config, online", f"{online:,}")
    table.add_row(f"teacher's images for a cache of {views} views, once", f"{once:,}")
    table.add_row("bytes of its logits and their checksums", f"{size:,}")
    table.add_row("the cache asks the teacher less from run", f"{once // online + 1}")
    table.add_row("folder", folder)
    return table


def _discard(filler: Filler, views: range) -> None:
    """Take out what is damaged; what is merely not there yet is no damage."""
    cache = filler.cache
    begun = [view for view in views if view in cache.views or len(cache.missing(view)) < len(cache.blocks)]
    found = cache.damage(begun)
    for place, reason in found.items():
        name = "manifest" if place.block is None else f"block {place.block}"
        logger.info("view %d, %s: %s", place.view, name, reason)
    cache.discard(found)


def _shown(report: Difference) -> str:
    return (
        f"the cached logits of {report.samples} samples differ from the teacher's own by at most {report.largest:.3g}; "
        f"one sample's by {report.relative:.2g} times what samples differ by ({report.where})"
    )


def _say(accelerator: Accelerator, text: str) -> None:
    if accelerator.is_main_process:
        PlainConsole().print(text, soft_wrap=True)
