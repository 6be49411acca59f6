"""The outcomes of the parts as Markdown. Everything in it is in the outcomes. Free of torch."""

from __future__ import annotations

from collections.abc import Mapping

from configs.figures import counted, duration
from configs.shown import printable
from launch.bench.gpu.order import PARTS, Part
from launch.bench.gpu.result import Cell, Outcome, Table

HEAD = """# On a GPU

Tests and measurements on a GPU. One command writes this page and, beside it, the same figures as JSON; it takes at most
25 minutes. Each part runs in a process of its own with a time limit: one that fails or hangs does not stop the others.

```bash
make gpu
python -m launch.bench gpu --output docs/gpu.md
python -m launch.bench gpu --output docs/gpu.md --parts exif,pixels
```

The first installs what it needs. The second is the command behind it, for a machine that has torch and the other
packages already; it is started in the folder of the clone, which need not be installed. With `--parts`, the other parts
of this page keep what they have. Without a GPU, or with `--device cpu`, each part runs in a small form, the report goes
to `runs/gpu/`, and this page stays as it is. Photographs and Fashion-MNIST are read from `food10/` and `fashion_mnist/`
in the folder that `--data` or HEARTCUT_DATA names; what is missing there is generated.
"""
TRIAL = """# A trial without a GPU

Each part in a small form, on the CPU: whether it works, not how fast it is.
"""
UNSEEN = """
Without a GPU the command is tested in its small forms. What these cannot show, and nobody has seen yet, is everything
that a CPU does not have: the counts of host syncs, kernels and copies, DALI's mixed decoder and its streams, canvases
in device memory, bf16 and fp16 on a GPU, the bits of a resumed run there, and every rate.
"""


def markdown(outcomes: Mapping[str, Outcome], *, trial: bool) -> str:
    """The whole document. trial: the outcomes are of a CPU."""
    parts = [part for part in PARTS if not trial or part.name in outcomes]
    machines = sorted({_machine(outcome) for outcome in outcomes.values()})
    head = TRIAL if trial else HEAD + _missing(outcomes)
    if len(machines) == 1:
        head += f"\n{machines[0]}.\n"
    sections = [_section(part, outcomes.get(part.name), everywhere=len(machines) == 1, trial=trial) for part in parts]
    return "\n".join([head, *sections])


def _missing(outcomes: Mapping[str, Outcome]) -> str:
    """What has never been run."""
    names = [part.name for part in PARTS if part.name not in outcomes]
    if not names:
        return ""
    if len(names) == len(PARTS):
        return f"\n**Nothing on this page has been run on a GPU yet.**\n{UNSEEN}"
    return f"\n**Never run on a GPU:** {', '.join(names)}.\n"


def _section(part: Part, outcome: Outcome | None, *, everywhere: bool, trial: bool) -> str:
    """One part; its machine too, unless it is that of all parts (`everywhere`)."""
    blocks = [f"## {part.title}", part.text]
    if outcome is None:
        return "\n\n".join([*blocks, f"`{part.name}`: never run on a GPU."]) + "\n"
    result = outcome.result
    blocks += [f"`{part.name}`: {how(outcome)}; {outcome.date} UTC."]
    blocks += [] if everywhere else [f"{_machine(outcome)}."]
    blocks += [_list("Not as it should be:", result.faults)] if result.faults else []
    blocks += [_table(table) for table in result.tables]
    blocks += [_list("", result.notes)] if result.notes else []
    reasons = [f"{name}: {reason}" for name, reason in result.left_out.items()]
    blocks += [f"Without a GPU not tried: {part.unseen}."] if trial else []
    blocks += [_list("Left out:", reasons)] if reasons else []
    return "\n\n".join(blocks) + "\n"


def _machine(outcome: Outcome) -> str:
    return f"{_text(outcome.machine)}; commit {outcome.commit or 'unknown'}"


def how(outcome: Outcome) -> str:
    """How a part ended, in words."""
    words = {"faults": f"done, with {counted(len(outcome.result.faults), 'fault')}"}.get(outcome.state, outcome.state)
    took = f"{words}, after {duration(outcome.seconds)}" if outcome.seconds else words
    return f"{took}: {_text(outcome.reason)}" if outcome.reason else took


def _list(title: str, lines: list[str]) -> str:
    return "\n".join([*([title, ""] if title else []), *(f"- {_text(line)}" for line in lines)])


def _table(table: Table) -> str:
    right = [all(not isinstance(row[i], str) for row in table.rows) for i in range(len(table.columns))]
    lines = [table.columns, ["--:" if numeric else "---" for numeric in right]]
    lines += [[shown(cell) for cell in row] for row in table.rows]
    return "\n".join([f"**{_text(table.title)}**", "", *(f"| {' | '.join(line)} |" for line in lines)])


def shown(cell: Cell) -> str:
    """A figure as it is printed; nothing for null."""
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, str):
        return _text(cell)
    return f"{cell:,.0f}" if isinstance(cell, int) or abs(cell) >= 1000 else f"{cell:.4g}"


def _text(text: str) -> str:
    """Text as data: no markup of Markdown that would change what is seen, and one line."""
    escaped = printable(" ".join(text.split()))
    for mark in "\\|<*`":
        escaped = escaped.replace(mark, f"\\{mark}")
    return escaped
