"""Images per second of DALI from files, by the hardware decoder's share of JPEG files and by what is decoded."""

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
from launch.bench.work import LeftOut

WAYS = ((0.0, True), (0.25, True), (0.5, True), (0.65, True), (0.8, True), (1.0, True), (0.0, False), (0.65, False))
"""hw_decoder_load and fancy_upsampling: whole images with true, crops alone with false."""
FEW_WAYS = ((0.0, True), (0.65, True), (0.65, False))
COLUMNS = ("hw_decoder_load", "fancy_upsampling", "images/s", "least", "most")


def run(config: PartConfig, name: str) -> Result:
    """Measure each way in turn. LeftOut: DALI is not installed."""
    if not choice.dali_installed():
        raise LeftOut("NVIDIA DALI is not installed: pip install nvidia-dali-cuda120 (Linux)")
    photographs = recipes.photographs(config)
    few = ["--images", "16", "--rounds", "1", "--seconds", "0"] if config.small else ["--images", "1024"]
    words = [*photographs.loading, *few]
    timing = reader.read(LoaderConfig, words, prog=name, description=name, other_sections=True)
    work = make_work(timing, source.load(timing.data, "train"))
    ways = FEW_WAYS if config.small else WAYS
    variants: dict[str, Variant] = {}
    try:
        for share, fancy in ways:
            options = replace(work.spec.dali, feed="files", hw_decoder_load=share, fancy_upsampling=fancy)
            variants[f"{share:g} {fancy}"] = planned(work, executor="dali", dali=options)
        laps = measure(variants, timing.rounds, images=len(work.samples), seconds=timing.seconds)
    finally:
        for variant in variants.values():
            variant.close()
    spreads = {way: rates(laps[name]) for name, way in zip(variants, ways, strict=True)}
    rows: list[list[Cell]] = [[*way, one.median, one.low, one.high] for way, one in spreads.items()]
    height, width = work.spec.image_size
    threads = counted(work.spec.thread_count, "thread")
    note = f"{photographs.words}, to batches of {work.batch_size} x {height} x {width}, {threads}"
    share, fancy = max(spreads, key=lambda way: spreads[way].median)
    fastest = f"fastest here: data.dali.hw_decoder_load {share:g}, data.dali.fancy_upsampling {str(fancy).lower()}"
    advice = [] if config.small else [fastest]
    return Result(tables=[Table.of("DALI from files", COLUMNS, rows)], notes=[note, *advice])
