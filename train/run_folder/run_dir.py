"""The folder of a run:

config.yaml (a valid --config)  environment.json  metrics.jsonl  checkpoints/  model.safetensors  result.json  done
test_reads.jsonl (a line per reading of test)
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Collection
from dataclasses import asdict, dataclass, is_dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

from configs import arguments, records
from configs.errors import InputError
from configs.files import write_atomically
from models.spec import names_file
from train.run_folder import later, status, version

# Keys that may change between a run and its resumption: they do not change what is trained. data.bad_files is among
# them because fingerprints in the checkpoint tell whether the images changed.
EXECUTOR_KEYS = ("data.executor", "data.dali", "data.canvas_scale")
FREE_KEYS = (
    *("run_dir", "data.root", "data.threads", "data.prefetch", "checkpoint_steps", "track", "max_minutes", "extend"),
    *("timeout_minutes", "checkpoint_minutes", "cuda_graphs"),
    *("data.bad_files", "distill.cache", "distill.verify", "distill.teacher_check", "network", "card"),
    "micro_batch_size",  # what follows from it and the number of processes is in the checkpoints
    *EXECUTOR_KEYS,
)
# Keys that matter only after training: they may change until then.
END_KEYS = ("test",)
ENVIRONMENT = "environment.json"
PACKAGES = ("torch", "torchvision", "timm", "accelerate", "numpy", "opencv-python-headless", "nvidia-dali-cuda120")


@dataclass(frozen=True, slots=True)
class RunDir:
    """Paths and small files of one run."""

    path: Path

    @classmethod
    def at(cls, path: str) -> RunDir:
        """The run folder at a path, which need not exist."""
        return cls(Path(path))

    @property
    def config(self) -> Path:
        """The resolved config."""
        return self.path / "config.yaml"

    @property
    def metrics(self) -> Path:
        """One JSON object per line."""
        return self.path / "metrics.jsonl"

    @property
    def checkpoints(self) -> Path:
        """Folder of checkpoints."""
        return self.path / "checkpoints"

    @property
    def weights(self) -> Path:
        """The artefact."""
        return self.path / "model.safetensors"

    @property
    def result(self) -> Path:
        """Scores and counts of the finished run."""
        return self.path / "result.json"

    @property
    def done(self) -> Path:
        """Marker: the run is finished."""
        return self.path / "done"

    @property
    def started(self) -> bool:
        """Whether the folder holds a checkpoint, a cut or a result."""
        trained = self.result.exists() or any(self.checkpoints.glob("step-*"))
        return trained or any(self.path.glob("cut-*/cut.json"))

    def open(self, config_yaml: str) -> None:
        """Create the folder, or check that the work in it belongs to this config.

        InputError names the keys that differ, or files that no run has written. Without a checkpoint, a cut or a result
        a run has nothing to protect.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        self._refuse_foreign()
        if self.started and self.config.exists():
            free = FREE_KEYS if self.done.exists() else (*FREE_KEYS, *END_KEYS)
            stored = records.from_yaml(self.config)
            changed = differing_keys(stored, yaml.safe_load(config_yaml), free)
            if changed:
                way = "Choose another --run_dir, or delete the folder to start afresh"
                if self.done.exists() and all(line.startswith(("epochs ", "optim.")) for line in changed):
                    way += "; or train this one on with --extend true"
                raise InputError(f"{self.path} holds a run with another config; {'; '.join(changed)}. {way}")
        if self.done.exists():
            return
        write_atomically(self.path / ENVIRONMENT, json.dumps(environment(), indent=2) + "\n")
        write_atomically(self.config, config_yaml)

    def _refuse_foreign(self) -> None:
        """InputError for somebody else's files that a run would replace; the first file of a run is its environment."""
        if (self.path / ENVIRONMENT).exists() or (self.path / status.NAME).exists():
            return
        written = (self.config, self.metrics, self.weights, self.result)
        if found := [path.name for path in written if path.exists()]:
            raise InputError(
                f"{self.path} holds {', '.join(found)}, which a run would replace, and is no run folder (it has no "
                f"{ENVIRONMENT}); choose another --run_dir"
            )


def differing_keys(old: Any, new: Any, free: Collection[str], prefix: str = "") -> list[str]:
    """Return `key was old, is now new` for each value that differs, except for free keys."""
    if prefix.rstrip(".") in free:
        return []
    if isinstance(old, dict) and isinstance(new, dict):
        keys = [*new, *(key for key in old if key not in new)]
        return [
            line
            for key in keys
            for line in differing_keys(later.known(old, key, prefix), new.get(key), free, f"{prefix}{key}.")
        ]
    if isinstance(old, str) and isinstance(new, str) and names_file(old) and names_file(new):
        return []  # the checkpoints tell whether it is another file, or the same in another place
    return [] if old == new else [f"{prefix.rstrip('.')} was {old}, is now {new}"]


def environment() -> dict[str, Any]:
    """Return versions, hardware, commit and command, for environment.json."""
    import torch

    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "command": arguments.command_line(),
        "commit": version.commit(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "cpu": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "gpus": gpus,
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def write_json(path: Path, value: Any) -> None:
    """Write a dataclass or plain values as indented JSON."""
    write_atomically(path, json.dumps(asdict(value) if is_dataclass(value) else value, indent=2) + "\n")  # type: ignore[arg-type]
