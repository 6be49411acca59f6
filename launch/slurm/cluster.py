"""Description of a Slurm job, from a file such as configs/slurm/node.yaml. Free of torch."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from configs import reader
from configs.errors import UsageError, require

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.,:@+-]*")
FEATURES = re.compile(r"[A-Za-z0-9_.,:@+*&|()\[\]-]+")
OPTION = re.compile(r"--([a-z][a-z0-9-]*)(=[A-Za-z0-9_.,:=@+/*&|()\[\]%-]+)?")
TIME = re.compile(r"(?:(\d+)-)?(\d{1,3}):([0-5]\d):([0-5]\d)")
MEMORY = re.compile(r"\d+[KMGT]?")
VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*|[a-z]+_proxy")
SECRET = re.compile(
    r".*(?:KEY|TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIALS?)|(?:.*_)?PAT|.*_(?:PASS|PWD|PW|AUTH|COOKIE)",
    re.IGNORECASE,
)
"""Names of variables that hold a secret, such as GITHUB_PAT."""
PASSWORD_IN_URL = re.compile(r"://[^/\s@]*:[^/\s@]+@")
ASSIGNMENT = re.compile(r"(?:^|[=,\s])([A-Za-z_][A-Za-z0-9_]*)=")
"""NAME=value in a word, as in --env=NAME=value,OTHER=value."""
SHORTEST_LEAD, LONGEST_LEAD = 60, 65535
"""Seconds. 65535 is Slurm's limit; it sends the signal up to a minute early."""
LAUNCHER_MARGIN = 30
"""Seconds by which the launcher kills its processes before Slurm does."""

