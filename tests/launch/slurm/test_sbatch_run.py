"""Batch scripts, run by bash with stubs for what a cluster has: every word arrives, and the exit code decides."""

import subprocess
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs import shown
from launch.slurm import sbatch
from launch.slurm.cluster import Cluster
from launch.slurm.sbatch import Array, Element, Job
from slurm_stubs import Site

NASTY = (
    *("it's", 'a "b"', "$HOME `id` $(id)", "a\nb\r\tc", "\\n", "", "*", "~"),
    *("--x=a b", "#c", "é ü", "!x", "\x01", "\x85\u2028"),
)
DISTILL = ("launch.run", "--processes", "4", "train.distill", "--config", "a b.yaml", "--run_dir=run")


def job(work: Element | Array, site: Site) -> Job:
    return Job(name="students", logs="/logs", directory=str(site.folder), work=work)


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path)


def single(site: Site, made: Cluster, *words: str) -> str:
    element = Element(words=words or DISTILL)
    return sbatch.text(made, job(element, site))


def array(site: Site, made: Cluster, index: int, *words: str) -> str:
    folder = site.folder / "it's an $array"
    folder.mkdir(exist_ok=True)
    element = Element(words=words or DISTILL)
    (folder / sbatch.element_name(index)).write_bytes(sbatch.element_text(element).encode())
    return sbatch.text(made, job(Array(folder=str(folder), indices=(index,)), site))


KINDS = {
    "one process": Cluster(time="04:00:00"),
    "one node": Cluster(time="04:00:00", processes_per_node=2),
    "two nodes": Cluster(time="04:00:00", nodes=2, gpus=4),
}


def test_a_node_has_one_task(site):
    assert site.run(single(site, KINDS["one process"])).returncode == 0
    assert site.words() == [str(site.bin / "python"), "-m", *DISTILL]


def test_each_node_has_one_task_that_starts_the_same_words(site):
    assert site.run(single(site, KINDS["two nodes"])).returncode == 0
    assert site.words(0) == site.words(1) == [str(site.bin / "python"), "-m", *DISTILL]
    assert "--nodes=2 --ntasks-per-node=1 " in site.srun and "--kill-on-bad-exit=0 --wait=180" in site.srun


@pytest.mark.parametrize("kind", KINDS)
def test_the_step_is_asked_for_the_cores_of_the_job_and_has_its_variables(site, kind):
    made = replace(KINDS[kind], cpus_per_task=6)
    site.run(single(site, made))
    assert f"--nodes={made.nodes} --ntasks-per-node=1 --cpus-per-task=6 --export=ALL" in site.srun
    assert site.environment["TORCH_ELASTIC_SHUTDOWN_TIMEOUT"] == "150"


def test_modules_and_the_virtual_environment_come_before_the_command(site):
    venv = site.folder / "my venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "activate").write_text(f"echo activate >> {site.folder}/order; unset MISSING; : $MISSING\n")
    made = Cluster(time="04:00:00", modules=("cuda/12.4", "a b"), venv=str(venv))
    module = f'module() {{ echo "module $*" >> {site.folder}/order; [ "$*" != "load gone" ]; }}; export -f module\n'
    assert site.run(module + single(site, made)).returncode == 0
    assert (site.folder / "order").read_text() == "module load cuda/12.4\nmodule load a b\nactivate\n"
    gone = Cluster(time="04:00:00", modules=("gone",))
    assert site.run("rm $SITE/srun\n" + module + single(site, gone)).returncode != 0 and not site.srun


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20) | st.sampled_from(NASTY)


@settings(max_examples=25, deadline=None)
@given(words=st.lists(TEXT, max_size=3), value=TEXT, inside=TEXT.filter(bool), kind=st.sampled_from(sorted(KINDS)))
def test_words_and_variables_reach_the_process_unchanged(tmp_path_factory, words, value, inside, kind):
    site = Site(tmp_path_factory.mktemp("site"))
    made = replace(KINDS[kind], environment={"VALUE": value}, container=("wrap", inside))
    for text in (single(site, made, "train.x", *words), array(site, made, 7, "train.x", *words)):
        done = site.run(text, SLURM_ARRAY_JOB_ID="70", SLURM_ARRAY_TASK_ID="7")
        assert done.returncode == 0, done.stderr
        for node in range(made.nodes):
            got = site.words(node)
            assert got[got.index("-m") :] == ["-m", "train.x", *words]
        assert site.environment["VALUE"] == value
        assert (site.folder / "seen" / "wrapped").read_bytes() == inside.encode() + b"\0"


@pytest.mark.parametrize("nasty", [text for text in NASTY if text])
def test_folders_of_any_name_are_found(site, nasty):
    run_dir = site.folder / f"in {nasty}" / f"run {nasty}"
    run_dir.mkdir(parents=True)
    work = Job(name="students", logs="/logs", directory=str(run_dir), work=Element(words=DISTILL))
    done = site.run(sbatch.text(KINDS["one process"], work))
    assert done.returncode == 0, done.stderr
    assert site.environment["PWD"] == str(run_dir)


