"""Every command that README, docs and the headers of configs show is one that the programs take."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest
import torch

from configs import reader
from configs.errors import UsageError
from data_pipes.preview import PreviewConfig
from launch import run
from launch.bench.config import DistillStepConfig, LoaderConfig, ScaleConfig
from launch.bench.gpu.config import GpuConfig
from launch.points import grid, sweep_file
from launch.slurm import cluster
from launch.submit import options
from launch.sweep import check
from models import planner
from models.networks import architectures
from models.own.code import is_code
from models.spec import ModelSpec, names_file
from train.cache.config import CacheConfig
from train.compress.config import CompressConfig
from train.config import DistillConfig, TeacherConfig
from train.evaluate.config import EvaluateConfig
from train.predict.config import PredictConfig
from train.prune.config import PruneConfig
from train.report import command

ROOT = Path(__file__).parents[1]
READERS = {
    "train.teacher": (TeacherConfig, False),
    "train.distill": (DistillConfig, False),
    "train.evaluate": (EvaluateConfig, True),
    "train.predict": (PredictConfig, True),
    "train.prune": (PruneConfig, False),
    "train.compress": (CompressConfig, False),
    "train.cache": (CacheConfig, True),
    "data_pipes.preview": (PreviewConfig, True),
    "launch.bench loader": (LoaderConfig, True),
    "launch.bench step": (DistillStepConfig, False),
    "launch.bench scale": (ScaleConfig, True),
    "launch.bench teacher": (DistillStepConfig, False),
    "launch.bench gpu": (GpuConfig, False),
}


def commands() -> list[str]:
    texts = [path.read_text() for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))]
    blocks = [block for text in texts for block in re.findall(r"```bash\n(.*?)```", text, flags=re.DOTALL)]
    lines = [line for block in blocks for line in block.splitlines()]
    lines += [line for path in sorted((ROOT / "configs").glob("**/*.yaml")) for line in headers(path)]
    return [line for line in dict.fromkeys(lines) if " -m " in line and " -m venv " not in line]


def headers(path: Path) -> list[str]:
    """Commands in the comments at the top of a config."""
    return [line.removeprefix("#   ") for line in path.read_text().splitlines() if line.startswith("#   python ")]


def test_there_are_commands() -> None:
    assert {line.split(" -m ")[1].split()[0] for line in commands()} >= {
        *(name.split()[0] for name in READERS),
        "models.cost",
    }


MODEL_COMMANDS = tuple(
    f"models.{name}" for name in ("adopt", "card", "cost", "ensemble", "export", "planner", "publish")
)


@pytest.mark.parametrize("line", commands())
def test_command(line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(ROOT)
    module, *words = shlex.split(line.split(" -m ", 1)[1])
    if module == "models.cost" and "--json" in words:
        from models import cost

        assert cost.main(words) == 0
        assert '"parameters": 99603' in capsys.readouterr().out
        return
    if module == "models.planner" and "resnet_small" in words:
        planner.main([*words, "--json"])
        assert 99_600 <= json.loads(capsys.readouterr().out)["final"] <= 100_000
        return
    if module in MODEL_COMMANDS:
        return  # they take files; test_course.py and tests/models run them
    if module == "launch.submit":
        submission(words)
        return
    if module == "launch.sweep":
        check.check(words[0])
        return
    if module == "launch.run":
        started = run.parser().parse_args(words)
        module, words = started.command, started.words
    elif module == "launch.bench":
        module = f"{module} {words.pop(0)}"
        if "--teacher" in words:  # must be there, and is only read later
            words[words.index("--teacher") + 1] = __file__
    elif module.startswith("launch.") or module in ("train.table", "train.report"):
        return  # takes folders only; its own tests run it
    taken(module, words)


def test_options_of_the_report_that_are_shown_are_there() -> None:
    shown = [line for line in commands() if " -m train.report " in line]
    assert shown and all(command.parser().parse_args(shlex.split(line)[3:]).runs for line in shown)


def submission(words: list[str]) -> None:
    """What is submitted is read as it would be; the folders of other sweeps are not there."""
    found = options.parser().parse_args(words)
    if found.cluster:
        cluster.read(found.cluster)
    if found.sweep:
        sweep = sweep_file.read(found.sweep)
        for point in grid.expand(sweep).points:
            taken(sweep.command, [*sweep.base_words, *point.words])
    else:
        module, *own = found.command
        taken(module, own)


def taken(module: str, words: list[str]) -> None:
    cls, other_sections = READERS[module]
    if cls in (EvaluateConfig, PredictConfig) and "--config" not in words:
        words = ["--config", "configs/food11/distill.yaml", *words]  # stands for the run folder's own, or the header
    config = reader.read(cls, words, prog=module, description="", other_sections=other_sections)
    for spec in networks(config):
        if not (names_file(spec.name) or is_code(spec.name)):
            with torch.device("meta"):
                architectures.build(spec, num_classes=10, input_CHW=(config.data.channels, *config.data.image_size))


def networks(config: object) -> list[ModelSpec]:
    """All networks that a config names."""
    own = [getattr(config, field.name) for field in fields(config)] if is_dataclass(config) else []
    return [config] if isinstance(config, ModelSpec) else [spec for value in own for spec in networks(value)]


def test_a_setting_that_a_network_does_not_have_is_seen() -> None:
    words = ["--config", "configs/fashion_mnist/teacher.yaml", "--model.name", "torchvision/resnet18"]
    with pytest.raises(
        UsageError, match=r"torchvision/resnet18 does not take widths and depth; .*; set widths and depth to null"
    ):
        taken("train.teacher", words)
