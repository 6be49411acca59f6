"""The curves of all trainings of a run. Free of torch."""

from __future__ import annotations

from collections.abc import Sequence

from configs.figures import percent
from configs.shown import printable
from train.charts import curves, series
from train.charts.series import Curves
from train.report.elements import Cell, Chart, Missing, Section, chart
from train.report.facts import count, line, seconds, share
from train.report.folder import RunFolder
from train.report.networks import Subject

CAPTIONS = {
    "loss": "The loss and its terms",
    "accuracy": "Accuracy",
    "rate": "Learning rate",
    "norm": "Norm of the gradient",
    "time": "Where the time of an epoch goes",
}
LIMITS = {
    "data": "decoding and augmentation",
    "teacher": "the teacher",
    "step": "training steps",
    "evaluation": "evaluation",
}


def section(subject: Subject) -> Section:
    """Return the curves: teacher, student, all cuts in a row."""
    folder, parts = subject.folder, []
    if folder.kind == "compress":
        for name in ("teacher", "student"):
            if (stage := folder.stage(name)) is not None:
                parts.append(_one(stage, name, name.capitalize(), subject))
    if folder.kind in ("compress", "prune"):
        parts.append(_cuts(folder.cuts, subject))
    else:
        parts.append(_one(folder, "run", "Training", subject))
    none = Missing("No epoch is logged yet: metrics.jsonl has no curves.")
    missing = [] if any(part.charts for part in parts) else [none]
    shown = [part for part in parts if part.charts]
    return Section(key="curves", title="Curves", parts=shown, missing=missing)


def _one(folder: RunFolder, key: str, title: str, subject: Subject) -> Section:
    best = folder.result.number("best_epoch") or folder.status.number("best_epoch")
    teacher = None if key == "teacher" else _teacher(subject)
    reached = line("Best epoch: ", folder.result.fact(count, "best_epoch"), " of ", folder.result.fact(count, "epochs"),
                   ", ", folder.result.fact(share, "validation_accuracy"), " on validation; ",
                   folder.result.fact(seconds, "seconds"), " in all.")  # fmt: skip
    charts = _charts(folder.curves, key, title, None if best is None else round(best), teacher)
    return Section(key=f"curves-{key}", title=title, text=_profile(folder.curves, reached), charts=charts)


def _cuts(cuts: Sequence[RunFolder], subject: Subject) -> Section:
    both, starts = series.joined([cut.curves for cut in cuts])
    charts = _charts(both, "cuts", "Cuts", None, _teacher(subject), starts)
    text = f"{len(cuts)} trainings, each after a cut, which a dotted line marks."
    return Section(key="curves-cuts", title="Training between the cuts", text=_profile(both, text), charts=charts)


def _teacher(subject: Subject) -> float | None:
    found = None if subject.teacher is None else subject.teacher.validation
    return None if found is None else found.value


def _charts(
    found: Curves, key: str, title: str, best: int | None, teacher: float | None, starts: Sequence[float] = ()
) -> list[Chart]:
    panels = curves.panels(found, best=best, teacher=teacher, starts=starts)
    return [
        chart(panel, f"{key}-{name}", title=f"{title}: {CAPTIONS[name].lower()}", text=_told(found, name))
        for name, panel in panels.items()
    ]


def _told(found: Curves, name: str) -> str:
    """Say what a chart shows, for those who do not see it."""
    over = f"over {printable(f'{found.epochs:g}')} epochs"
    if name == "accuracy":
        values = [y for _, y in found[curves.VALIDATION]]
        return f"{CAPTIONS[name]} {over}: on validation from {percent(values[0])} to {percent(values[-1])}"
    if name == "loss" and (losses := [y for _, y in found["train/loss"]]):
        return f"{CAPTIONS[name]} {over}: from {losses[0]:.3g} to {losses[-1]:.3g}"
    return f"{CAPTIONS[name]} {over}"


def _profile(found: Curves, before: Cell) -> Cell:
    """Add what limits the speed of a training, where the seconds of its parts are logged."""
    sums = {part: sum(y for _, y in found[f"seconds/{part}"]) for part in LIMITS}
    total = sum(sums.values())
    if not total:
        return before
    part = max(sums, key=sums.__getitem__)
    told = f" {LIMITS[part].capitalize()} took most of the time: {percent(sums[part] / total, 0)}."
    return line(before if before is not None else "", told)
