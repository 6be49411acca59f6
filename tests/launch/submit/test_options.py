"""Options of launch.submit, and where they may stand."""

import pytest

from configs.errors import UsageError
from launch.submit.options import control_names, options_of

START = ["--bash", "--folder", "f"]
COMMAND = ["train.compress", "--config", "c.yaml"]


@pytest.mark.parametrize(
    "words",
    [
        [*START, "--seeds", "3", "--controls", "uniform", "--retry", *COMMAND],
        [*START, *COMMAND, "--seeds", "3", "--controls", "uniform", "--retry"],
        [*START, "train.compress", "--seeds=3", "--retry", "--controls=uniform", "--config", "c.yaml"],
        [*START, "--controls", "uniform", *COMMAND, "--retry", "--seeds", "3"],
    ],
)
def test_what_no_command_has_stands_anywhere(words):
    found = options_of(words)
    assert (found.seeds, found.controls, found.retry, found.dry_run) == (3, "uniform", True, False)
    assert found.command == COMMAND and found.bash


@pytest.mark.parametrize("words", [["--sweep", "s.yaml", "--seeds", "3", "--epochs", "2"],
                                   ["--epochs", "2", "--seeds=3", "--sweep", "s.yaml"]])  # fmt: skip
def test_beside_a_sweep_too(words):
    found = options_of([*START, *words])
    assert found.seeds == 3 and found.command == ["--epochs", "2"]


def test_a_value_behind_an_option_of_the_command_makes_it_the_commands():
    found = options_of([*START, "train.prune", "--dry_run", "true", "--seed", "4"])
    assert not found.dry_run and found.seed is None and found.command[1:] == ["--dry_run", "true", "--seed", "4"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--seeds", "x"], "argument --seeds: invalid int value: 'x'"),
        ([*COMMAND, "--seeds"], "argument --seeds: expected one argument"),
    ],
)
def test_a_value_that_is_none_is_refused(words, said):
    with pytest.raises(UsageError, match=said):
        options_of([*START, *words])


def test_controls_have_an_order_of_their_own_and_unknown_ones_are_refused():
    assert control_names(None) == ()
    assert control_names("uniform, scratch,uniform") == ("scratch", "uniform")
    with pytest.raises(UsageError, match=r"--controls has 'no-teacher'; did you mean no_teacher\?"):
        control_names("scratch,no-teacher")
    with pytest.raises(UsageError, match="--controls has ''; valid here: scratch, no_teacher, uniform"):
        control_names("")
