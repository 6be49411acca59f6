"""Images per second of DALI from files, by the share of images that the hardware JPEG decoder takes."""

from __future__ import annotations

from dataclasses import replace

from configs import reader
from configs.figures import counted
from data_pipes.executors import choice
from data_pipes.sources import source
from launch.bench.config import LoaderConfig
from launch.bench.executors import planned
from launch.bench.gpu.config import PartConfig
from launch.bench.gpu.parts import recipes
from launch.bench.gpu.result import Cell, Result, Table
from launch.bench.loader import make_work
from launch.bench.rounds import Variant, measure, rates
from launch.bench.work import LeftOut, Work

SHARES = (0.0, 0.25, 0.5, 0.65, 0.8, 1.0)
FEW_SHARES = (0.0, 0.65)
COLUMNS = ("hw_decoder_load", "images/s", "least", "most")


def run(config: PartConfig, name: str) -> Result:
    """Measure each share in turn. LeftOut: DALI is not installed."""
    if not choice.dali_installed():
        raise LeftOut("NVIDIA DALI is not installed: pip install nvidia-dali-cuda120 (Linux)")
    photographs = recipes.photographs(config)
    few = ["--images", "16", "--rounds", "1", "--seconds", "0"] if config.small else ["--images", "1024"]
    words = [*photographs.loading, *few]
    timing = reader.read(LoaderConfig, words, prog=name, description=name, other_sections=True)
    work = make_work(timing, source.load(timing.data, "train"))
    variants: dict[str, Variant] = {}
    try:
        for share in FEW_SHARES if config.small else SHARES:
            variants[f"{share:g}"] = _with_share(work, share)
        laps = measure(variants, timing.rounds, images=len(work.samples), seconds=timing.seconds)
    finally:
        for variant in variants.values():
            variant.close()
    spreads = {share: rates(own) for share, own in laps.items()}
    rows: list[list[Cell]] = [[float(share), one.median, one.low, one.high] for share, one in spreads.items()]
    height, width = work.spec.image_size
    threads = counted(work.spec.thread_count, "thread")
    note = f"{photographs.words}, to batches of {work.batch_size} x {height} x {width}, {threads}"
    best = max(spreads, key=lambda share: spreads[share].median)
    advice = [] if config.small else [f"fastest here: data.dali.hw_decoder_load {best}"]
    return Result(tables=[Table.of("DALI from files", COLUMNS, rows)], notes=[note, *advice])


def _with_share(work: Work, share: float) -> Variant:
    options = replace(work.spec.dali, feed="files", hw_decoder_load=share)
    return planned(work, executor="dali", dali=options)
