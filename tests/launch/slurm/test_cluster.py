"""A cluster's description: what ships is read, and what is wrong is named with file, line and what is right."""

import sys
from pathlib import Path

import pytest

from configs.errors import UsageError
from configs.schema import attribute_docs, schema
from launch.slurm import cluster
from launch.slurm.cluster import Cluster

FILES = sorted((Path(__file__).parents[3] / "configs" / "slurm").glob("*.yaml"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_what_ships_is_read_and_says_what_it_is_for(file):
    found = cluster.read(str(file))
    assert found.nodes * found.processes == {"cpu": 1, "one_gpu": 1, "node": 8, "two_nodes": 8}[file.stem]
    assert file.read_text().startswith("# ") and "\n#\n" in file.read_text()


def test_four_kinds_ship():
    assert [file.stem for file in FILES] == ["cpu", "node", "one_gpu", "two_nodes"]


def test_every_key_says_what_it_means():
    assert set(attribute_docs(Cluster)) == {option.key for option in schema(Cluster).options()}


@pytest.mark.parametrize(
    ("keys", "processes", "world"),
    [
        ({}, 1, 1),
        ({"gpus": 4}, 4, 4),
        ({"gpus": 4, "nodes": 2}, 4, 8),
        ({"gpus": 4, "processes_per_node": 1, "nodes": 3}, 1, 3),
        ({"processes_per_node": 2}, 2, 2),
    ],
)
def test_processes_follow_from_gpus_unless_they_are_given(keys, processes, world):
    made = Cluster(time="04:00:00", **keys)
    assert (made.processes, made.nodes * made.processes) == (processes, world)


def test_the_launcher_gives_up_before_slurm_does():
    assert Cluster(time="04:00:00").shutdown_seconds == 150
    assert Cluster(time="04:00:00", signal_seconds=60).shutdown_seconds == 30


@pytest.mark.parametrize("time", ["00:04:00", "04:00:00", "1-00:00:00", "100:00:00"])
def test_times(time):
    assert Cluster(time=time).time == time


@pytest.fixture
def read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def reading(text: str) -> Cluster:
        Path("c.yaml").write_text("# a comment\ntime: 04:00:00\n" + text)
        return cluster.read("c.yaml")

    return reading


def test_a_whole_file(read):
    found = read(
        "partition: gpu,long\naccount: a-b\nqos: high\nconstraint: '[a100|h100]&nvlink*2'\nnodes: 2\ngpus: 4\n"
        "gpu_type: a100\ngpu_request: gpus_per_node\nmem: 64G\nthrottle: 4\nrequeues: 0\nsignal_seconds: 90\n"
        "modules: [cuda/12.4, gcc]\nvenv: /home/me/.venv\ncontainer: [apptainer, exec, --nv, my image.sif]\n"
        "environment: {OMP_NUM_THREADS: 8, http_proxy: 'http://a b', PLAIN: 'true'}\n"
        "options: [--exclusive, --reservation=school, '--exclude=n[1-3]']\n"
    )
    assert found.environment == {"OMP_NUM_THREADS": "8", "http_proxy": "http://a b", "PLAIN": "true"}
    assert found.options == ("--exclusive", "--reservation=school", "--exclude=n[1-3]")
    assert (found.modules, found.container[-1]) == (("cuda/12.4", "gcc"), "my image.sif")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("partion: gpu", "unknown key partion; did you mean partition?"),
        ("zzz: 1", "unknown key zzz; valid here: time, partition, account"),
        ("partition: a b", "partition is 'a b'; it must be a name without spaces"),
        ('partition: "a\\n#SBATCH --x"', "partition is .*; it must be a name without spaces"),
        ("partition: 'a#b'", "partition is 'a#b'; it must be a name"),
        ("qos: -x", "qos is '-x'; it must be a name"),
        ("account: --wrap=x", "account is '--wrap=x'; it must be a name"),
        ("constraint: a & b", "constraint is 'a & b'; it must be features without spaces"),
        ("mem: lots", "mem is 'lots'; it must be a number with K, M, G or T"),
        ("nodes: 0", "nodes is 0; it must be at least 1"),
        ("cpus_per_task: 0", "cpus_per_task is 0; it must be at least 1"),
        ("throttle: 0", "throttle is 0; it must be at least 1"),
        ("requeues: -1", "requeues is -1; it must be at least 0"),
        ("gpus: -1", "gpus is -1; it must be at least 0"),
        ("gpu_type: a100", "gpu_type is 'a100'; it must be null without gpus"),
        ("gpus: 2\nprocesses_per_node: 3", "processes_per_node is 3; it must be at most gpus, which is 2"),
        ("gpu_request: gpu", r"gpu_request is gpu; expected gres\|gpus_per_node"),
        ("signal_seconds: 59", "signal_seconds is 59; it must be between 60 and 65535"),
        ("signal_seconds: 70000", "signal_seconds is 70000; it must be between"),
        ("modules: ['']", "modules is ''; it must be a list of words"),
        ("container: ['']", "container is ''; it must be a list of words"),
        ("environment: {a b: c}", "environment is 'a b'; it must be a name such as"),
        ("environment: {code: c}", "environment is 'code'; it must be a name such as"),
        ("environment: {SLURM_RESTART_COUNT: 0}", "environment is 'SLURM_RESTART_COUNT'; it must be a variable that"),
        (
            "environment: {TORCH_ELASTIC_SHUTDOWN_TIMEOUT: 1}",
            "environment is .*; it must be a variable that neither Slurm nor signal_",
        ),
        ("environment: {WANDB_API_KEY: x}", "environment has WANDB_API_KEY, which would end up in files; export it"),
        ("environment: {HF_TOKEN: x}", "environment has HF_TOKEN, which would end up in files"),
        ('environment: {A: "\\0"}', "environment is .*; it must be text without NUL"),
        ("options: [-x]", "options is '-x'; it must be an option of sbatch without spaces or quotes"),
        ("options: [--comment=a b]", "options is '--comment=a b'; it must be an option"),
        ("options: [--mem=4G]", "options has --mem=4G, but --mem is set by mem"),
        ("options: ['--signal=B:USR1@60']", "options has --signal=B:USR1@60, but --signal is set by signal_s"),
        ("options: [--no-requeue]", "options has --no-requeue, but --no-requeue is set by requeues"),
        ("options: [--output=x]", "options has --output=x, but --output is set by the launcher"),
        ("options: [--out=x]", "options has --out=x, but --output is set by the launcher"),
        ("options: [--depend=x]", "options has --depend=x, but --dependency is set by the launcher"),
    ],
)
def test_what_is_wrong_is_named_with_what_is_right(read, line, message):
    with pytest.raises(UsageError, match=rf"^c.yaml, line [34]: {message}"):
        read(line)


