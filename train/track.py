"""Where measurements go: metrics.jsonl always, wandb when asked. On the main process only."""

from __future__ import annotations

import json
import logging
import math
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from configs.files import write_atomically
from train.config import TrackSpec

logger = logging.getLogger(__name__)


class Tracker:
    """Our own file is the record; wandb is one sink of it."""

    def __init__(self, spec: TrackSpec, path: Path, *, resume_step: int) -> None:
        """Opens the file for appending and drops lines that a killed process wrote after its last checkpoint."""
        self._path = path
        if path.exists():
            lines = [line for line in path.read_text().splitlines() if _step(line) <= resume_step]
            write_atomically(path, "".join(f"{line}\n" for line in lines))
        self._file = path.open("a", buffering=1)
        self._spec = spec
        self._wandb: Any = None

    def start_wandb(self, *, config: Mapping[str, Any], name: str, stage: str, run_id: str | None) -> str | None:
        """Start or go on with the wandb run; returns its id, to be kept with the checkpoint."""
        if self._spec.wandb == "disabled":
            return None
        import wandb

        self._wandb = wandb.init(
            project=self._spec.project,
            group=self._spec.group,
            job_type=stage,
            name=name,
            id=run_id or secrets.token_hex(4),
            resume="allow",
            mode=self._spec.wandb,
            # Absolute: under an agent the files are written by a service that was started in another folder.
            dir=self._path.parent.resolve(),
            config=dict(config),
        )
        # Never pass step=: after a resumption wandb would drop every point up to the last one it saw.
        self._wandb.define_metric("train/step")
        self._wandb.define_metric("*", step_metric="train/step")
        return str(self._wandb.id)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """One line: the optimizer step and named numbers."""
        # JSON has no NaN: a gradient norm may overflow where the loss did not.
        numbers = {name: float(value) if math.isfinite(value) else None for name, value in values.items()}
        record = {"train/step": step, **numbers}
        self._file.write(json.dumps(record) + "\n")
        if self._wandb is not None:
            self._wandb.log(record)

    def close(self, summary: Mapping[str, Any] | None = None) -> None:
        """End the wandb run, with its summary if the run is complete."""
        self._file.close()
        if self._wandb is None:
            return
        self._wandb.summary.update(dict(summary or {}))
        folder = Path(self._wandb.dir).parent
        self._wandb.finish()
        if self._spec.wandb == "offline":
            logger.info("wandb: upload with  wandb sync %s", folder)


def _step(line: str) -> float:
    """The step of one line; a line torn by a kill belongs to no step."""
    try:
        return float(json.loads(line)["train/step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")
