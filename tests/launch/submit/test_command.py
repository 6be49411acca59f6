"""What is submitted, what is left alone and what is refused, with a Slurm of three stubs."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from configs.errors import InputError, UsageError
from configs.locks import LockedError
from launch.slurm.queue import SlurmError
from launch.submit import command
from launch.sweep_folder import locked
from submit_stubs import CONFIG, SWEEP, Cluster
from train.run_folder.version import version

ROOT = Path(__file__).parents[3]


@pytest.fixture
def site(tmp_path, monkeypatch):
    return Cluster(tmp_path).enter(monkeypatch)


def test_a_sweep_becomes_one_throttled_array_and_everything_is_kept(site, capsys):
    site.submit()
    assert site.arrays() == ["0-3%2"]
    text = capsys.readouterr().out
    assert "sweep: 4 runs: 4 waiting" in text and "job 101: 4 runs, 2 at a time" in text
    assert text.endswith("python -m launch.status sweep\n")
    home = site.folder / "sweep" / "jobs" / "0001"
    assert (home / "job.sbatch").read_text() == (site.folder / "sent" / "101").read_text()
    assert f"#SBATCH --output={site.folder}/sweep/logs/%A_%a.log" in (home / "job.sbatch").read_text()
    assert (site.folder / "sweep" / "logs").is_dir() and "throttle: 2" in (home / "cluster.yaml").read_text()
    note = json.loads((home / "job.json").read_text())
    assert note["job"] == "101" and note["elements"] == dict(zip("0123", site.ids, strict=True))
    assert (site.folder / "sweep" / "sweep.yaml").read_text() == SWEEP % "[1, 2]"
    first = site.sweep.load().runs[0]
    assert first.overrides == {"optim.lr": "1", "seed": "0"}
    element = (home / "element-0000.sh").read_text()
    assert f"--run_dir=sweep/runs/{first.id}\n" in element
    words = subprocess.run(
        ["bash", "-c", 'source "$1"; printf "%s\\n" "${words[@]}"', "x", str(home / "element-0000.sh")],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert words[:3] == ["launch.run", "--processes", "1"]
    assert words[3:6] == ["train.distill", "--config", "sweep/config/0-distill.yaml"]
    assert words[6:8] == ["--optim.lr=1", "--seed=0"]


@pytest.mark.parametrize(
    ("track", "option"),
    [
        ("", []),
        ("track: {wandb: offline}\n", ["--track.group=sweep"]),
        ("track: {wandb: offline, group: mine}\n", []),
    ],
)
def test_runs_are_one_group_in_wandb_unless_they_are_another(site, track, option):
    site.write("distill.yaml", CONFIG + track)
    site.submit()
    element = (site.folder / "sweep" / "jobs" / "0001" / "element-0003.sh").read_text()
    assert re.findall(r"--track\.group=\w+", element) == option


def test_runs_read_the_config_that_was_submitted(site):
    site.submit()
    site.write("distill.yaml", CONFIG.replace("epochs: 16", "epochs: 17"))
    assert (site.folder / "sweep" / "config" / "0-distill.yaml").read_text() == CONFIG


def test_again_submits_what_is_neither_done_nor_queued(site, capsys):
    site.submit()
    one, two, three, four = site.ids
    site.write("queue", "101_0 RUNNING\n101_1 PENDING\n101_2 COMPLETED\n")
    site.end(three, "preempted")
    site.end(four, "done")
    capsys.readouterr()
    assert site.resubmitted() == {three}
    assert "4 runs: 1 done, 1 running, 1 queued, 1 preempted" in capsys.readouterr().out
    assert "--jobs=101" in (site.folder / "asked").read_text()
    site.write("queue", "101_0 RUNNING\n101_1 PENDING\n102_0 PENDING\n")
    assert not site.resubmitted() and "nothing to submit" in capsys.readouterr().out
    site.write("queue", "")
    for run_id in (one, two, three):
        site.end(run_id, "done")
    assert not site.resubmitted()


@pytest.mark.parametrize(
    ("status", "submitted"),
    [
        ({"state": "failed", "exit_code": 65}, False),
        ({"state": "failed", "exit_code": 130}, True),  # Ctrl-C
        ({"state": "running"}, True),  # but in no queue: it was killed
        ({"state": "preempted"}, True),
    ],
)
def test_what_failed_is_submitted_only_when_asked(site, capsys, status, submitted):
    site.submit()
    others, last = site.ids[:-1], site.ids[-1]
    for run_id in others:
        site.end(run_id, "done")
    site.end(last, **status)
    assert (site.resubmitted() == {last}) == submitted
    assert ("what failed is submitted again with --retry" in capsys.readouterr().out) != submitted
    assert site.resubmitted("--retry") == {last}


def test_a_longer_sweep_adds_runs_and_changes_none(site):
    site.submit()
    before = site.sweep.load().runs
    site.write("sweep.yaml", SWEEP % "[3, 1, 2]")
    site.write("queue", "".join(f"101_{index} PENDING\n" for index in range(4)))
    assert len(site.resubmitted()) == 2 and site.sweep.load().runs[:4] == before
    assert (site.folder / "sweep" / "sweep.yaml").read_text() == SWEEP % "[3, 1, 2]"


def test_a_shorter_sweep_leaves_the_others_alone(site, capsys):
    site.submit()
    site.write("sweep.yaml", SWEEP % "[1]")
    assert len(site.resubmitted()) == 2
    assert "2 runs that were submitted before and are not asked for now stay as they are" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (("distill.yaml", CONFIG.replace("epochs: 16", "epochs: 17")), "epochs was 16, is now 17"),
        (
            ("sweep.yaml", (SWEEP % "[1]").replace("distill.yaml,", "distill.yaml, --batch_size, '32',")),
            "batch_size was",
        ),
        (
            ("sweep.yaml", (SWEEP % "[1]").replace("distill.yaml,", "teacher.yaml,").replace("distill", "teacher")),
            "command was",
        ),
    ],
)
def test_another_base_is_refused_and_what_differs_is_named(site, change, named):
    site.submit()
    site.write("teacher.yaml", (ROOT / "configs" / "digits" / "teacher.yaml").read_text())
    kept = (site.folder / "sweep" / "sweep.json").read_text()
    site.write(*change)
    with pytest.raises(InputError, match=rf"^sweep holds another sweep; {named}"):
        site.submit()
    assert (site.folder / "sweep" / "sweep.json").read_text() == kept and len(site.arrays()) == 1


def test_a_comment_or_an_overridden_key_is_no_other_base(site):
    site.submit()
    site.write("distill.yaml", "# better\n" + CONFIG.replace("lr: 1e-2", "lr: 5e-2"))
    site.submit()
    assert len(site.arrays()) == 2


def test_a_folder_of_something_else_stays_as_it_is(site):
    (site.folder / "sweep").mkdir()
    site.write("sweep/thesis.tex", "")
    with pytest.raises(InputError, match=r"sweep holds thesis.tex and no sweep.json; choose a folder"):
        site.submit()
    assert [path.name for path in (site.folder / "sweep").iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("missing", ["queue", "none"])
def test_a_dry_run_shows_everything_and_writes_nothing(site, capsys, missing):
    if missing == "none":
        for name in ("sbatch", "squeue", "scontrol"):
            (site.bin / name).unlink()
    site.submit("--dry_run")
    text = capsys.readouterr().out
    assert "#SBATCH --array=0-3%2" in text and "4 runs: 4 waiting" in text and "optim.lr" in text
    assert not (site.folder / "sweep").exists() and not list((site.folder / "sent").iterdir())


def test_a_point_that_the_command_does_not_take_stops_all(site):
    site.write("sweep.yaml", SWEEP % "[1, -1]")
    with pytest.raises(UsageError, match=r"sweep.yaml, line 5: optim.lr is -1.0; it must be positive \(point \w{12}: "):
        site.submit()
    assert not (site.folder / "sweep").exists()


def test_a_refused_array_is_not_noted_and_comes_again(site):
    site.write("closed", "")
    with pytest.raises(SlurmError, match=r"sbatch refuses sweep/jobs/0001/job.sbatch: sbatch: error: invalid part"):
        site.submit()
    assert not site.sweep.sent()
    (site.folder / "closed").unlink()
    assert len(site.resubmitted()) == 4


def test_a_silent_squeue_is_an_error_and_an_unknown_job_is_none(site):
    site.submit()
    site.write("code", "1")
    site.write("complaint", "slurm_load_jobs error: Unable to contact slurm controller")
    with pytest.raises(SlurmError, match=r"squeue does not say what is queued: slurm_load_jobs error: Unable"):
        site.submit()
    site.write("complaint", "slurm_load_jobs error: Invalid job id specified")
    assert len(site.resubmitted()) == 4


def test_an_array_is_never_longer_than_slurm_takes(site, capsys):
    site.write("sweep.yaml", SWEEP % "[1, 2, 3]")
    site.submit()
    assert site.arrays() == ["0-4%2"] and "1 run left out, more than this Slurm takes" in capsys.readouterr().out
    site.write("queue", "".join(f"101_{index} PENDING\n" for index in range(5)))
    site.submit()
    assert site.arrays() == ["0-4%2", "0%2"]


def test_two_at_once_do_not_submit_twice(site):
    site.submit()
    with locked(Path("sweep")), pytest.raises(LockedError, match="is at work in sweep"):
        site.submit()
    assert len(site.arrays()) == 1


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("--folder sweep --sweep sweep.yaml", r"one of the arguments --cluster --bash is required"),
        ("--folder sweep --bash", r"give either --sweep FILE or a command, train.teacher"),
        ("--folder sweep --bash --sweep sweep.yaml train.distill", r"give either --sweep FILE or a command"),
        ("--folder sweep --bash train.destill", r"train.destill is not a command; did you mean train.distill\?"),
        ("--folder sweep --bash --cluster.mem 4G train.distill", r"--cluster.mem=4G is for Slurm"),
        ("--folder sweep --cluster cluster.yaml --cluster.throttle 0 --sweep sweep.yaml", r"throttle is 0; it must be"),
        (
            "--folder s$x --cluster cluster.yaml --sweep sweep.yaml",
            r"--folder is '/.*/s\$x'; it must be a path of letters",
        ),
        ("--folder sweep --bash --sweep run_dir.yaml", r"run_dir.yaml, line 6: run_dir is what launch.submit sets"),
        ("--folder sweep --bash --count 2 train.distill", r"--count is the number of points of a random sweep"),
        ("--folder sweep --bash train.distill --config {parent}/config.yaml", r"\{parent\} needs --after"),
    ],
)
def test_a_wrong_command_line_is_answered(site, words, named):
    site.write("run_dir.yaml", (SWEEP % "[1]").replace("seed:", "run_dir:"))
    with pytest.raises(UsageError, match=named):
        command.main(words.split())
    assert not (site.folder / "sweep").exists()


def test_the_code_is_noted_with_its_changes(site, monkeypatch, capsys):
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@x", "-C", str(site.folder)]
    for words in (["init", "-q"], ["add", "distill.yaml"], ["commit", "-qm", "x"]):
        subprocess.run([*git, *words], check=True)
    site.write("distill.yaml", CONFIG + "# changed\n")
    monkeypatch.setattr(command, "version", lambda: version(site.folder))
    site.submit()
    diff = (site.folder / "sweep" / "jobs" / "0001" / "code.diff").read_text()
    assert "+# changed" in diff and "# ?? sweep.yaml" in diff
    assert re.fullmatch(r"[0-9a-f]{12}\+", str(site.sweep.sent()[0].commit))
    subprocess.run(["git", "apply", "--reverse", str(site.folder / "sweep/jobs/0001/code.diff")], check=True)
    assert (site.folder / "distill.yaml").read_text() == CONFIG
    capsys.readouterr()
    monkeypatch.setattr(command, "version", lambda: version(Path("/")))
    site.submit()
    assert "the code is in no git checkout" in capsys.readouterr().out


def test_it_is_torch_free():
    code = "import sys, launch.submit; print({'torch', 'timm', 'cv2', 'accelerate'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "set()"
