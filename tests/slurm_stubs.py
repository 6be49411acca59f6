"""What a batch script finds on a cluster, as stubs: srun, scontrol, python, and a container's `wrap`."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

# What python does: note words and variables, end.
TRAINING = """\
printf '%s\\0' "$0" "$@" > "$SITE/seen/$SLURM_NODEID"
env -0 > "$SITE/seen/env"
exit "$CODE"
"""
# Starts the command once for each node, one after the other.
SRUN = """\
echo "$@" > "$SITE/srun"
nodes=1 code=0
export SLURM_STEP_ID=0 SLURM_STEP_NUM_NODES SLURM_STEP_NUM_TASKS SLURM_NODEID
while [[ $1 == --* ]]; do [[ $1 == --nodes=* ]] && nodes=${1#*=}; shift; done
SLURM_STEP_NUM_NODES=$nodes SLURM_STEP_NUM_TASKS=$nodes
for ((node = 0; node < nodes; node++)); do SLURM_NODEID=$node "$@" || code=$?; done
exit $code
"""
SCONTROL = """\
echo "$@" >> "$SITE/scontrol"
"""
WRAP = """\
printf '%s\\0' "$1" > "$SITE/seen/wrapped"
shift
exec "$@"
"""
TOOLS = {"python": TRAINING, "srun": SRUN, "scontrol": SCONTROL, "wrap": WRAP}
SLURM = {"SLURM_JOB_ID": "77", "SLURM_JOB_NODELIST": "n[0-1]"}


class Site:
    """A folder with the stubs, and what was seen."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.bin = folder, folder / "bin"
        for path in (self.bin, folder / "seen"):
            path.mkdir(parents=True)
        for name, text in TOOLS.items():
            self.tool(name, text)

    def tool(self, name: str, text: str) -> None:
        """Make a program."""
        (self.bin / name).write_text(f"#!/bin/bash\n{text}\n")
        (self.bin / name).chmod(0o755)

    def run(self, text: str, code: int = 0, **environment: str) -> subprocess.CompletedProcess:
        """Run a batch script; what it starts ends with this code."""
        script = self.folder / "script.sh"
        script.write_bytes(text.encode())
        own = {"SITE": str(self.folder), "CODE": str(code)}
        own |= {"PATH": f"{self.bin}:{os.environ['PATH']}"}
        env = {**os.environ, **own, **SLURM, **environment}
        words = ["bash", str(script)]
        return subprocess.run(
            words, env=env, capture_output=True, text=True, errors="replace", check=False, timeout=100
        )

    def words(self, node: int = 0) -> list[str]:
        """What was started on a node; the first is the program."""
        return (self.folder / "seen" / str(node)).read_bytes().decode().split("\0")[:-1]

    @property
    def environment(self) -> dict[str, str]:
        """The variables of what was started."""
        pairs = (self.folder / "seen" / "env").read_bytes().decode().split("\0")[:-1]
        return dict(pair.split("=", 1) for pair in pairs)

    @property
    def srun(self) -> str:
        """What srun was started with; empty: it was not."""
        path = self.folder / "srun"
        return path.read_text() if path.exists() else ""

    @property
    def requeued(self) -> list[str]:
        """What else than names was asked of scontrol."""
        path = self.folder / "scontrol"
        return path.read_text().splitlines() if path.exists() else []
