"""What a batch script finds on a cluster, as stubs: srun, scontrol, python, accelerate, and a container's `wrap`."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

# What python and accelerate do: note words and variables, leave a status, end.
TRAINING = """\
printf '%s\\0' "$0" "$@" > "$SITE/seen/$SLURM_NODEID"
env -0 > "$SITE/seen/env"
[ -z "$NEXT" ] || { printf %s "$NEXT" > "$RUN/new"; mv "$RUN/new" "$RUN/status.json"; }
exit "$CODE"
"""
# Starts the command once for each node, one after the other.
SRUN = """\
echo "$@" > "$SITE/srun"
nodes=1 code=0
while [[ $1 == --* ]]; do [[ $1 == --nodes=* ]] && nodes=${1#*=}; shift; done
for ((node = 0; node < nodes; node++)); do SLURM_NODEID=$node "$@" || code=$?; done
exit $code
"""
SCONTROL = """\
if [ "$1" = show ]; then [ "$3" = "n[0-1]" ] && printf "$HOSTS"; exit; fi
echo "$@" >> "$SITE/scontrol"
"""
WRAP = """\
printf '%s\\0' "$1" > "$SITE/seen/wrapped"
shift
exec "$@"
"""
TOOLS = {"python": TRAINING, "accelerate": TRAINING, "srun": SRUN, "scontrol": SCONTROL, "wrap": WRAP}
SLURM = {"SLURM_JOB_ID": "77", "SLURM_JOB_NODELIST": "n[0-1]", "HOSTS": "n0\\nn1\\n"}


class Site:
    """A folder with the stubs, one run folder, and what was seen."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.run_dir, self.bin = folder, folder / "run", folder / "bin"
        for path in (self.bin, self.run_dir, folder / "seen"):
            path.mkdir(parents=True)
        for name, text in TOOLS.items():
            self.tool(name, text)

    def tool(self, name: str, text: str) -> None:
        """Make a program."""
        (self.bin / name).write_text(f"#!/bin/bash\n{text}\n")
        (self.bin / name).chmod(0o755)

    def run(
        self, text: str, state: str | None = "done", code: int = 0, **environment: str
    ) -> subprocess.CompletedProcess:
        """Run a batch script; the training leaves this state, or none, and ends with this code."""
        script = self.folder / "script.sh"
        script.write_bytes(text.encode())
        own = {"SITE": str(self.folder), "RUN": str(self.run_dir), "CODE": str(code)}
        own |= {"NEXT": json.dumps({"state": state}) if state else "", "PATH": f"{self.bin}:{os.environ['PATH']}"}
        env = {**os.environ, **own, **SLURM, **environment}
        words = ["bash", str(script)]
        return subprocess.run(
            words, env=env, capture_output=True, text=True, errors="replace", check=False, timeout=100
        )

    def words(self, node: int = 0) -> list[str]:
        """What the training on a node was started with; the first is the program."""
        return (self.folder / "seen" / str(node)).read_bytes().decode().split("\0")[:-1]

    @property
    def environment(self) -> dict[str, str]:
        """The variables of the training."""
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
