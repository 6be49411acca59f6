"""README and docs/cluster.md from top to bottom, in a fresh folder: what a command needs, an earlier one has made.

Commands that take seconds run, with few epochs; batch jobs go to a Slurm of stubs; the others are looked through for
files of runs.
"""

from __future__ import annotations

import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from configs.arguments import last_value
from configs.errors import InputError
from launch.submit import command as submit
from models import ensemble
from submit_stubs import Cluster

ROOT = Path(__file__).parents[1]
PLAIN = ["--track.pictures", "false"]
QUICK = {
    "train.teacher": ["--epochs", "1", *PLAIN],
    "train.distill": ["--epochs", "1", *PLAIN],
    "train.prune": ["--epochs", "1", "--final_epochs", "1", "--prune.steps", "1", *PLAIN],
    "train.cache": [],
}
"""What makes a command short, of those that run."""
WRITTEN = ("--run_dir", "--output", "--folder", "--distill.cache", "--plot")
RUN_FILE = re.compile(r"(?<![\w/.])runs/[\w./-]+")


def lines(path: Path) -> Iterator[tuple[str, list[str]]]:
    """The module and the words of each command, in order."""
    for block in re.findall(r"```bash\n(.*?)```", path.read_text(), flags=re.DOTALL):
        for line in block.splitlines():
            if " -m " in line and " -m venv " not in line:
                module, *words = shlex.split(line.split(" -m ", 1)[1])
                yield module, words


def runs_here(module: str, words: list[str]) -> bool:
    return module in QUICK and any(word.startswith("configs/digits/") for word in words)


def carry_out(module: str, words: list[str]) -> None:
    """Run a command in this process, with few epochs and views."""
    main = importlib.import_module(
        module if module in ("train.teacher", "train.distill") else f"{module}.__main__"
    ).main
    views = ["--views", "2"] if "--views" in words else []
    main([*words, *QUICK[module], *views, "--data.threads", "1"])


def require_made(words: list[str], made: set[str]) -> None:
    """Every file below runs/ that a command names, and does not write, is in a folder that an earlier one wrote."""
    written = {value for flag in WRITTEN if (value := last_value(words, flag))}
    for found in RUN_FILE.findall(" ".join(words)):
        below = any(Path(found).is_relative_to(folder) or Path(folder).is_relative_to(found) for folder in made)
        assert below or found in written, f"{found} is made by nothing before {' '.join(words)}"
    made |= {path for path in written if path.startswith("runs/")}


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """A fresh folder with the repository's configs, and sbatch, squeue and scontrol as stubs."""
    site = Cluster(tmp_path).enter(monkeypatch)
    site.teacher.unlink()
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    return site


def test_the_readme_runs_from_top_to_bottom(fresh: Cluster) -> None:
    made: set[str] = set()
    ran: list[str] = []
    for module, words in lines(ROOT / "README.md"):
        if module == "launch.submit":
            submit.main([*words, "--dry_run"])  # it would refuse a missing teacher
            require_made(words, made)
        elif runs_here(module, words):
            carry_out(module, words)
            made |= {str(path) for path in Path("runs").rglob("*") if path.is_dir()}
            ran.append(module)
        elif module == "models.ensemble":
            assert ensemble.main(words) == 0
            ran.append(module)
        else:
            require_made(words, made)
    assert ran == [
        "train.teacher",
        "train.distill",
        "train.teacher",
        "models.ensemble",
        "train.prune",
        "train.distill",
        *["train.cache"] * 2,
        "train.distill",
    ]
    assert Path("runs/digits/anew/done").exists()


def test_the_cluster_guide_runs_from_top_to_bottom(fresh: Cluster) -> None:
    submitted = 0
    for module, words in lines(ROOT / "docs" / "cluster.md"):
        if module == "launch.submit":
            submit.main([*words, "--dry_run"])  # as the guide says
            submit.main(words)
            jobs = sorted(path.name for path in (fresh.folder / "sent").iterdir())
            fresh.write("queue", "".join(f"{job}_{index} PENDING\n" for job in jobs for index in range(4)))
            submitted += 1
        elif runs_here(module, words) and last_value(words, "--run_dir") is None:
            carry_out(module, words)
    assert submitted == 7


def test_an_order_that_does_not_work_is_noticed(fresh: Cluster) -> None:
    with pytest.raises(InputError, match="8 runs need it"):
        submit.main(["--bash", "--folder", "runs/s", "--sweep", "configs/sweep/digits_kd.yaml", "--dry_run"])
    with pytest.raises(AssertionError, match="made by nothing before"):
        require_made(["--model", "runs/flowers/student/model.safetensors"], {"runs/flowers/teacher"})