@pytest.mark.parametrize("word", NASTY)
def test_a_quoted_word_is_one_line(word):
    quoted = shown.quote(word)
    assert "\n" not in quoted and "\r" not in quoted
    done = subprocess.run(["bash", "-c", f"printf %s {quoted}"], capture_output=True, check=True)
    assert done.stdout == word.encode()


ARRAY = {"SLURM_JOB_ID": "70", "SLURM_ARRAY_JOB_ID": "70", "SLURM_ARRAY_TASK_ID": "7"}


def states(site: Site, kind: str):
    """Run as an array's element 7, whose SLURM_JOB_ID is the array's own."""
    text = array(site, KINDS[kind], 7)
    return lambda **changes: site.run(text, **{**ARRAY, **changes})


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("code", [75, 143], ids=["stopped", "ended by SIGTERM before it could listen"])
def test_what_was_stopped_is_queued_again_and_of_an_array_the_element_alone(site, kind, code):
    done = states(site, kind)(code=code)
    assert done.returncode == 75 and site.requeued == ["requeue 70_7"]


@pytest.mark.parametrize("code", [1, 137, 138, 139])
def test_what_failed_or_was_killed_otherwise_is_not(site, code):
    done = states(site, "one process")(code=code)
    assert done.returncode == code and not site.requeued


def test_a_single_job_is_queued_again_by_its_number(site):
    done = site.run(single(site, KINDS["one process"]), code=75)
    assert done.returncode == 75 and site.requeued == ["requeue 77"]


@pytest.mark.parametrize(("count", "again"), [("0", True), ("4", True), ("5", False), ("6", False)])
def test_the_cap_holds(site, count, again):
    done = states(site, "one process")(code=75, SLURM_RESTART_COUNT=count)
    assert done.returncode == 75 and bool(site.requeued) == again
    assert ("stopped and resumable, after 5 requeues; submit it again" in done.stderr) != again


@pytest.mark.parametrize(("count", "starts"), [("5", True), ("6", False)])
def test_what_slurm_queued_again_by_itself_counts_too(site, count, starts):
    done = states(site, "one process")(SLURM_RESTART_COUNT=count)
    assert done.returncode == (0 if starts else 75) and bool(site.srun) == starts
    assert ("70_7: stopped and resumable, after 5 requeues; submit it again" in done.stderr) != starts


def test_never_again_means_never(site):
    text = single(site, Cluster(time="04:00:00", requeues=0))
    assert "#SBATCH --no-requeue" in text.splitlines() and "#SBATCH --requeue" not in text.splitlines()
    assert site.run(text, code=75).returncode == 75 and not site.requeued


def test_a_refused_requeue_is_said(site):
    site.tool("scontrol", "echo no >&2; exit 1")
    done = states(site, "one process")(code=75)
    assert done.returncode == 75 and "stopped and resumable, but not queued again; submit it again" in done.stderr


@pytest.mark.parametrize("kind", KINDS)
def test_done_is_success(site, kind):
    done = states(site, kind)(code=0)
    assert done.returncode == 0 and not site.requeued and not done.stderr


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("code", [1, 65, 73, 137])
def test_anything_else_is_a_failure_and_not_queued_again(site, kind, code):
    done = states(site, kind)(code=code)
    assert done.returncode == code and not site.requeued
    assert done.stderr == f"70_7: {' '.join(DISTILL)}: exit code {code}\n"


def test_preempted_twice_is_queued_again_twice(site):
    start = states(site, "one process")
    for count in "01":
        assert start(code=75, SLURM_RESTART_COUNT=count).returncode == 75
    assert site.requeued == ["requeue 70_7"] * 2


def test_an_element_without_its_file_fails_before_anything_starts(site):
    done = states(site, "one process")(SLURM_ARRAY_TASK_ID="8")
    assert done.returncode != 0 and "element-0008.sh" in done.stderr and not site.srun


def test_the_log_says_which_start_this_is(site):
    done = states(site, "one process")(SLURM_RESTART_COUNT="2")
    assert done.stdout.startswith("70_7, start 3, ") and done.stdout.endswith(f": {' '.join(DISTILL)}\n")


AFTERWARDS = ("launch.submit.conclude", "it's here")
NOTING = 'echo "$@" >> "$SITE/started"; [[ $2 != launch.submit.conclude ]] && exit "$CODE"; exit 66'


@pytest.mark.parametrize("made", [KINDS["one process"], replace(KINDS["two nodes"], container=("wrap", "image"))])
@pytest.mark.parametrize("code", [0, 1, 75])
def test_what_comes_afterwards_starts_once_where_the_work_is_done_and_never_fails_it(site, made, code):
    site.tool("python", NOTING)
    work = replace(job(Element(words=DISTILL), site), afterwards=AFTERWARDS)
    assert site.run(sbatch.text(made, work), code).returncode == code
    last = (site.folder / "started").read_text().splitlines()[made.nodes :]
    assert last == (["-m launch.submit.conclude it's here"] if code == 0 else [])
