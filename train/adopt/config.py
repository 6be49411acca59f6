"""The data set that a network from elsewhere is measured on. Free of torch, so that config errors answer at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from configs import reader
from configs.arguments import last_value
from configs.errors import UsageError
from data_pipes.spec import DataSpec
from models.adopt import normalisation
from models.adopt.options import SIZE_NEEDED, Options
from models.spec import names_pretrained

TEACHER, STUDENT = "adopted-teacher.safetensors", "adopted-student.safetensors"
"""Files of a run folder: what was made of weights from elsewhere."""
UNUSED = (224, 224)
"""The size of published weights' images comes with them."""


@dataclass(frozen=True, kw_only=True)
class MeasureConfig:
    """Data for models.adopt."""

    data: DataSpec
    """Data set whose classes the network knows, and whose validation split it is measured on."""


def read(asked: Options) -> DataSpec:
    """Read the --config and --data words of models.adopt; without --config its own options say size and normalisation.

    UsageError: a key or a value is wrong, or one is missing.
    """
    words = [*asked.data]
    if last_value(words, "--config") is None:
        words = [*_own(asked, words), *words]
    config = reader.read(
        MeasureConfig, words, prog="python -m models.adopt", description="Adopt weights.", other_sections=True
    )
    return config.data


def _own(asked: Options, words: Sequence[str]) -> list[str]:
    """Return words for what the data options do not say: the command's own options, or else what is usual."""
    known = asked.input_CHW is not None or last_value(words, "--data.image_size") is not None
    if not known and not names_pretrained(asked.source):
        raise UsageError(SIZE_NEEDED)
    channels, *size = asked.input_CHW or (3, *UNUSED)
    mean, std = normalisation.usual(channels)
    own = {"image_size": size, "mean": asked.mean or mean, "std": asked.std or std}
    missing = {f"--data.{key}": value for key, value in own.items() if last_value(words, f"--data.{key}") is None}
    return [word for flag, value in missing.items() for word in (flag, str(list(value)))]
