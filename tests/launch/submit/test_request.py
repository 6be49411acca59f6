"""Command lines of launch.submit that do not hold."""

import pytest

from configs.errors import UsageError
from launch.submit import command
from submit_stubs import SWEEP


def test_a_point_that_the_command_does_not_take_stops_all(site):
    site.write("sweep.yaml", SWEEP % "[1, -1]")
    with pytest.raises(UsageError, match=r"sweep.yaml, line 5: optim.lr is -1.0; it must be positive \(point \w{12}: "):
        site.submit()
    assert not (site.folder / "sweep").exists()


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("--folder sweep --sweep sweep.yaml", r"one of the arguments --cluster --bash is required"),
        ("--folder sweep --bash", r"give --sweep FILE or a command, train.teacher"),
        ("--folder sweep --bash --sweep sweep.yaml train.teacher", r"is a sweep of train.distill"),
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
