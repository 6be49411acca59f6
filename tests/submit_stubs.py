"""A folder from which sweeps are submitted, to a Slurm of three stubs."""

from __future__ import annotations

import json
import re
from pathlib import Path

from launch.submit import command
from launch.sweep_folder import SweepFolder
from slurm_stubs import Site

ROOT = Path(__file__).parents[1]
CONFIG = (ROOT / "configs" / "digits" / "distill.yaml").read_text()
SWEEP = """\
program: train.distill
command: [python, -m, "${program}", --config, distill.yaml, "${args}"]
method: grid
parameters:
  optim.lr: {values: %s}
  seed: {values: [0, 1]}
"""
# Numbers its jobs from 101 on, and keeps the scripts.
SBATCH = """\
[ ! -e "$SITE/closed" ] || { echo 'sbatch: error: invalid partition' >&2; exit 1; }
job=$((101 + $(ls "$SITE/sent" | wc -l)))
cp "$2" "$SITE/sent/$job"
echo "$job;cluster"
"""
SQUEUE = 'echo "$@" >> "$SITE/asked"; cat "$SITE/queue"; cat "$SITE/complaint" >&2; exit "$(cat "$SITE/code")"'
SCONTROL = 'printf "MaxArraySize            = 5\\nMaxJobCount = 10000\\n"'


class Cluster(Site):
    """The folder, and what Slurm was told."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        (folder / "sent").mkdir()
        for name, text in {"sbatch": SBATCH, "squeue": SQUEUE, "scontrol": SCONTROL}.items():
            self.tool(name, text)
        files = {
            "distill.yaml": CONFIG,
            "cluster.yaml": "time: 01:00:00\nthrottle: 2\n",
            "sweep.yaml": SWEEP % "[1, 2]",
        }
        for name, text in (files | {"queue": "", "complaint": "", "code": "0"}).items():
            self.write(name, text)
        self.teacher = folder / "runs" / "digits" / "teacher" / "model.safetensors"
        self.teacher.parent.mkdir(parents=True)
        self.teacher.touch()  # no run reads it
        self.sweep = SweepFolder(Path("sweep"))

    def enter(self, monkeypatch) -> Cluster:
        """Stand there, with these programs."""
        monkeypatch.chdir(self.folder)
        monkeypatch.setenv("PATH", str(self.bin), prepend=":")
        monkeypatch.setenv("SITE", str(self.folder))
        return self

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)

    def submit(self, *words: str) -> None:
        command.main(["--cluster", "cluster.yaml", "--folder", "sweep", "--sweep", "sweep.yaml", *words])

    @property
    def ids(self) -> list[str]:
        return [run.id for run in self.sweep.load().runs]

    def arrays(self) -> list[str]:
        """What each script asked for."""
        texts = [path.read_text() for path in sorted((self.folder / "sent").iterdir())]
        return [re.findall("--array=(.*)", text)[0] for text in texts]

    def end(self, run_id: str, state: str, **values) -> None:
        path = self.sweep.run_dir(run_id) / "status.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"state": state, **values}))

    def resubmitted(self, *words: str) -> set[str]:
        """Ids of what another call submits."""
        before = len(self.sweep.sent())
        self.submit(*words)
        return {run_id for sent in self.sweep.sent()[before:] for run_id in sent.elements.values()}
