"""Command lines of launch.submit that do not hold."""

import pytest

from configs.errors import UsageError
from launch.submit import command
from launch.submit.request import parse, run_config
from launch.sweep_folder import SweepFolder
from submit_stubs import SWEEP

UNSEEDED = SWEEP.partition("  seed:")[0] % "[1, 2]"


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
        ("--folder sweep --bash --at_a_time 0 train.distill", r"--at_a_time is 0; it must be at least 1"),
        ("--folder sweep --cluster cluster.yaml --at_a_time 2 train.distill", r"--at_a_time is for --bash; with Slurm"),
        ("--folder sweep --cluster cluster.yaml --cluster.throttle 0 --sweep sweep.yaml", r"throttle is 0; it must be"),
        (
            "--folder s$x --cluster cluster.yaml --sweep sweep.yaml",
            r"--folder is '/.*/s\$x'; it must be an absolute path of letters",
        ),
        ("--folder sweep --bash --sweep run_dir.yaml", r"run_dir.yaml, line 6: run_dir is what launch.submit sets"),
        ("--folder sweep --bash --count 2 train.distill", r"--count is the number of points of a random sweep"),
        ("--folder sweep --bash train.distill --config {parent}/config.yaml", r"\{parent\} needs --after"),
        (
            "--folder sweep --bash --seed 3 train.distill",
            r"--seed is that of a random sweep; .* train.distill --seed 3",
        ),
        (
            "--folder sweep --bash --sweep fixed.yaml --seed 3",
            r"--seed is that of a random sweep; .* first: --sweep fixed.yaml train.distill --seed 3",
        ),
        ("--folder sweep --bash train.distill --config distill.yaml --run_dir r", r"--run_dir is what launch.submit"),
        ("--folder sweep --bash train.distill --config distill.yaml --run_dir=r", r"--run_dir is what launch.submit"),
        ("--folder sweep --bash --seeds 2 train.distill --seed 3", r"--seed and --seeds are both given; leave one out"),
        ("--folder sweep --bash --seeds 2 --sweep sweep.yaml", r"sweep.yaml, line 6: the sweep sets seed, and --seeds"),
        ("--folder sweep --bash --seeds 2 --seed 3 --sweep fixed.yaml", r"--seed and --seeds are both given"),
        ("--folder sweep --bash --seeds 0 train.distill --config distill.yaml", r"--seeds is 0; it must be at least 1"),
        (
            "--folder sweep --bash --seeds 2 train.cache --config distill.yaml",
            r"train.cache has no accuracy to compare",
        ),
        ("--folder sweep --bash --controls scratch train.teacher", r"--controls is for train.compress, train.prune"),
    ],
)
def test_a_wrong_command_line_is_answered(site, words, named):
    site.write("run_dir.yaml", (SWEEP % "[1]").replace("seed:", "run_dir:"))
    site.write("fixed.yaml", UNSEEDED)
    with pytest.raises(UsageError, match=named):
        command.main(words.split())
    assert not (site.folder / "sweep").exists()


def seeds_of(words):
    asked = parse(words)
    found = [run_config(asked.folder, asked.submission, run) for run in asked.submission.runs]
    return [(config["optim.lr"], config["seed"]) for config in found], [run.id for run in asked.submission.runs]


def test_each_point_has_each_seed_and_more_seeds_change_none(site):
    site.write("unseeded.yaml", UNSEEDED)
    line = ["--bash", "--folder", "sweep", "--sweep", "unseeded.yaml", "--seeds"]
    found, few = seeds_of([*line, "2"])
    assert found == [(1, 0), (1, 1), (2, 0), (2, 1)]
    assert set(few) < set(seeds_of([*line, "3"])[1])
    found, _ = seeds_of(["--bash", "--folder", "one", "train.distill", "--config", "distill.yaml", "--seeds", "3"])
    assert [seed for _, seed in found] == [0, 1, 2]


def test_a_seed_behind_the_command_is_that_of_each_point(site):
    site.write("fixed.yaml", UNSEEDED)
    found, _ = seeds_of(["--bash", "--folder", "sweep", "--sweep", "fixed.yaml", "train.distill", "--seed", "3"])
    assert found == [(1, 3), (2, 3)]


def test_a_random_sweep_has_a_seed_of_its_own(site):
    random = UNSEEDED.replace("grid", "random").replace("values: [1, 2]", "min: 0.1, max: 1.0")
    site.write("random.yaml", random)
    line = ["--bash", "--folder", "sweep", "--sweep", "random.yaml", "--count", "2", "--seeds", "2"]
    found, _ = seeds_of(line)
    assert [seed for _, seed in found] == [0, 1, 0, 1] and len({rate for rate, _ in found}) == 2
    assert seeds_of([*line, "--seed", "0"])[0] == found != seeds_of([*line, "--seed", "1"])[0]


def test_seeds_continue_runs_that_have_none_of_their_own(site):
    one = parse(["--bash", "--folder", "teacher", "train.distill", "--config", "distill.yaml"])
    SweepFolder(one.folder.path).save(one.submission)
    line = ["--bash", "--folder", "next", "--after", "teacher", "train.distill", "--config", "distill.yaml"]
    assert [seed for _, seed in seeds_of([*line, "--seeds", "2"])[0]] == [0, 1]
    several = parse(["--bash", "--folder", "teacher", "--seeds", "2", "train.distill", "--config", "distill.yaml"])
    SweepFolder(one.folder.path).save(several.submission)
    with pytest.raises(
        UsageError, match=r"the runs in teacher have seeds of their own; leave it out, .* \{parent.seed"
    ):
        parse([*line, "--seeds", "2"])
    assert [seed for _, seed in seeds_of([*line, "--seed", "{parent.seed}"])[0]] == [0, 1]