SECRETS = {
    **{
        f"environment: {{{name}: hush}}": name
        for name in ("GITHUB_PAT", "MYTOKEN", "DB_PASSWD", "AWS_SECRET", "X_AUTH")
    },
    "environment: {DATABASE_URL: 'postgres://me:hush@db/x'}": "an address with a password",
    "environment: {https_proxy: 'http://me:hush@proxy:3128'}": "an address with a password",
    "container: [apptainer, exec, --env, HF_TOKEN=hush, x.sif]": "HF_TOKEN",
    "container: [apptainer, exec, '--env=A=1,GITHUB_PAT=hush', x.sif]": "GITHUB_PAT",
    "container: [docker, run, -e, 'PIP_INDEX=https://me:hush@host/simple', x]": "an address with a password",
    "options: ['--export=ALL,MYTOKEN=hush']": "MYTOKEN",
}


@pytest.mark.parametrize("line", SECRETS)
def test_secrets_are_refused_and_not_repeated(read, line):
    with pytest.raises(UsageError, match=f"has {SECRETS[line]}, which would end up in files; export it") as refused:
        read(line)
    assert "hush" not in str(refused.value)


def test_what_only_looks_like_a_secret_is_taken(read):
    """The control."""
    found = read(
        "environment: {PATH: /a, HTTPS_PROXY: 'http://proxy:3128', COMPAT: '1', TOKENIZERS_PARALLELISM: x}\n"
        "container: [apptainer, exec, --env, A=1, --bind, '/a:/b', 'docker://host:5000/x']\n"
        "options: ['--export=ALL,A=1', --exclusive, '--gpu-bind=closest', '--nodelist=n1']\n"
    )
    assert len(found.environment) == 4 and len(found.options) == 4


@pytest.mark.parametrize("time", ["90", "4:00", "04:60:00", "04:00:00\n", "infinite", "1-2", "-1:00:00"])
def test_other_times_are_refused(time):
    with pytest.raises(UsageError, match=r"^time is .*; it must be hours:minutes:seconds as in 04:00:00, or with days"):
        Cluster(time=time)


def test_a_time_without_room_for_the_signal_is_refused():
    with pytest.raises(UsageError, match=r"time is '00:03:59'; it must be a minute longer than signal_seconds, .* 180"):
        Cluster(time="00:03:59")


def test_the_time_is_asked_for(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("gpus: 1\n")
    with pytest.raises(UsageError, match="time is missing"):
        cluster.read(str(path))


def test_jobs_run_in_the_environment_they_are_submitted_from(tmp_path, monkeypatch):
    (tmp_path / "c.yaml").write_text("time: 01:00:00\n")
    (tmp_path / "named.yaml").write_text("time: 01:00:00\nvenv: /other\n")
    (tmp_path / "contained.yaml").write_text("time: 01:00:00\ncontainer: [apptainer, exec, image.sif]\n")
    own = tmp_path / "own"
    (own / "bin").mkdir(parents=True)
    monkeypatch.setattr(sys, "prefix", str(own))
    assert cluster.read(str(tmp_path / "c.yaml")).venv is None  # no environment that can be activated
    (own / "bin" / "activate").touch()
    assert cluster.read(str(tmp_path / "c.yaml")).venv == str(own)
    assert cluster.read(str(tmp_path / "c.yaml"), ["--time=02:00:00"]).time == "02:00:00"
    assert cluster.read(str(tmp_path / "named.yaml")).venv == "/other"
    assert cluster.read(str(tmp_path / "contained.yaml")).venv is None
    monkeypatch.setattr(sys, "base_prefix", str(own))
    assert cluster.read(str(tmp_path / "c.yaml")).venv is None
