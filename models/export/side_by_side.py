"""Cost of an exported network, alone or beside another one: counts, bytes of files, measured latency.

Shapes: C channels, H height, W width.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import onnxruntime
import torch
from rich.console import Console
from rich.table import Table
from rich.text import Text
from torch import nn

from configs import resources
from configs.errors import UsageError
from configs.shown import printable
from configs.tables import PlainConsole, plain_table
from models import artefact, counting, state_dicts
from models.artefact import Card
from models.counting import Cost
from models.export import latency, onnx_file, onnx_metadata, parity
from models.export.latency import Contender, Latency, Spread
from models.export.onnx_file import Exported
from models.export.runtime import OnnxNet

WIDTH = 118
THIS, OTHER, RATIO = "exported", "against", "against / exported"
LABELS = {
    "parameters": "parameters",
    "nonzero": "non-zero parameters",
    "macs": "MACs per image",
    "safetensors_bytes": "bytes, .safetensors",
    "onnx_bytes": "bytes, .onnx",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Side:
    """One of the networks that are compared."""

    path: str
    sha256: str
    net: nn.Module
    card: Card
    cost: Cost
    exported: Exported

    def figures(self) -> dict[str, int]:
        """Counts and file sizes, by name."""
        return {
            "parameters": self.cost.parameters,
            "nonzero": self.cost.nonzero,
            "macs": self.cost.macs,
            "safetensors_bytes": Path(self.path).stat().st_size,
            "onnx_bytes": len(self.exported.content),
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """Everything that was counted and measured."""

    output: str
    sides: dict[str, Side]
    latencies: Sequence[Latency]
    device: str
    rounds: int
    uint8_input: bool

    def write(self, *, as_json: bool) -> None:
        """Print it to stdout."""
        if as_json:
            sys.stdout.write(json.dumps(self.as_json()) + "\n")
        else:
            self._print(PlainConsole(width=WIDTH))

    def as_json(self) -> dict[str, Any]:
        """Plain values, for a program."""
        mine = self.sides[THIS]
        found = mine.exported.parity
        return {
            "output": self.output,
            "input": onnx_metadata.input_text(mine.card, uint8_input=self.uint8_input),
            "uint8_input": self.uint8_input,
            "opset": mine.exported.opset,
            "parity": asdict(found) | {"relative": found.relative, "tolerance": parity.TOLERANCE},
            "networks": {name: self._network(name, side) for name, side in self.sides.items()},
            "ratios": self._ratios(),
            "rounds": self.rounds,
            "hardware": hardware(self.device),
            "threads": torch.get_num_threads(),
            "versions": {"torch": torch.__version__, "onnxruntime": onnxruntime.__version__},
        }

    def _network(self, name: str, side: Side) -> dict[str, Any]:
        card = side.card
        named = {"path": side.path, "sha256": side.sha256, "model": card.model.name, "input_CHW": card.input_CHW}
        timed = [entry for entry in self.latencies if entry.network == name]
        ms = {_key(entry): _ms(entry.ms) for entry in timed}
        return named | {"classes": len(card.classes)} | side.figures() | {"latency_ms": ms}

    def _ratios(self) -> dict[str, Any]:
        """The other network over the exported one; empty without another."""
        if OTHER not in self.sides:
            return {}
        mine, theirs = self.sides[THIS].figures(), self.sides[OTHER].figures()
        counts = {name: theirs[name] / mine[name] for name in mine if mine[name]}
        return counts | {"latency": {_key(own): _ms(latency.speedup(other, own)) for own, other in self._pairs()}}

    def _pairs(self) -> list[tuple[Latency, Latency]]:
        """Pairs of latencies of both networks, in the same runtime and at the same batch size."""
        others = {_key(entry): entry for entry in self.latencies if entry.network == OTHER}
        return [(entry, others[_key(entry)]) for entry in self.latencies if entry.network == THIS]

    def _print(self, console: Console) -> None:
        for name in self._names():
            side = self.sides[name]
            size = " x ".join(map(str, side.card.input_CHW))
            console.print(f"{name}: {side.path} ({side.card.model.name}, {len(side.card.classes)} classes, {size})")
        console.print(self._table())
        mine = self.sides[THIS]
        found, sizes = mine.exported.parity, ", ".join(map(str, parity.BATCH_SIZES))
        console.print(
            f"parity: ONNX Runtime and torch differ by at most {found.largest_difference:.1e}, {found.relative:.1e} "
            f"of the logits' spread\n(allowed: {parity.TOLERANCE:.0e}), at batch sizes {sizes}"
        )
        console.print(f"input: {onnx_metadata.input_text(mine.card, uint8_input=self.uint8_input)}")
        if self.uint8_input:
            console.print("normalisation is inside the ONNX file; torch is timed on images that are normalised already")
        console.print(f"opset {mine.exported.opset}")
        console.print(
            f"latency: ms per batch, median (quartiles) of {self.rounds} rounds; torch {torch.__version__} eager on "
            f"{hardware(self.device)}, ONNX Runtime {onnxruntime.__version__}\non the CPU; "
            f"CPU threads: {torch.get_num_threads()}"
        )
        console.print(f"written: {self.output}")

    def _names(self) -> list[str]:
        """Names of the networks in the order of columns."""
        return [name for name in (OTHER, THIS) if name in self.sides]

    def _table(self) -> Table:
        table = plain_table()
        names = self._names()
        table.add_column("")
        for name in [*names, *([RATIO] if OTHER in self.sides else [])]:
            table.add_column(name, justify="right", no_wrap=True)
        ratios = self._ratios()
        figures = {name: self.sides[name].figures() for name in names}
        for key, label in LABELS.items():
            ratio = [f"{ratios[key]:.2f}"] if key in ratios else [""] * bool(ratios)
            table.add_row(label, *(f"{figures[name][key]:,}" for name in names), *ratio)
        for entry in (entry for entry in self.latencies if entry.network == THIS):
            key = _key(entry)
            both = {other.network: _shown(other.ms) for other in self.latencies if _key(other) == key}
            ratio = (
                [_shown(latency.speedup(other, own)) for own, other in self._pairs() if own is entry] if ratios else []
            )
            table.add_row(f"{entry.runtime}, batch {entry.batch_size}, ms", *(both[name] for name in names), *ratio)
        return table


def run(model: str, output: str, *, against: str | None, device: str, rounds: int, uint8_input: bool = False) -> Report:
    """Export the network, then time it and the other one, if there is one.

    uint8_input: both ONNX files take uint8 pixels, and normalise them.
    UsageError: the device is not available. InputError: a file is not ours, or a network cannot be exported.
    """
    where = _device(device)
    with PlainConsole(stderr=True).status("") as status:
        status.update(Text(printable(f"converting {model}")))
        sides = {THIS: side(model, output, uint8_input=uint8_input)}
        if against is not None:
            status.update(Text(printable(f"converting {against}")))
            sides[OTHER] = side(against, None, uint8_input=uint8_input)
        latencies = timed(sides, where, rounds, status.update)
    return Report(
        output=output, sides=sides, latencies=latencies, device=str(where), rounds=rounds, uint8_input=uint8_input
    )


def side(path: str, output: str | None, *, uint8_input: bool = False) -> Side:
    """Load a saved network and convert it; with `output`, write its ONNX file."""
    net, card = artefact.load(path)
    state_dicts.require_finite(net, path)
    sha256 = artefact.sha256(path)
    cost = counting.measure(net, card.input_CHW)
    if output is None:
        exported = onnx_file.checked(net, card, artefact_sha256=sha256, uint8_input=uint8_input)
    else:
        exported = onnx_file.export(net, card, output, artefact_sha256=sha256, uint8_input=uint8_input)
    return Side(path=path, sha256=sha256, net=net, card=card, cost=cost, exported=exported)


def timed(sides: dict[str, Side], device: torch.device, rounds: int, show: Callable[[str], None]) -> list[Latency]:
    """Measure the latency of every network in torch and in ONNX Runtime."""
    contenders: list[Contender] = []
    for name, one in sides.items():
        contenders.append(latency.eager(name, one.net, one.card.input_CHW, device))
        contenders.append(OnnxNet(one.exported.content).contender(name, one.card.input_CHW))
    return latency.measure(contenders, rounds=rounds, show=show)


def hardware(device: str) -> str:
    """Name of the GPU or CPU."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    return resources.cpu_model()


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"--device is {name}, which torch cannot use here; give cpu, or cuda with a GPU") from error
    if device.type not in ("cpu", "cuda"):
        raise UsageError(f"--device is {name}; it must be cpu, cuda or cuda:N")
    return device


def _key(entry: Latency) -> str:
    return f"{entry.runtime}, batch {entry.batch_size}"


def _ms(spread: Spread) -> dict[str, float]:
    return {"median": spread.median, "quartile_low": spread.low, "quartile_high": spread.high}


def _shown(spread: Spread) -> str:
    return f"{spread.median:.2f} ({spread.low:.2f} to {spread.high:.2f})"
