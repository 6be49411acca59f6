"""What runs need is looked for before the first of them starts."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from configs.errors import InputError
from launch.submit import command
from launch.sweep_folder import SweepFolder

LINE = ["--sweep", "sweep.yaml", "--folder", "sweep"]


@pytest.mark.parametrize("place", [["--bash"], ["--cluster", "cluster.yaml"]])
def test_a_teacher_that_is_not_there_is_named_once_and_nothing_is_begun(site, place):
    site.teacher.unlink()
    with pytest.raises(InputError) as caught:
        command.main([*place, *LINE])
    assert str(caught.value) == (
        "teacher runs/digits/teacher/model.safetensors is not there, and 4 runs need it; a finished run writes it: "
        "train it first (python -m train.teacher ... --run_dir runs/digits/teacher)"
    )
    assert not site.sweep.file.exists() and not site.arrays()


def test_it_is_submitted_where_it_is_there(site):
    site.submit()
    assert len(site.arrays()) == 1


def test_a_dry_run_shows_the_points_and_says_what_is_missing(site, capsys):
    site.teacher.unlink()
    with pytest.raises(InputError, match="4 runs need it"):
        site.submit("--dry_run")
    assert "#SBATCH" in capsys.readouterr().out and not site.sweep.path.exists()


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--student.name", "runs/x/model.safetensors"], "student.name runs/x/model.safetensors is not there"),
        (["--student.name", "net.pth"], "net.pth is not there, and 1 run needs it; name another with --student.name"),
        (["--views", "2", "--distill.cache", "logits", "--distill.teacher_logits", "cached"], "train.cache writes it"),
        (["--data.source", "folder", "--data.root", "photos"], "data.root photos is not there, and 1 run needs it"),
    ],
)
def test_whatever_a_run_reads_is_looked_for(site, words, named):
    line = ["--bash", "--folder", "one", "train.distill", "--config", "distill.yaml", *words]
    with pytest.raises(InputError, match=named):
        command.main(line)
    assert not Path("one/sweep.json").exists()


def test_a_cache_needs_the_teacher_alone(site):
    line = ["--cluster", "cluster.yaml", "--folder", "one", "train.cache", "--config", "distill.yaml"]
    line += ["--distill.cache", "logits", "--student", "{name: later.safetensors, depth: null, widths: null}"]
    command.main([*line, "--distill.teacher_logits", "cached", "--views", "2"])
    assert len(site.arrays()) == 1


def test_a_control_without_a_teacher_needs_none(site):
    site.teacher.unlink()
    line = ["--cluster", "cluster.yaml", "--folder", "one", "train.distill", "--config", "distill.yaml"]
    command.main([*line, "--distill.alpha", "0"])
    assert len(site.arrays()) == 1


def test_what_the_run_before_will_write_is_not_looked_for(site):
    site.submit()
    line = ["--cluster", "cluster.yaml", "--folder", "cuts", "--after", "sweep", "train.distill"]
    line += [
        "--config",
        "distill.yaml",
        "--student",
        "{name: '{parent}/model.safetensors'}",
        "--teacher",
        "{parent}/t.pth",
    ]
    line += ["--student.depth", "null", "--student.widths", "null"]
    (site.folder / "queue").write_text("".join(f"101_{number} PENDING\n" for number in range(4)))
    command.main(line)
    assert len(site.arrays()) == 2


def test_a_sweep_before_the_one_that_is_carried_on_may_be_gone(site):
    site.submit()
    site.write("queue", "".join(f"{job}_{number} PENDING\n" for job in (101, 102) for number in range(4)))
    line = ["--cluster", "cluster.yaml", "train.distill", "--config", "distill.yaml"]
    command.main(["--folder", "next", "--after", "sweep", *line])
    shutil.rmtree(site.sweep.path)
    command.main(["--folder", "last", "--after", "next", *line])
    assert len(site.arrays()) == 3
    site.teacher.unlink()  # the control: what nobody writes is still looked for
    with pytest.raises(InputError, match="is not there, and 4 runs need it"):
        command.main(["--folder", "another", "--after", "next", *line])


def test_a_run_that_has_begun_is_not_asked_again(site):
    site.submit()
    for run_id in site.ids:
        folder = SweepFolder(Path("sweep")).run_dir(run_id)
        site.end(run_id, "preempted")
        (folder / "config.yaml").touch()
    site.teacher.unlink()
    assert site.resubmitted() == set(site.ids)


@pytest.mark.parametrize("flag", ["--dry_run", "--retry"])
def test_options_of_the_submission_may_follow_the_command(site, flag, capsys):
    line = ["--cluster", "cluster.yaml", "--folder", "one", "train.distill", "--config", "distill.yaml", flag]
    command.main(line)
    assert bool(site.arrays()) == (flag == "--retry")


def test_a_commands_own_option_of_that_name_stays_its_own(site):
    line = ["--cluster", "cluster.yaml", "--folder", "one", "train.cache", "--config", "distill.yaml"]
    command.main([*line, "--distill.cache", "logits", "--dry_run", "true"])
    assert len(site.arrays()) == 1
