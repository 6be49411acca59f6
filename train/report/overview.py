"""The verdict on a run, what stands in its way, and what was not checked. Free of torch."""

from __future__ import annotations

from collections.abc import Sequence

from configs.shown import command, printable
from train.report.elements import Cell
from train.report.facts import Fact, Line, Record, count, large, line, size, times
from train.report.folder import RunFolder
from train.report.networks import NOTHING, Network, Subject

WORDS = {
    "running": "is still running",
    "queued": "is waiting in Slurm's queue",
    "preempted": "was stopped before its end, and the same command goes on",
    "failed": "failed",
    "lost": "was killed (its folder says running, and its process is gone), and the same command goes on",
    "waiting": "has not begun",
    "unknown": "is in an unknown state: its status.json is missing or damaged",
}
FASTER = "ONNX Runtime, batch 1"
UNRECORDED = "How often the test split was read is not recorded: the run is of an earlier version."
ELSEWHERE = "Readings for other runs, and of copies of the weights, are not counted."
SEEN = (
    "settings may have been chosen by an earlier figure, so that the last one is not one on unseen images. Choose on "
    "validation (test: false, train.evaluate --split validation), and confirm the figure on images that are still new."
)
FEW = 1000
"""Images below which an interval is wide."""


def notices(folder: RunFolder) -> list[Cell]:
    """Say first what a reader must know: the run is not finished, failed, or has lost files."""
    found: list[Cell] = []
    if folder.state != "done":
        reached = line(folder.status.fact(count, "epoch"), " of ", folder.status.fact(count, "epochs"), " epochs")
        done = line(reached, " are done. ") or ""
        name = printable(str(folder.path))
        found.append(line(f"{name} {_state(folder)} ", done, "What follows is what there is so far."))
    found += [stage for path in _stages(folder) for stage in _unfinished(path)]
    if folder.state == "done" and not folder.result:
        found.append(f"{folder.path}/result.json is missing: scores are those in the header of the weights, if any.")
    return found


def _stages(folder: RunFolder) -> list[RunFolder]:
    stages = [folder.stage(name) for name in ("teacher", "student", "cut")] if folder.kind == "compress" else []
    return [stage for stage in stages if stage is not None]


def _unfinished(folder: RunFolder) -> list[str]:
    if folder.state == "done":
        return []
    return [f"The stage {printable(str(folder.path))} {_state(folder)}"]


def _state(folder: RunFolder) -> str:
    """Say how a run stands, and why, where it says why."""
    reason = folder.status.text("reason")
    return f"{WORDS[folder.state]}: {reason.rstrip('.')}." if reason else f"{WORDS[folder.state]}."


def verdict(subject: Subject) -> Line:
    """Return one sentence: how small, how good, how fast."""
    final, teacher = subject.final, subject.teacher
    parts = [
        _small(subject),
        line(final.accuracy, " (", final.interval, f") on {final.split}"),
        line("teacher ", teacher.accuracy) if teacher is not None else None,
        line(_faster(subject), f" times as fast as the teacher ({FASTER})"),
    ]
    if final.accuracy is None:
        parts[:2] = [line(final.validation, " on validation so far") or line("No score yet")]
    known = [part for part in parts if part is not None]
    pieces = [piece for part in known for piece in (*part.parts, "; ")]
    return Line((*pieces[:-1], "."))


def tiles(subject: Subject) -> list[tuple[str, Cell, Cell]]:
    """Return the main figures: a name, the figure, and what it is compared with."""
    final, teacher = subject.final, subject.teacher
    against = {key: None if teacher is None else line("teacher ", found) for key, found in _theirs(teacher).items()}
    speed = line(_faster(subject), " times")
    found: list[tuple[str, Cell, Cell]] = [
        (f"accuracy on {final.split}", final.accuracy, against["accuracy"]),
        ("parameters that are not zero", final.count(count, "nonzero"), against["nonzero"]),
        ("MACs per image", final.count(large, "macs"), against["macs"]),
        ("weights", final.count(size, "bytes"), against["bytes"]),
        ("as fast as the teacher", speed, FASTER),
    ]
    return [tile for tile in found if tile[1] is not None]


