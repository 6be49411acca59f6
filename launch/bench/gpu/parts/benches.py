"""The benches of loading, of a step and of a teacher, on the recipes for photographs and for small images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from configs import reader
from launch.bench import loader, step, teacher
from launch.bench.command import step_class
from launch.bench.config import DistillStepConfig, LoaderConfig
from launch.bench.gpu.config import PartConfig
from launch.bench.gpu.parts import recipes
from launch.bench.gpu.result import Cell, Result, Table
from launch.bench.report import Report
from launch.bench.rounds import cpu_ms, rates

RATES = ("variant", "images/s", "least", "most", "CPU ms per image", "what it does")
RATIOS = ("ratio of images/s", "median", "least", "most", "goal", "reached")
LENGTH = ["--rounds", "5", "--seconds", "0.7"]
SHORT = ["--rounds", "1", "--seconds", "0"]
FEW = ["--images", "16", "--variants", "[pil-0, decode, dali-plan, host, resident]"]


def run(config: PartConfig, name: str) -> Result:
    """Run the bench that has the name of the part."""
    return {"loader": loading, "step": stepping, "teacher": teaching}[name](config)


def loading(config: PartConfig) -> Result:
    """Every way to load a batch of photographs, and of small images."""
    few = FEW if config.small else []
    found = [
        (recipe.words, loader.run(_read(LoaderConfig, [*recipe.loading, *few, *_length(config)]), _silent))
        for recipe in (recipes.photographs(config), recipes.arrays(config))
    ]
    return result(found)


def stepping(config: PartConfig) -> Result:
    """The whole recipe for photographs with its teacher, and a student of small images alone."""
    photographs, arrays = recipes.photographs(config), recipes.arrays(config)
    hints = recipes.LOGITS_ALONE if config.small else []
    taught = [*photographs.distilling, *hints, "--teacher", recipes.teacher(config)]
    alone = [*arrays.distilling, *recipes.WITHOUT_TEACHER]
    found = []
    for words, line in ((photographs.words, taught), (arrays.words, alone)):
        line = [*line, *_length(config), "--run_dir", str(config.folder / "step")]
        found.append((words, step.run(_read(step_class(line), line), _silent)))
    return result(found, recipes.teacher(config))


def teaching(config: PartConfig) -> Result:
    """The recipe for photographs without hints, which logits on disk cannot give."""
    photographs = recipes.photographs(config)
    taught = recipes.teacher(config)
    line = [*photographs.distilling, *recipes.LOGITS_ALONE, "--teacher", taught]
    line += [*_length(config), "--run_dir", str(config.folder / "step")]
    return result([(photographs.words, teacher.run(_read(DistillStepConfig, line), _silent))], taught)


def result(found: list[tuple[str, Report]], teacher_file: str = "") -> Result:
    """The tables of the reports; each with the images that it was measured on. teacher_file: a name to leave out."""
    tables: list[Table] = []
    notes: list[str] = []
    left_out: dict[str, str] = {}
    for words, report in found:
        tables.append(Table.of(f"On {words}", RATES, _rates(report)))
        if report.ratios:
            tables.append(Table.of(f"On {words}: ratios, paired within a round", RATIOS, _ratios(report)))
        work = report.work.replace(teacher_file, "a teacher of one epoch") if teacher_file else report.work
        notes += [" ".join(work.split()), *report.footer]
        left_out |= {f"{variant} on {words}": reason for variant, reason in report.left_out.items()}
    return Result(tables=tables, notes=notes, left_out=left_out)


def _rates(report: Report) -> list[list[Cell]]:
    spreads = {name: rates(laps) for name, laps in report.laps.items()}
    return [
        [name, spread.median, spread.low, spread.high, cpu_ms(report.laps[name]), report.notes[name]]
        for name, spread in spreads.items()
    ]


def _ratios(report: Report) -> list[list[Cell]]:
    rows: list[list[Cell]] = []
    for ratio in report.ratios:
        spread, least = ratio.spread, ratio.goal.least
        name = f"{ratio.goal.variant} / {ratio.against}"
        rows.append([name, spread.median, spread.low, spread.high, least, spread.median >= least])
    return rows


def _read(cls: Any, words: list[str]) -> Any:
    return reader.read(cls, words, prog="gpu", description="", other_sections=cls is LoaderConfig)


def _length(config: PartConfig) -> list[str]:
    return SHORT if config.small else LENGTH


_silent: Callable[[str], None] = lambda text: None  # noqa: E731
