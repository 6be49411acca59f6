"""Teacher, student, after the cuts and exported, side by side. Free of torch."""

from __future__ import annotations

from collections.abc import Callable

from configs.shown import command
from train.report.elements import Cell, Missing, Section, Table
from train.report.facts import Line, count, large, line, milliseconds, share, size
from train.report.networks import Network, Subject

TIMED = ("torch, batch 1", "torch, batch 64", "ONNX Runtime, batch 1", "ONNX Runtime, batch 64")
ROWS: dict[str, Callable[[Network], Cell]] = {
    "Accuracy": lambda network: network.accuracy,
    "95 % interval": lambda network: network.interval,
    "on": lambda network: _images(network),
    "Validation accuracy": lambda network: network.validation,
    "Agrees with the teacher": lambda network: network.evaluation.fact(share, "teacher_agreement"),
    "Parameters": lambda network: network.count(count, "parameters") or _exported(network, "parameters"),
    "Not zero": lambda network: network.count(count, "nonzero") or _exported(network, "nonzero"),
    "MACs per image": lambda network: network.count(large, "macs") or _exported_macs(network),
    "Bytes of weights": lambda network: network.count(size, "bytes"),
    "Bytes of the file": lambda network: _file_size(network),
}


def section(subject: Subject) -> Section:
    """Return the table of all networks that there are, and what is missing in it."""
    networks = subject.networks
    rows: list[list[Cell]] = [[name, *map(found, networks)] for name, found in ROWS.items()]
    rows += [[f"ms, {timed}", *(_latency(network, timed) for network in networks)] for timed in TIMED]
    known = [row for row in rows if any(cell is not None for cell in row[1:])]
    table = Table(
        caption="The networks side by side", columns=["figure", *(network.name for network in networks)], rows=known
    )
    return Section(key="networks", title="Side by side", tables=[table], missing=list(_missing(subject)))


def _images(network: Network) -> Line | None:
    """Over how many images of which split."""
    total = network.result.fact(count, "accuracy_samples")
    if total is None and network.split is not None:
        total = network.header.fact(count, "card", "scores", network.split, "total")
    return None if network.split is None else line(total, f" {network.split} images")


def _exported(network: Network, key: str) -> Cell:
    return network.exported.fact(count, "networks", network.side, key) if network.name == "exported" else None


def _exported_macs(network: Network) -> Cell:
    return network.exported.fact(large, "networks", network.side, "macs") if network.name == "exported" else None


def _file_size(network: Network) -> Cell:
    """The ONNX file of what was exported, the .safetensors file of others."""
    key = "onnx_bytes" if network.name == "exported" else "safetensors_bytes"
    return network.exported.fact(size, "networks", network.side, key)


def _latency(network: Network, timed: str) -> Cell:
    """Median and quartiles. Of the network that was exported, torch's are those before its export."""
    record, onnx = network.exported, timed.startswith("ONNX")
    if not record or (network.side == "exported" and onnx != (network.name == "exported")):
        return None
    keys = ("networks", network.side, "latency_ms", timed)
    low, high = (record.fact(milliseconds, *keys, f"quartile_{end}") for end in ("low", "high"))
    return line(record.fact(milliseconds, *keys, "median"), " (", low, " to ", high, ")")


def _missing(subject: Subject) -> list[Missing]:
    found: list[Missing] = []
    folder = subject.folder
    if not subject.final.file.is_file():
        return []
    if not folder.export:
        against = [] if subject.teacher is None else ["--against", subject.teacher.file]
        words = ("models.export", "--model", subject.final.file, "--output", "model.onnx", *against)
        told = "Latency is not measured here. train.compress does it at its end; for this file:"
        found.append(Missing(told, command("python", "-m", *words)))
    if subject.teacher is not None and subject.final.evaluation.number("teacher_agreement") is None:
        how = command("python", "-m", "train.evaluate", "--run_dir", folder.path, "--teacher", subject.teacher.file)
        found.append(Missing("Agreement with the teacher is not measured here:", how))
    return found