def _theirs(teacher: Network | None) -> dict[str, Fact | None]:
    if teacher is None:
        return dict.fromkeys(("accuracy", "nonzero", "macs", "bytes"))
    counts = {key: teacher.count(style, key) for key, style in (("nonzero", count), ("macs", large), ("bytes", size))}
    return {"accuracy": teacher.accuracy, **counts}


def _small(subject: Subject) -> Line | None:
    """Parameters, and the budget where there was one."""
    final, budget = subject.final, budget_of(subject.folder)
    used = final.count(count, "nonzero")
    if budget is None:
        return line(used, " parameters")
    return line(used, " of ", budget, " parameters")


def budget_of(folder: RunFolder) -> Fact | None:
    """Return the budget of parameters in a config."""
    keys = ("prune", "budget", "parameters")
    return folder.settings.fact(count, *(("cut", *keys) if folder.kind == "compress" else keys))


def _faster(subject: Subject) -> Fact | None:
    return subject.folder.export.fact(times, "ratios", "latency", FASTER, "median")


def unchecked(
    subject: Subject, *, seeds: int, controls: Sequence[str], chosen_of: int = 1, computed: Record = NOTHING
) -> list[Cell]:
    """Say in plain sight what the figures do not tell.

    seeds: runs that differ in their seed alone. controls: names of other runs in the report. chosen_of: runs of a sweep
    of which this is the best by validation. computed: report.json, with the number of readings of test.
    """
    final, folder = subject.final, subject.folder
    found: list[Cell] = []
    if final.split == "validation":
        why = (
            "the config says test: false" if folder.config.get("test") is False else "the data set has none with labels"
        )
        own = (
            "The run itself read no test split" if computed.number("test_reads", "number") else "No test split was read"
        )
        found.append(f"{own} ({why}): accuracies are on the images by which epochs were chosen.")
    else:
        found.append("Epochs were chosen by validation accuracy: figures on validation are better than on new images.")
    found += _test_reads(subject, computed)
    if chosen_of > 1:
        found.append("This is the best of several runs by validation accuracy: on new images it is less far ahead.")
    samples = final.result.fact(count, "accuracy_samples")
    if samples is not None and samples.value < FEW:
        found.append(line("The accuracy is over ", samples, " images: differences within the interval tell nothing."))
    if seeds < 2:
        again = "the same run with --seed 1 and 2, and all of them in one train.report, show the spread"
        found.append(f"One seed: another one gives another accuracy; {again}.")
    if subject.teacher is not None and not controls:
        found.append("No control is in this report: whether the teacher helps, and whether cutting beats training the "
                     "small network from scratch, is not shown. Name such runs after this one.")  # fmt: skip
    if _faster(subject) is not None:
        found.append("Speed was measured on the machine that ran the export, on its CPU or GPU; another one differs.")
    return found


def _test_reads(subject: Subject, computed: Record) -> list[Cell]:
    """Say how often the test split was read, and whether its figure can still be trusted."""
    number, tested = computed.fact(count, "test_reads", "number"), subject.final.split == "test"
    if number is None:
        return [UNRECORDED] if computed.get("test_reads") and tested else []
    least = "" if computed.get("test_reads", "complete") else "at least "
    if number.value < 2:
        once = f"The test split was read {least}once{', at the end' * tested}. {ELSEWHERE}"
        return [once] if number.value else []
    told = line(f"The test split was read {least}", number, " times")
    networks = computed.fact(count, "test_reads", "networks")
    if networks is not None and networks.value == 1:
        return [line(told, f", always for the same weights: as good as once. {ELSEWHERE}")]
    return [line(told, line(", for ", networks, " different networks") or "", f": {SEEN}")]


def again(folder: RunFolder) -> str:
    """Return the command that made a run, to paste; nothing if it is not known."""
    words = folder.environment.get("command")
    return command(*words) if isinstance(words, list) and words else ""
