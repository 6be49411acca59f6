"""Folders of runs as train.compress leaves them, without the training, and readers of the page that is made of them."""

from __future__ import annotations

import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image
from safetensors.numpy import save_file

from configs import reader
from configs.shown import printable
from train.compress.config import CompressConfig
from train.config import DistillConfig
from train.prune.config import PruneConfig
from train.report.facts import OPERATIONS

CONFIGS = Path(__file__).parents[1] / "configs" / "digits"
CLASSES = ["<b>one</b>", "$two|", "\x1b[31mthree"]
"""Names that steer what does not escape them."""


def write(path: Path, value: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


def result(correct: int, parameters: int, **more: Any) -> dict[str, Any]:
    return {
        "accuracy": correct / 300, "accuracy_split": "test", "accuracy_interval_95": [correct / 300 - 0.0312, 0.987654],
        "accuracy_samples": 300, "validation_accuracy": (correct - 7) / 300, "best_epoch": 2, "epochs": 2,
        "model": "resnet_small", "parameters": parameters, "nonzero": parameters - 1, "macs": 3_052_160,
        "bytes": 4 * parameters + 3, "seconds": 7.16, "processes": 1, "device": "cpu", "seed": 0, **more,
    }  # fmt: skip


def stage(folder: Path, correct: int, parameters: int, **more: Any) -> Path:
    """A finished training."""
    write(folder / "status.json", {"state": "done", "epoch": 2, "epochs": 2})
    write(folder / "done", "")
    write(folder / "result.json", result(correct, parameters, **more))
    lines = [
        {"train/step": 5, "train/loss": 2.0, "train/ce": 1.5, "train/kd": 0.5, "train/lr": 0.01},
        {"train/step": 10, "epoch": 1.0, "validation/accuracy": 0.5},
        {"train/step": 15, "train/loss": 1.0, "train/ce": 0.5, "train/kd": 0.5, "train/lr": 0.005},
        {"train/step": 20, "epoch": 2.0, "validation/accuracy": 0.75},
    ]
    write(folder / "metrics.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    weights(folder / "model.safetensors", correct, parameters)
    return folder


def weights(path: Path, correct: int, parameters: int) -> Path:
    """A file with the header of ours."""
    card = {
        "classes": CLASSES,
        "cost": {"parameters": parameters, "nonzero": parameters - 1, "macs": 77_390, "bytes": 4 * parameters},
        "scores": {"validation": {"correct": correct - 7, "total": 300}, "test": {"correct": correct, "total": 300}},
        "lineage": {"stage": "prune", "teacher_sha256": "ab" * 32},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({"conv1.weight": np.zeros((4, 1, 3, 3), np.float32)}, path, {"heartcut": json.dumps({"card": card})})
    return path


def config(cls: type, name: str, folder: Path, *options: str) -> None:
    words = ["--config", str(CONFIGS / name), "--run_dir", str(folder), *options]
    write(folder / "config.yaml", reader.dump(reader.read(cls, words, prog="x", description="x")))


def chain(folder: Path) -> Path:
    """What a finished train.compress leaves: teacher, student, two cuts, scores by class, an export."""
    config(CompressConfig, "compress.yaml", folder)
    write(folder / "environment.json", environment("train.compress"))
    stage(folder / "teacher", 297, 77_754)
    stage(folder / "student", 290, 5142)
    entries = []
    for number, (before, after, width) in enumerate(((0.4211, 0.9333, 3), (0.6413, 0.9511, 2)), start=1):
        home = stage(folder / "cut" / f"cut-{number:02d}", 281 + number, 4000 - 700 * number)
        write(home / "before.json", {"accuracy": before, "samples": 300})
        gone = {"conv1": list(range(4 - width if number == 1 else 1))}
        before_cut, widths = (
            {"conv1": channels, "tied": channels, "layer1.conv": 9} for channels in (5 - number, width)
        )
        cut = {"removed": gone, "widths_before": before_cut, "widths": widths, "parameters": 4000 - 700 * number}
        write(home / "cut.json", cut | {"macs": 1})
        count = 4000 - 700 * number
        entries.append(
            {"cut": number, "parameters": count, "nonzero": count - 1, "macs": 99_000, "before": before, "after": after}
        )
    write(folder / "cut" / "ledger.json", entries)
    stage(folder, 288, 2600)
    (folder / "metrics.jsonl").unlink()
    write(folder / "evaluation-test.json", evaluation())
    write(folder / "export.json", export(folder))
    Image.new("RGB", (40, 30), (200, 30, 30)).save(folder / "student" / "images.png")
    return folder


def environment(module: str) -> dict[str, Any]:
    packages = {"torch": "2.14.1", "nvidia-dali-cuda120": None}
    command = ["python", "-m", module, "--run_dir", "a b"]
    return {"command": command, "commit": "abc", "python": "3.11", "packages": packages, "cores": 2, "gpus": []}


def evaluation(correct: int = 288, data: str = "d" * 64) -> dict[str, Any]:
    confusion = [[100, 0, 0], [3, 95, 2], [0, 7, correct - 195]]
    interval = [0.9123456, 0.9912345]
    rows = zip(CLASSES, confusion, strict=True)
    per_class = {
        name: {"correct": row[i], "samples": sum(row), "interval_95": interval} for i, (name, row) in enumerate(rows)
    }
    return {
        "split": "test", "samples": 300, "accuracy": correct / 300, "accuracy_interval_95": interval,
        "classes": CLASSES, "per_class": per_class, "confusion": confusion,
        "teacher_agreement": 0.9712345, "data": data,
    }  # fmt: skip


def export(folder: Path) -> dict[str, Any]:
    def side(scale: float, file: Path) -> dict[str, Any]:
        latency = {
            name: {"median": scale * base, "quartile_low": 0.9 * scale * base, "quartile_high": 1.1 * scale * base}
            for name, base in (("torch, batch 1", 0.35), ("ONNX Runtime, batch 1", 0.027345))
        }
        counts = {
            "parameters": 2600,
            "nonzero": 2599,
            "macs": 77_390,
            "safetensors_bytes": 16_528,
            "onnx_bytes": 15_960,
        }
        return {"path": str(file), "latency_ms": latency, **counts}

    teacher = folder / "teacher" / "model.safetensors"
    networks = {"exported": side(1.0, folder / "model.safetensors"), "against": side(2.4, teacher)}
    return {"networks": networks, "ratios": {"latency": {"ONNX Runtime, batch 1": {"median": 2.4123}}}}


def distilled(folder: Path, correct: int, *options: str, seed: int = 0, data: str = "d" * 64) -> Path:
    """A finished train.distill that train.evaluate has measured."""
    config(DistillConfig, "distill.yaml", folder, "--seed", str(seed), *options)
    write(folder / "environment.json", environment("train.distill"))
    stage(folder, correct, 5142, seed=seed)
    write(folder / "evaluation-test.json", evaluation(correct, data))
    return folder


def masked(folder: Path) -> Path:
    """A finished train.prune of single weights."""
    teacher = weights(folder.parent / "teacher.safetensors", 299, 77_754)
    student = weights(folder.parent / "student.safetensors", 295, 5142)
    words = ["--prune.kind", "unstructured", "--teacher", str(teacher), "--student.name", str(student)]
    config(PruneConfig, "prune.yaml", folder, *words)
    stage(folder, 288, 5142)
    home = stage(folder / "cut-01", 288, 5142)
    write(home / "before.json", {"accuracy": 0.5, "samples": 300})
    write(home / "cut.json", {"nonzero": 2600, "free": {"conv1.weight": 9}})
    entry = {"cut": 1, "parameters": 5142, "nonzero": 2600, "macs": 99_000, "before": 0.5, "after": 0.9}
    write(folder / "ledger.json", [entry])
    return folder


# ---- reading a page


class Page(HTMLParser):
    """What a test asks of a page."""

    VOID = ("img", "meta", "link", "path", "use", "br")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.facts: list[tuple[str, str, str]] = []
        """Value, source and text of each figure."""
        self.headings: list[int] = []
        self.images: list[dict[str, str | None]] = []
        self.ids: list[str] = []
        self.attributes: list[tuple[str, str, str | None]] = []
        self.words: list[str] = []
        """All text outside of figures and style."""
        self._open: list[str] = []
        self._fact: list[str] | None = None
        self.feed(text)
        assert not self._open, f"not closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.attributes += [(tag, name, value) for name, value in attrs]
        self.ids += [found["id"]] if found.get("id") else []
        if tag not in self.VOID:
            self._open.append(tag)
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag == "img":
            self.images.append(found)
        if tag == "data":
            self._fact = [str(found["value"]), str(found["title"]), ""]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self._open and self._open[-1] == tag, f"</{tag}> closes {self._open[-1:]}"
            self._open.pop()
        if tag == "data" and self._fact is not None:
            self.facts.append((self._fact[0], self._fact[1], self._fact[2]))
            self._fact = None

    def handle_data(self, data: str) -> None:
        if self._fact is not None:
            self._fact[2] += data
        elif "style" not in self._open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def looked_up(source: str) -> float:
    """The number at a source, read from its files once more."""
    operation = re.fullmatch(r"(\w+)\((.*)\)", source)
    if operation:
        return OPERATIONS[operation[1]](*map(looked_up, operation[2].split(", ")))
    file, _, keys = source.partition("#")
    found = _content(Path(file))
    for key in keys.split("/"):
        name = key.replace("~1", "/").replace("~0", "~")
        known = dict(enumerate(found)) if isinstance(found, list) else found
        found = {printable(str(own)): value for own, value in known.items()}[name]
    if isinstance(found, list):
        return math.prod(found) if "#shapes/" in source else len(found)
    return found


def _content(path: Path) -> Any:
    if path.suffix == ".safetensors":
        content = path.read_bytes()
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        shapes = {name: entry["shape"] for name, entry in header.items() if name != "__metadata__"}
        return json.loads(header["__metadata__"]["heartcut"]) | {"shapes": shapes}
    return yaml.safe_load(path.read_text()) if path.suffix == ".yaml" else json.loads(path.read_text())


SCALES = {"%": 0.01, "M": 1e6, "G": 1e9, "kB": 1e3, "MB": 1e6, "B": 1, "s": 1, "min": 60}


def shows(text: str, value: float) -> bool:
    """Whether a text is a number rounded to its last digit; a number alone may stand for per cent."""
    found = re.fullmatch(r"([-+]?[\d,]+(?:\.\d+)?) ?([%a-zA-Z]*)", text)
    if not found:
        return False
    digits = len(found[1].partition(".")[2])
    scales = [SCALES[found[2]]] if found[2] else [1, 0.01]
    number = float(found[1].replace(",", ""))
    return any(abs(number * scale - value) <= 0.5000001 * scale * 10**-digits for scale in scales)


def wrong_figures(page: Page) -> list[str]:
    """Figures that are not those of their files."""
    found = []
    for value, source, text in page.facts:
        known = looked_up(source)
        if json.loads(value) != known or not shows(text, known):
            found.append(f"{text} ({value}) is not {known} of {source}")
    return found
