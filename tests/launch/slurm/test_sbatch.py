"""The text of batch scripts, compared with recorded files; test_sbatch_run.py has bash run them.

To record them again, after reading the difference:
RECORD=1 python -m pytest tests/launch/slurm/test_sbatch.py -k recorded
"""

import os
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from configs.errors import UsageError
from launch.slurm import cluster, sbatch
from launch.slurm.cluster import Cluster
from launch.slurm.sbatch import Array, Element, Job

ROOT = Path(__file__).parents[3]
RECORDS = Path(__file__).parent / "sbatch"
DISTILL = (
    "launch.run",
    "--processes",
    "1",
    "train.distill",
    "--config",
    "configs/cifar10/distill.yaml",
    "--optim.lr=0.001",
    "--run_dir=runs/students/a1b2",
)
ONE = Element(words=DISTILL)
SWEEP = Array(folder="/home/me/heartcut/runs/students/elements", indices=tuple(range(20)))


def job(work: Element | Array, **changes) -> Job:
    facts = {"name": "students", "logs": "/home/me/heartcut/runs/students/logs", "directory": "/home/me/heartcut"}
    return Job(**{**facts, **changes}, work=work)


def shipped(name: str) -> Cluster:
    """As it is read outside of a virtual environment."""
    return replace(cluster.read(str(ROOT / "configs" / "slurm" / f"{name}.yaml")), venv=None)


SITE = Cluster(
    time="1-00:00:00",
    partition="gpu",
    account="vision",
    qos="high",
    constraint="[a100|h100]&nvlink",
    gpus=2,
    gpu_type="a100",
    gpu_request="gpus_per_node",
    cpus_per_task=16,
    requeues=2,
    signal_seconds=300,
    modules=("cuda/12.4", "apptainer"),
    venv="/home/me/my venv",
    container=("apptainer", "exec", "--nv", "/images/heart cut.sif"),
    environment={"OMP_NUM_THREADS": "8", "NOTE": 'it\'s "50 %" of $HOME\nand more', "http_proxy": "http://proxy:8080"},
    options=("--exclusive", "--reservation=school"),
)
CASES = {
    "cpu": (shipped("cpu"), job(ONE), {}),
    "one_gpu": (shipped("one_gpu"), job(ONE), {"afterok": ["41", "42"]}),
    "node_array": (shipped("node"), job(SWEEP), {}),
    "two_nodes": (shipped("two_nodes"), job(ONE), {}),
    "site_array": (
        SITE,
        job(
            Array(folder="/home/me/a b/it's", indices=(0, 3, 4, 5, 9)),
            afterwards=("launch.submit.conclude", "/home/me/it's"),
        ),
        {"aftercorr": "43"},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_recorded(name):
    made, path = sbatch.text(*CASES[name][:2], **CASES[name][2]), RECORDS / f"{name}.sbatch"
    if os.environ.get("RECORD"):
        path.write_text(made)
    assert made == path.read_text()


def test_every_record_is_of_a_case():
    assert {path.stem for path in RECORDS.iterdir()} == set(CASES)


@pytest.mark.parametrize("name", CASES)
def test_bash_takes_it_and_slurm_finds_its_options_first(name):
    path = RECORDS / f"{name}.sbatch"
    subprocess.run(["bash", "-n", path], check=True)
    lines = path.read_text().splitlines()
    directives = [line for line in lines if line.startswith("#SBATCH")]
    assert lines[0] == "#!/bin/bash" and lines[1 : 1 + len(directives)] == directives
    assert all(re.fullmatch(r"#SBATCH --[a-z-]+(=[^\s'\"#\\]+)?", line) for line in directives)
    assert len({line.partition("=")[0] for line in directives}) == len(directives)
    assert "#SBATCH --open-mode=append" in lines and "#SBATCH --requeue" in lines
    assert re.search(r"^#SBATCH --signal=TERM@\d+$", path.read_text(), re.M)
    assert not re.search(r"\btrap\b|localhost|--signal=B", path.read_text().replace("no\n# trap", ""))


# Where nothing is split or globbed: assignments, arithmetic, tests, and what is left of a command that quotes the rest.
SAFE = (r"(export )?\w+=\S+ *", r"if \(\(.*", r"[^$]* \|\| code=\$\?")


@pytest.mark.parametrize("name", CASES)
def test_no_expansion_stands_unquoted(name):
    lines = [re.sub(r"(^|\s)#.*", "", line) for line in (RECORDS / f"{name}.sbatch").read_text().splitlines()]
    quoted = re.compile(r"""\$'(?:[^'\\]|\\.)*'|'[^']*'|"[^"]*\"""")
    suspects = [line for line in (quoted.sub("", line) for line in lines) if "$" in line]
    assert len(suspects) >= 2 and [line for line in suspects if not any(re.fullmatch(p, line) for p in SAFE)] == []


def test_indices_are_written_as_ranges():
    text = sbatch.text(Cluster(time="04:00:00"), job(Array(folder="/x", indices=(1, 2, 3, 7, 9, 10))))
    assert "#SBATCH --array=1-3,7,9-10\n" in text
    assert "#SBATCH --array=0%3\n" in sbatch.text(
        Cluster(time="04:00:00", throttle=3), job(Array(folder="/x", indices=(0,)))
    )


def test_dependencies_of_both_kinds_must_all_hold():
    text = sbatch.text(Cluster(time="04:00:00"), job(SWEEP), afterok=["1", "2_3"], aftercorr="4")
    assert "#SBATCH --dependency=afterok:1:2_3,aftercorr:4\n#SBATCH --kill-on-invalid-dep=yes\n" in text
    assert "dependency" not in sbatch.text(Cluster(time="04:00:00"), job(SWEEP))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: job(ONE, name="a b"), "name is 'a b'; it must be letters, digits"),
        (lambda: job(ONE, name="a\n#SBATCH --x"), "name is"),
        (lambda: job(ONE, logs="logs"), "logs is 'logs'; it must be an absolute path"),
        (lambda: job(ONE, logs="/a b"), "logs is '/a b'; it must be an absolute path of letters, digits"),
        (lambda: job(ONE, logs="/a%j"), "logs is '/a%j'"),
        (lambda: job(ONE, directory="x"), "directory is 'x'; it must be an absolute path"),
        (lambda: Array(folder="x", indices=(0,)), "folder is 'x'; it must be an absolute path"),
        (lambda: Array(folder="/x", indices=()), r"indices is \(\); it must be at least one number"),
        (lambda: Array(folder="/x", indices=(2, 1)), "indices is"),
        (lambda: Array(folder="/x", indices=(-1, 1)), "indices is"),
        (lambda: Element(words=()), r"words is \(\); it must be a command"),
        (lambda: sbatch.text(SITE, job(ONE), afterok=["x"]), "dependency is 'x'; it must be the number of a job"),
        (lambda: sbatch.text(SITE, job(ONE), aftercorr="4\n"), "dependency is"),
        (lambda: sbatch.text(SITE, job(Element(words=("a\0",)))), "holds a NUL"),
    ],
)
def test_what_cannot_be_written_is_refused(make, message):
    with pytest.raises(UsageError, match=message):
        make()
