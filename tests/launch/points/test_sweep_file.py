"""A sweep file: which command it sweeps with which words, and every wrong key with its line."""

import pytest

from configs.errors import UsageError
from launch.points import sweep_file
from launch.points.sweep_file import Metric

SPACE = "parameters:\n  seed: {value: 1}\n"
FULL = """\
program: train.distill
command: ["${env}", accelerate, launch, -m, "${program}", --config, a.yaml, --epochs, 3, "${args}"]
method: random
metric: {name: validation_accuracy, goal: maximize, target: 0.99}
name: students
project: heartcut
run_cap: 7
early_terminate: {type: hyperband, min_iter: 3}
parameters:
  optim.lr: {values: [0.1]}
  optim:
    parameters:
      momentum: {value: 0.9}
"""


@pytest.fixture
def read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def reading(text: str) -> sweep_file.Sweep:
        (tmp_path / "s.yaml").write_text(text)
        return sweep_file.read("s.yaml")

    return reading


def test_a_whole_file(read):
    sweep = read(FULL)
    assert (sweep.method, sweep.command, sweep.run_cap, sweep.early_terminate) == ("random", "train.distill", 7, True)
    assert sweep.base_words == ("--config", "a.yaml", "--epochs", "3")
    assert sweep.metric == Metric("validation_accuracy", "maximize")
    assert sweep.places == {"optim.lr": "s.yaml, line 10", "optim.momentum": "s.yaml, line 13"}


def test_little_is_needed(read):
    sweep = read(f"method: grid\nprogram: train/prune.py\n{SPACE}")
    assert (sweep.command, sweep.base_words, sweep.metric, sweep.run_cap) == ("train.prune", (), None, None)
    assert not sweep.early_terminate


def test_minimising_is_the_default(read):
    assert read(f"method: grid\nprogram: train.prune\nmetric: {{name: a}}\n{SPACE}").metric == Metric("a", "minimize")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "s.yaml: method is missing"),
        ("method: grid\nprogram: train.distill\n", "s.yaml: parameters is missing"),
        ("method: grid\nprogram: train.distill\nparameters: {}\n", r"line 3: parameters is {}; expected at least one"),
        ("method: grid\nprogram: train.distill\nparameters: 3\n", "line 3: parameters is 3; expected at least one"),
        (f"metod: grid\n{SPACE}", "line 1: unknown key metod; did you mean method"),
        (f"method: gird\n{SPACE}", "line 1: method is gird; did you mean grid?"),
        (f"method: grid\n{SPACE}method: grid\n", "line 4: method is a duplicate key"),
        (f"method: grid\n{SPACE}", "s.yaml: program names no command; valid here: train.teacher, train.distill"),
        (f"method: grid\nprogram: train/destill.py\n{SPACE}", "program names no command; did you mean train.distill?"),
        (f"method: grid\ncommand: [python, x.py]\n{SPACE}", "line 2: command names no command"),
        (f"method: grid\ncommand: python x.py\n{SPACE}", "line 2: command is python x.py; expected a list of words"),
        (f"method: grid\ncommand: [a, [b]]\n{SPACE}", "line 2: command is .*; expected a list of words"),
        (
            f'method: grid\ncommand: [train.distill, "${{args_json}}"]\n{SPACE}',
            r"line 2: command has \$\{args_json\}; after train.distill, only \$\{args\} is filled in",
        ),
        (f"method: grid\nprogram: train.prune\nmetric: x\n{SPACE}", "line 3: metric is x; expected {name: "),
        (f"method: grid\nprogram: train.prune\nmetric: {{goal: minimize}}\n{SPACE}", "line 3: metric is .*; expected"),
        (
            f"method: grid\nprogram: train.prune\nmetric: {{name: a, goal: max}}\n{SPACE}",
            "line 3: metric is .*; expected",
        ),
        (
            f"method: grid\nprogram: train.prune\nmetric: {{nam: a}}\n{SPACE}",
            "unknown key metric.nam; did you mean name?",
        ),
        (f"method: grid\nprogram: train.prune\nrun_cap: 0\n{SPACE}", "line 3: run_cap is 0; expected a whole number"),
        (f"method: grid\nprogram: train.prune\nrun_cap: many\n{SPACE}", "line 3: run_cap is many; expected"),
        (f"method: grid\nprogram: train.prune\nrun_cap: true\n{SPACE}", "line 3: run_cap is true; expected"),
    ],
)
def test_what_is_wrong_is_named_with_what_is_right(read, text, message):
    with pytest.raises(UsageError, match=message):
        read(text)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("optim.lr: {value: 1}", "optim: {parameters: {lr: {value: 2}}}"),
        ("optim: {value: {lr: 1}}", "optim.lr: {value: 2}"),
        ("optim.lr: {value: 1}", "optim: {value: {lr: 2}}"),
    ],
)
def test_a_key_beside_itself_or_its_section_is_refused(read, first, second):
    text = f"method: grid\nprogram: train.prune\nparameters:\n  {first}\n  {second}\n"
    with pytest.raises(UsageError, match=r"^s.yaml, line 5: optim\S* is set already by optim\S*, s.yaml, line 4$"):
        read(text)


def test_keys_that_merely_begin_alike_are_not_rivals(read):
    text = "method: grid\nprogram: train.prune\nparameters:\n  data.root: {value: a}\n  data.root_x: {value: b}\n"
    assert [parameter.key for parameter in read(text).parameters] == ["data.root", "data.root_x"]


def test_quotes_change_no_word(read):
    found = read(f'method: "grid"\nprogram: "train.prune"\n{SPACE}')
    assert (found.method, found.command) == ("grid", "train.prune")


def test_a_project_that_wandb_would_refuse_has_its_line(read):
    with pytest.raises(UsageError, match=r"s\.yaml, line 6: project is team/heartcut; it must be a name of 1 to 128"):
        read(FULL.replace("project: heartcut", "project: team/heartcut"))
