"""What is submitted, what is left alone and what is refused, with a Slurm of three stubs."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import run_folders
from configs.locks import LockedError
from launch.slurm.queue import SlurmError
from launch.status import command as status
from launch.submit import command
from launch.sweep_folder import locked
from submit_stubs import CONFIG, ROOT, SWEEP
from train.run_folder.version import version


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


@pytest.mark.parametrize("missing", ["queue", "none"])
def test_a_dry_run_shows_everything_and_writes_nothing(site, capsys, missing):
    if missing == "none":
        for name in ("sbatch", "squeue", "scontrol"):
            (site.bin / name).unlink()
    site.submit("--dry_run")
    text = capsys.readouterr().out
    assert "#SBATCH --array=0-3%2" in text and "4 runs: 4 waiting" in text and "optim.lr" in text
    assert not (site.folder / "sweep").exists() and not list((site.folder / "sent").iterdir())


@pytest.mark.parametrize("seeds", [[], ["--seeds", "2"]])
def test_the_result_is_written_once_all_are_done_and_shown_if_it_is_of_several_seeds(site, capsys, seeds):
    words = ["--cluster", "cluster.yaml", "--folder", "sweep", *seeds, "train.distill", "--config", "distill.yaml"]
    command.main(words)
    assert not (site.sweep.path / "result.json").exists()
    for seed, run_id in enumerate(site.ids):
        run_folders.make(site.sweep.run_dir(run_id), "done", {"seed": seed, "accuracy": 0.9 + seed / 100})
    capsys.readouterr()
    command.main(words)
    text = capsys.readouterr().out
    assert "nothing to submit" in text and ("90.50 (84.15 to 96.85)" in text) == bool(seeds)
    (group,) = json.loads((site.sweep.path / "result.json").read_text())["groups"]
    assert (group["n"], group["seeds"]) == ((2, [0, 1]) if seeds else (1, [0]))


def test_a_run_without_its_result_is_named(site, capsys):
    words = ["--cluster", "cluster.yaml", "--folder", "sweep", "train.distill", "--config", "distill.yaml"]
    command.main(words)
    site.end(site.ids[0], "done")
    command.main(words)
    assert "sweep/result.json is not written: sweep/runs/" in capsys.readouterr().out
    assert not (site.sweep.path / "result.json").exists()


def test_a_refused_array_is_not_noted_and_comes_again(site, capsys):
    site.write("closed", "")
    with pytest.raises(SlurmError, match=r"sbatch refuses sweep/jobs/0001/job.sbatch: sbatch: error: invalid part"):
        site.submit()
    assert not site.sweep.sent()
    status.main(["sweep"])
    shown = capsys.readouterr().out
    assert "sweep: not submitted: sbatch refuses sweep/jobs/0001/job.sbatch: sbatch: error: invalid" in shown
    (site.folder / "closed").unlink()
    assert len(site.resubmitted()) == 4
    status.main(["sweep"])
    assert "refuses" not in capsys.readouterr().out


def test_without_slurm_the_way_out_is_said_and_noted(site, monkeypatch):
    (site.bin / "sbatch").unlink()
    monkeypatch.setenv("PATH", str(site.bin))
    message = "there is no sbatch here; submit on a login node of the cluster, or give --bash"
    with pytest.raises(SlurmError, match=f"^{message}$"):
        site.submit()
    assert site.sweep.refusal() == message and not site.sweep.sent()


def test_two_at_once_do_not_submit_twice(site):
    site.submit()
    with locked(Path("sweep")), pytest.raises(LockedError, match="is at work in sweep"):
        site.submit()
    assert len(site.arrays()) == 1


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
