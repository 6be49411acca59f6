"""A command without a status of its own leaves one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def noted(tmp_path: Path, body: str, **environment: str) -> tuple[int, dict]:
    """Run a module; its exit code, and what is in status.json."""
    (tmp_path / "task.py").write_text(f"import os, sys\n{body}\n")
    env = {**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}", **environment}
    words = [sys.executable, "-m", "launch.noted", "run", "task", "--views", "2"]
    done = subprocess.run(words, env=env, cwd=tmp_path, capture_output=True, check=False)
    path = tmp_path / "run" / "status.json"
    return done.returncode, json.loads(path.read_text()) if path.exists() else {}


@pytest.mark.parametrize(
    ("body", "code", "state"),
    [
        ("assert sys.argv[1:] == ['--views', '2'] and __name__ == '__main__'", 0, "done"),
        ("sys.exit(0)", 0, "done"),
        ("sys.exit(75)", 75, "preempted"),
        ("sys.exit(66)", 66, "failed"),
        ("1 / 0", 1, "failed"),
        ("sys.exit('no')", 1, "failed"),
        ("assert '\"running\"' in open('run/status.json').read()", 0, "done"),
    ],
)
def test_the_status_says_how_it_ended(tmp_path, body, code, state):
    ended, status = noted(tmp_path, body)
    assert (ended, status["state"], status["exit_code"]) == (code, state, code)
    assert next(iter(status)) == "state"


def test_only_the_first_process_writes(tmp_path):
    assert noted(tmp_path, "", RANK="1") == (0, {})
