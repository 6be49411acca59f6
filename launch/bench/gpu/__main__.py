"""One part in this process: python -m launch.bench.gpu exif --device cpu --work FOLDER --answer FILE.json"""

from __future__ import annotations

import faulthandler
import json
import signal
import sys
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

from configs import reader
from configs.errors import UsageError
from configs.files import write_atomically
from launch.bench.gpu.command import CANNOT
from launch.bench.gpu.config import PartConfig
from launch.bench.gpu.order import NAMES, PARTS


def main() -> None:
    """Run the part and write its answer. UsageError: there is no such part."""
    faulthandler.register(signal.SIGTERM, all_threads=True, chain=True)  # where it hangs, when its time is over
    name, *words = sys.argv[1:] or [""]
    if name not in (*NAMES, "machine"):
        raise UsageError(f"unknown part {name}; expected one of {', '.join(NAMES)}")
    config = reader.read(PartConfig, words, prog=f"python -m launch.bench.gpu {name}", description="One part.")
    Path(config.work).mkdir(parents=True, exist_ok=True)
    write_atomically(Path(config.answer), json.dumps(answer(name, config)))


def answer(name: str, config: PartConfig) -> dict[str, Any]:
    """What a part found, or why it cannot run here."""
    if name == "machine":
        from launch.bench.gpu.parts import machine

        return machine.look()
    from launch.bench.work import LeftOut  # torch is loaded only for a config that holds

    module = import_module(f"launch.bench.gpu.parts.{next(part.module for part in PARTS if part.name == name)}")
    try:
        return asdict(module.run(config, name))
    except LeftOut as reason:
        return {CANNOT: str(reason)}


if __name__ == "__main__":
    reader.command(main)
