"""Configs for tests of the command line of launch.bench."""

from pathlib import Path

from configs import reader
from launch.bench import command as bench
from launch.bench.config import LoaderConfig

ROOT = Path(__file__).parents[1]


DIGITS = str(ROOT / "configs" / "digits" / "distill.yaml")


def read(*words: str) -> LoaderConfig:
    return reader.read(LoaderConfig, bench.with_value("--json", words), prog="p", description="d", other_sections=True)
