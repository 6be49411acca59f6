"""Command line of models.adopt. Free of torch, so that --help and errors answer at once."""

from __future__ import annotations

import argparse
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from configs.arguments import NUMBERS, Items, Parser
from configs.errors import InputError, UsageError
from models.spec import ModelSpec

DESCRIPTION = """Make weights from elsewhere one of our files.

Measure them too: --config FILE, --data.source NAME, --data.root DIR and any other --data. option name a data set, whose
classes, size and normalisation hold where no option here says otherwise; the accuracy on its validation split is
recorded."""


SIZE_NEEDED = "--input C H W is needed: weights do not tell the size of their images (for example 3 96 96)"


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """The command line."""

    source: str
    output: str
    model: ModelSpec | None
    input_CHW: tuple[int, int, int] | None
    classes: tuple[str, ...] | None
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    eval_crop: float | None
    entry: str | None
    data: tuple[str, ...]
    """The words that name a data set."""


def parse(words: Sequence[str]) -> Options:
    """Parse the command line. UsageError: it is wrong. InputError: the file with the classes cannot be read."""
    own, data = _split(words)
    found = _parser().parse_args(own)
    if not found.output.endswith(".safetensors") or Path(found.output).is_dir():
        raise UsageError(f"--output is {found.output}; it must be a file that ends in .safetensors")
    _require_normalisation(found.mean or (), found.std or (), found.eval_crop)
    settings = {"stem": found.stem, "depth": found.depth, "widths": tuple(found.widths) if found.widths else None}
    return Options(
        source=found.file,
        output=found.output,
        model=_model(found.architecture, settings),
        input_CHW=tuple(found.input) if found.input else None,
        classes=_classes(found.classes) if found.classes else None,
        mean=tuple(found.mean) if found.mean else None,
        std=tuple(found.std) if found.std else None,
        eval_crop=found.eval_crop,
        entry=found.entry,
        data=tuple(data),
    )


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m models.adopt", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "file",
        metavar="FILE|NAME",
        help="a state dict (.pth, .pt, .ckpt, .th, .bin, .safetensors), bare or in a checkpoint; or published weights: "
        "torchvision/NAME, timm/NAME, hf-hub:NAME",
    )
    parser.add_argument("--output", required=True, metavar="FILE.safetensors", help="the file to write")
    parser.add_argument(
        "--architecture",
        metavar="NAME",
        help="such as torchvision/resnet18, or your own code, PATH/my_net.py:Net (default: recognised)",
    )
    parser.add_argument(
        "--input",
        action=Items,
        kind=int,
        count=3,
        metavar="C H W",
        help="channels, height and width of its images; not needed for published weights or where the data set says",
    )
    parser.add_argument(
        "--stem", choices=("auto", "keep", "small"), default="auto", help="first layers (default: what fits)"
    )
    parser.add_argument("--depth", type=int, help="layers of resnet_small or resnet_cifar (default: counted)")
    parser.add_argument(
        "--widths", action=Items, kind=int, metavar="N ...", help="channels per stage of our own networks"
    )
    parser.add_argument(
        "--classes",
        metavar="A,B,...|FILE",
        help="names in the order of the weights' logits, or a file of a name a line",
    )
    parser.add_argument(
        "--mean",
        action=Items,
        kind=float,
        metavar="M ...",
        help="per channel, in [0, 1] (default: the data set's, the published, ImageNet's)",
    )
    parser.add_argument("--std", action=Items, kind=float, metavar="S ...", help="likewise, in (0, 1]")
    parser.add_argument("--eval_crop", type=float, help="central share that is evaluated, such as 0.875 (default: all)")
    parser.add_argument("--entry", help="entry of the checkpoint to take, such as ema (default: the usual ones)")
    return parser


def _require_normalisation(mean: Sequence[float], std: Sequence[float], eval_crop: float | None) -> None:
    """UsageError: pixels in [0, 1] have no such mean or deviation, or there is no such crop."""
    holds = {"--mean": all(0 <= value <= 1 for value in mean), "--std": all(0 < value <= 1 for value in std)}
    for flag, values, expected in (("--mean", mean, "[0, 1]"), ("--std", std, "(0, 1]")):
        if not holds[flag]:
            levels = "; for pixels from 0 to 255, divide --mean and --std by 255" if max(values) > 1 else ""
            shown = " ".join(map(str, values))
            raise UsageError(f"{flag} is {shown}; each must be in {expected}, for pixels in [0, 1]{levels}")
    if eval_crop is not None and not 0 < eval_crop <= 1:
        raise UsageError(f"--eval_crop is {eval_crop}; it must be in (0, 1]")


def _split(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Take --config and --data options out."""
    own: list[str] = []
    data: list[str] = []
    rest = deque(words)
    while rest:
        word = rest.popleft()
        if word.partition("=")[0] == "--config" or word.startswith(("--data.", "--data=")) or word == "--data":
            data.append(word)
            if "=" not in word and rest:
                data.append(rest.popleft())
            while data[-1] != word and rest and NUMBERS.fullmatch(data[-1]) and NUMBERS.fullmatch(rest[0]):
                data.append(rest.popleft())  # a list such as 96 96
        else:
            own.append(word)
    return own, data


def _model(name: str | None, settings: dict[str, object]) -> ModelSpec | None:
    if name is not None:
        return ModelSpec(name=name, **settings)  # type: ignore[arg-type]
    given = [f"--{key}" for key, value in settings.items() if value not in (None, "auto")]
    if given:
        raise UsageError(f"{' and '.join(given)} need --architecture")
    return None


def _classes(text: str) -> tuple[str, ...]:
    """Read names from a file of lines, or split a list at its commas."""
    path = Path(text)
    if path.is_file():
        try:
            names = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{path} cannot be read as UTF-8 text of a class a line ({error})") from error
        return tuple(name for name in names if name)
    if "," not in text:
        raise UsageError(f"--classes is {text}, which is no file and no list such as cat,dog")
    return tuple(name.strip() for name in text.split(","))
