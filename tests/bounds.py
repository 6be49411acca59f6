"""Do the stated bounds hold? A fresh environment for each, the tests in it, and what it weighs. `make bounds` runs it.

    python tests/bounds.py                 all environments
    python tests/bounds.py lowest newest   some of them

An environment whose Python is not here is left out, and named. Each is removed before the next is made.
"""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
EXTRAS = ("demo", "export", "dev")
TESTS = ("tests/configs", "tests/data_pipes", "tests/models", "tests/train")
LEFT_OUT = "not slurm and not launcher and not slow"


@dataclass(frozen=True)
class Environment:
    """Versions to install together."""

    python: str
    pins: tuple[str, ...] = ()
    lowest: bool = False
    """Whether every requirement is held at its stated lower bound."""


ENVIRONMENTS = {
    "lowest": Environment("3.11", lowest=True),
    "gpu-machine": Environment("3.12", ("torch==2.11.*", "torchvision==0.26.*")),
    "newest": Environment("3.13"),
}


def requirements(setup: Path = ROOT / "setup.cfg") -> list[str]:
    """All requirements of setup.cfg, those of the extras included, without markers."""
    parser = configparser.ConfigParser()
    parser.read(setup, encoding="utf-8")
    texts = [parser["options"]["install_requires"], *(parser["options.extras_require"][name] for name in EXTRAS)]
    return [line.split(";")[0].strip() for text in texts for line in text.splitlines() if line.strip()]


def at_lower_bounds(lines: list[str]) -> list[str]:
    """Each requirement at its lower bound. ValueError: one has none."""
    found = [re.fullmatch(r"([\w.-]+)[>=]=([\w.]+)(,.*)?", line) for line in lines]
    lacking = [line for line, match in zip(lines, found, strict=True) if match is None]
    if lacking:
        raise ValueError(f"requirements without a lower bound: {', '.join(lacking)}")
    return [f"{match[1]}=={match[2]}" for match in found if match]


def interpreter(version: str) -> str | None:
    """A Python of this version: on the path, or among those of pyenv."""
    home = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    here = sorted(home.glob(f"versions/{version}.*/bin/python{version}"))
    return str(here[-1]) if here else shutil.which(f"python{version}")


def megabytes(folder: Path) -> int:
    """Size of a folder on disk."""
    blocks = (path.lstat().st_blocks for path in folder.rglob("*"))
    return sum(blocks) * 512 // 10**6


def install(environment: Environment, python: str, folder: Path) -> Path:
    """Make the environment; return its interpreter. CalledProcessError: the versions exclude each other."""
    subprocess.run([python, "-m", "venv", str(folder)], check=True)
    own = folder / "bin" / "python"
    pins = [*environment.pins, *(at_lower_bounds(requirements()) if environment.lowest else ())]
    listed = folder / "constraints.txt"
    listed.write_text("\n".join(pins) + "\n", encoding="utf-8")
    target = f"{ROOT}[{','.join(EXTRAS)}]"
    command = [str(own), "-m", "pip", "install", "--quiet", "--no-cache-dir", "--constraint", str(listed), "-e", target]
    subprocess.run(command, check=True)
    return own


def check(name: str) -> str:
    """Install and test one environment; a line about it."""
    environment = ENVIRONMENTS[name]
    python = interpreter(environment.python)
    if python is None:
        return f"{name}: left out, no Python {environment.python} here"
    with tempfile.TemporaryDirectory(prefix="heartcut-bounds-") as place:
        folder = Path(place) / "env"
        own = install(environment, python, folder)
        nvidia = sum(megabytes(path) for path in folder.glob("lib/python*/site-packages/nvidia"))
        weight = f"{megabytes(folder):,} MB, {nvidia:,} of them NVIDIA's"
        settings = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "HEARTCUT_CACHE": f"{place}/cache"}
        command = [str(own), "-m", "pytest", "-q", "-n", "2", "-p", "no:cacheprovider", "-m", LEFT_OUT, *TESTS]
        done = subprocess.run(command, cwd=ROOT, env={**os.environ, **settings}, check=False)
    return f"{name}: Python {environment.python}, {weight}, tests {'pass' if done.returncode == 0 else 'FAIL'}"


def main() -> None:
    """Check the environments that are named, or all."""
    unknown = [name for name in sys.argv[1:] if name not in ENVIRONMENTS]
    if unknown:
        sys.exit(f"unknown: {', '.join(unknown)}; there are {', '.join(ENVIRONMENTS)}")
    lines = []
    for name in sys.argv[1:] or ENVIRONMENTS:
        try:
            lines.append(check(name))
        except subprocess.CalledProcessError as error:
            lines.append(f"{name}: not installed, {error.cmd[2]} ended with code {error.returncode}: FAIL")
        print(lines[-1], flush=True)
    print("\n".join(["", *lines]))
    sys.exit(any(line.endswith("FAIL") for line in lines))


if __name__ == "__main__":
    main()