# sbatch options that follow from a key, or that sbatch.py sets itself.
ELSEWHERE = {
    **{name: name for name in ("partition", "account", "qos", "constraint", "nodes", "mem", "time")},
    **dict.fromkeys(("gres", "gpus", "gpus-per-node", "gpus-per-task"), "gpus"),
    **{"cpus-per-task": "cpus_per_task", "array": "throttle", "signal": "signal_seconds"},
    **dict.fromkeys(("requeue", "no-requeue"), "requeues"),
    **dict.fromkeys(("job-name", "output", "error", "open-mode", "chdir", "dependency"), "the launcher"),
    **dict.fromkeys(("ntasks", "ntasks-per-node", "wrap", "kill-on-invalid-dep", "parsable"), "the launcher"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Cluster:
    """A kind of job: what it requests from Slurm, and how to set up a node."""

    time: str
    """Longest time until a job is stopped, [D-]HH:MM:SS. It is queued again and goes on where it was."""
    partition: str | None = None
    """Slurm partition. null: the cluster's default."""
    account: str | None = None
    """Slurm account. null: yours."""
    qos: str | None = None
    """Quality of service."""
    constraint: str | None = None
    """Features that nodes must have, as in a100&nvlink."""
    nodes: int = 1
    """Nodes of a job, of one element in an array."""
    gpus: int = 0
    """GPUs of each node. 0: trains on the CPU."""
    gpu_type: str | None = None
    """Kind of GPU as this cluster calls it, as in a100."""
    gpu_request: Literal["gres", "gpus_per_node"] = "gres"
    """How this cluster wants to be asked: --gres=gpu:4 or --gpus-per-node=4."""
    processes_per_node: int | None = None
    """Training processes of each node; null: one for each GPU, or one."""
    cpus_per_task: int = 1
    """CPU cores of each node: it has one task, the launcher, whatever its number of processes."""
    mem: str | None = None
    """Memory of each node, as in 64G. null: the cluster's default."""
    throttle: int | None = None
    """Most elements of an array that run at a time. null: as many as Slurm lets."""
    requeues: int = 5
    """How often a job may start again by itself, for whatever reason. 0: never; each has to be submitted again."""
    signal_seconds: int = 180
    """How long before its end a job is told to save and leave. The longest step and a checkpoint must fit into it."""
    modules: tuple[str, ...] = ()
    """Environment modules to load, in order."""
    venv: str | None = None
    """Virtual environment to activate. null: the one that the job is submitted from, if it is one."""
    container: tuple[str, ...] = ()
    """Words before each command that put it into a container, as in [apptainer, exec, --nv, image.sif]."""
    environment: dict[str, str] = field(default_factory=dict)
    """Variables for the training processes, taken as they are written."""
    options: tuple[str, ...] = ()
    """Further options of sbatch, as in [--exclusive, --reservation=school]."""

    def __post_init__(self) -> None:
        for key in ("partition", "account", "qos", "gpu_type"):
            _matches(NAME, key, getattr(self, key), "a name without spaces")
        _matches(FEATURES, "constraint", self.constraint, "features without spaces, as in a100&nvlink")
        _matches(MEMORY, "mem", self.mem, "a number with K, M, G or T behind it, as in 64G")
        for key, least in (("nodes", 1), ("cpus_per_task", 1), ("processes_per_node", 1), ("throttle", 1)):
            value = getattr(self, key)
            require(value is None or value >= least, key, value, f"at least {least}")
        for key in ("gpus", "requeues"):
            require(getattr(self, key) >= 0, key, getattr(self, key), "at least 0")
        require(self.gpus > 0 or self.gpu_type is None, "gpu_type", self.gpu_type, "null without gpus")
        valid = f"at most gpus, which is {self.gpus}"
        require(not self.gpus or self.processes <= self.gpus, "processes_per_node", self.processes_per_node, valid)
        self._check_time()
        _check_words("modules", self.modules)
        _check_words("container", self.container)
        _check_environment(self.environment)
        _check_options(self.options)

    @property
    def processes(self) -> int:
        """Training processes of each node."""
        return self.processes_per_node or self.gpus or 1

    @property
    def shutdown_seconds(self) -> int:
        """Seconds that the launcher waits for processes that were told to stop: less than Slurm does."""
        return self.signal_seconds - LAUNCHER_MARGIN

    def _check_time(self) -> None:
        lead = self.signal_seconds
        valid = f"between {SHORTEST_LEAD} and {LONGEST_LEAD} seconds"
        require(SHORTEST_LEAD <= lead <= LONGEST_LEAD, "signal_seconds", lead, valid)
        found = TIME.fullmatch(self.time)
        require(found is not None, "time", self.time, "hours:minutes:seconds as in 04:00:00, or with days, 1-12:00:00")
        assert found is not None
        days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
        total = 60 * (60 * (24 * days + hours) + minutes) + seconds
        valid = f"a minute longer than signal_seconds, which is {lead}"
        require(total >= lead + 60, "time", self.time, valid)


def read(path: str, changes: Sequence[str] = ()) -> Cluster:
    """Read a description, changed by some options --key=value. UsageError names file, line, key and what is valid.

    Jobs run in the virtual environment that this process runs in, unless the description has one or a container.
    """
    words = ["--config", path, *changes]
    found = reader.read(Cluster, words, prog=f"--cluster {path}", description="A kind of Slurm job.")
    own = sys.prefix != sys.base_prefix and Path(sys.prefix, "bin", "activate").is_file()
    return replace(found, venv=sys.prefix) if own and found.venv is None and not found.container else found


def _matches(pattern: re.Pattern[str], key: str, value: str | None, valid: str) -> None:
    require(value is None or pattern.fullmatch(value) is not None, key, value, valid)


def _check_words(key: str, words: Iterable[str]) -> None:
    for word in words:
        require(bool(word) and "\0" not in word, key, word, "a list of words that are not empty")
        _refuse_secrets(key, word, ASSIGNMENT.findall(word))


def _check_environment(environment: dict[str, str]) -> None:
    for name, value in environment.items():
        valid = "a name such as OMP_NUM_THREADS or http_proxy"
        require(VARIABLE.fullmatch(name) is not None, "environment", name, valid)
        own = name.startswith("SLURM_") or name == "TORCH_ELASTIC_SHUTDOWN_TIMEOUT"
        require(not own, "environment", name, "a variable that neither Slurm nor signal_seconds sets")
        _refuse_secrets("environment", value, [name])
        require("\0" not in value, "environment", value, "text without NUL")


def _refuse_secrets(key: str, text: str, names: Iterable[str]) -> None:
    """UsageError, which does not repeat it, for a secret: batch scripts and logs would hold it."""
    named = next(filter(SECRET.fullmatch, names), None)
    if named is None and PASSWORD_IN_URL.search(text):
        named = "an address with a password"
    if named is not None:
        raise UsageError(f"{key} has {named}, which would end up in files; export it where you submit instead")


def _check_options(options: Iterable[str]) -> None:
    for option in options:
        found = OPTION.fullmatch(option)
        require(found is not None, "options", option, "an option of sbatch without spaces or quotes, --name=value")
        assert found is not None
        _refuse_secrets("options", option, ASSIGNMENT.findall(option))
        # sbatch takes abbreviations: --out is --output.
        meant = next((name for name in ELSEWHERE if name.startswith(found.group(1))), None)
        if meant is not None:
            raise UsageError(f"options has {option}, but --{meant} is set by {ELSEWHERE[meant]}")
