"""Make weights from elsewhere one of our files.

python -m models.adopt resnet18_teacher.ckpt --architecture torchvision/resnet18 --input 3 96 96 --output t.safetensors
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

from configs import reader
from models.adopt import options
from models.adopt.options import Options

if TYPE_CHECKING:
    from models.artefact import Card


def main(words: list[str] | None = None) -> None:
    """Write the file and say what is in it. UserError: the command line, the file and the data do not fit."""
    asked = options.parse(sys.argv[1:] if words is None else words)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("models").setLevel(logging.INFO)
    from models import artefact  # torch is loaded only for a command line that holds
    from models.adopt import conversion

    if asked.data:
        card = _measured(asked)
    else:
        net, card = conversion.from_options(asked)
        artefact.save(asked.output, net, card)
    print(conversion.summary(asked.output, card))


def _measured(asked: Options) -> Card:
    """Adopt for a data set: the one place in models that knows of train, since measuring needs images."""
    from train.adopt import config, measured

    return measured.write(asked, config.read(asked))


if __name__ == "__main__":
    reader.command(main)
