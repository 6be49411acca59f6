"""What wandb's agents would do with a sweep file, found out beforehand: every file that is shipped, and every fault."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from wandb.sdk.launch.sweeps.utils import create_sweep_command_args

from configs import reader
from configs.errors import UsageError
from launch.commands import COMMANDS
from launch.sweep import check as sweep_check

ROOT = Path(__file__).parents[3]
FILES = sorted((ROOT / "configs" / "sweep").glob("*.yaml"))
COMMAND = '["${env}", python, -m, launch.trial, train.distill, --config, configs/digits/distill.yaml, "${args}"]'
HEAD = f"program: train.distill\nmethod: grid\ncommand: {COMMAND}\n"
SPACE = "parameters:\n  optim.lr: {value: 0.1}\n"
BAYES = HEAD.replace("grid", "bayes") + "metric: {name: validation/accuracy, goal: maximize}\n"


@pytest.fixture
def check(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)

    def checking(text: str) -> sweep_check.Checked:
        (tmp_path / "s.yaml").write_text(text)
        return sweep_check.check(str(tmp_path / "s.yaml"))

    return checking


def test_there_are_files_for_distillation_and_pruning():
    assert {file.stem for file in FILES} >= {"digits_kd", "food11_kd", "fashion_mnist_prune"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_shipped_file_works_and_says_how_it_is_run(file, monkeypatch):
    monkeypatch.chdir(ROOT)
    checked = sweep_check.check(f"configs/sweep/{file.name}")
    assert checked.sweep.method == "bayes" or checked.tried == checked.trials
    assert checked.notes == ()
    head = "".join(line for line in file.read_text().splitlines(True) if line.startswith("#"))
    assert f"python -m launch.sweep configs/sweep/{file.name}" in head and "Cost" in head


def test_the_digits_grid_has_eight_points(monkeypatch):
    monkeypatch.chdir(ROOT)
    checked = sweep_check.check("configs/sweep/digits_kd.yaml")
    assert (checked.trials, checked.tried, checked.config["method"]) == (8, 8, "grid")


@pytest.mark.parametrize("macro", sweep_check.REFUSED)
def test_other_ways_to_hand_options_on_are_refused_with_a_reason(check, macro):
    text = (HEAD + SPACE).replace("${args}", macro)
    with pytest.raises(UsageError, match=r"line 3: command has .*, and .*; write ") as caught:
        check(text)
    assert sweep_check.REFUSED[macro] in str(caught.value)


def test_each_refused_way_is_one_that_wandb_has():
    arguments = create_sweep_command_args({"args": {"a": {"value": 1}}})
    known = {f"${{{name}}}" for name in arguments} | {"${args_json_file}"}
    assert known - {"${args_dict}"} == {*sweep_check.REFUSED, "${args}"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEAD.replace("launch.trial, ", "") + SPACE, "no launch.trial before train.distill: all trials would share"),
        (HEAD.replace(', "${args}"', "") + SPACE, r"command has no \$\{args\} after train.distill, so no parameter"),
        (
            "program: train.distill\nmethod: grid\n" + SPACE,
            r"command is missing, and wandb would start program as a file; write \[\"\$\{env\}\", python, -m, launch",
        ),
        (
            HEAD + "parameters:\n  optim.lrr: {value: 1}\n",
            r"line 5: unknown option --optim.lrr; did you mean --optim.lr",
        ),
        (HEAD + "parameters:\n  optim.lr: {values: [0.1, -1]}\n", "line 5: optim.lr is -1.0; it must be positive"),
        (HEAD + "parameters:\n  epochs: {values: [1, two]}\n", "line 5: --epochs is two"),
        (
            HEAD + "parameters:\n  run_dir: {value: a}\n",
            "line 5: run_dir is set by launch.trial: each trial has a folder",
        ),
        (HEAD + "parameters:\n  track.wandb: {value: offline}\n", "track.wandb is set by launch.trial: an agent needs"),
        (HEAD + "parameters:\n  seed: {value: 010}\n", "line 5: seed is 10.0, and 8 to wandb; write it"),
        (HEAD + "parameters:\n  data.root: {values: [2020-01-01]}\n", "and datetime.date.* to wandb; write it"),
        (
            HEAD + "parameters:\n  teacher: {value: '{parent}/m.safetensors'}\n",
            "needs --after, the folder of the sweep",
        ),
        (
            HEAD + "metric: {name: validation_acuracy}\n" + SPACE,
            "metric.name is validation_acuracy; did you mean valid",
        ),
        (HEAD + "metric: {name: accuracy}\n" + SPACE, "accuracy, which is read on test, by which nothing is chosen"),
        (HEAD.replace("grid", "bayes") + SPACE, "metric is missing; bayes and early_terminate need one"),
        (
            HEAD + "early_terminate: {type: hyperband}\nmetric: {name: validation_accuracy}\n" + SPACE,
            "which is known at the end; early_terminate needs what is logged on the way, as validation/accuracy",
        ),
        (
            BAYES + "parameters:\n  distill.alpha: {min: 0, max: 1.0}\n",
            "a min and a max of which one is a whole number",
        ),
        (BAYES + "parameters:\n  distill.alpha: {min: 0.0, max: 1.1}\n", "distill.alpha is 1.1; it must be in "),
        (
            BAYES + "parameters:\n  distill.alpha: {distribution: normal, mu: 0.5, sigma: 0.2}\n",
            "distill.alpha is -0.1.*; it must be in ",
        ),
        (
            BAYES + "parameters:\n  optim.lr: {min: 0.01, max: 1.0}\n  optim.min_lr: {min: 0.0, max: 0.1}\n",
            "optim.min_lr is 0.025; it must be between 0 and optim.lr",
        ),
        (
            HEAD.replace("grid", "random") + "parameters:\n  epochs: {min: 0, max: 9}\n",
            "epochs is 0; it must be at least 1",
        ),
    ],
)
def test_what_would_go_wrong_is_named(check, text, message):
    with pytest.raises(UsageError, match=message):
        check(text)


def test_what_is_right_is_taken(check):
    text = BAYES + "run_cap: 5\nparameters:\n  optim.lr: {distribution: log_uniform_values, min: 0.00001, max: 1}\n"
    text += "  seed: {values: [1, '2']}\n  distill.alpha: {values: [1e-3, 0.5]}\n  data.image_size: {value: [8, 8]}\n"
    text += "  test: {values: [false]}\n  micro_batch_size: {value: null}\n  optim.name: {values: [sgd, adamw]}\n"
    checked = check(text)
    assert (checked.trials, checked.tried, checked.notes) == (5, 40, ())
    assert checked.config["program"] == "train.distill" and checked.config["parameters"]["seed"] == {"values": [1, "2"]}


def test_nested_parameters_and_a_sweep_without_end_are_noted(check):
    text = HEAD.replace("grid", "random") + "parameters:\n  optim: {parameters: {lr: {value: 0.1}}}\n"
    notes = check(text).notes
    assert "wandb will show each twice" in notes[0] and "goes on until somebody stops it" in notes[1]


def test_of_many_combinations_each_value_is_tried(check):
    axes = "".join(f"  {key}: {{values: {list(range(1, 13))}}}\n" for key in ("epochs", "views", "batch_size"))
    checked = check(HEAD + f"parameters:\n{axes}")
    assert (checked.trials, checked.tried) == (12**3, 36 + sweep_check.TOGETHER)
    with pytest.raises(
        UsageError, match=r"line 7: batch_size is 0; it must be from 1 to 1,048,576 \(point \w+: --epochs=1 --views=1"
    ):
        check(HEAD + f"parameters:\n{axes[:-5]}0]}}\n")


def test_values_are_tried_as_the_agent_hands_them_on(check, monkeypatch):
    tried = []
    real = reader.read
    monkeypatch.setattr(reader, "read", lambda cls, words, **kw: tried.append(words) or real(cls, words, **kw))
    values = {"optim.lr": 1e-5, "data.image_size": [8, 8], "test": False, "micro_batch_size": None}
    space = {key: {"value": value} for key, value in values.items()}
    check(HEAD + f"parameters: {json.dumps(space)}\n".replace("1e-05", "0.00001"))
    assert create_sweep_command_args({"args": space})["args"] == tried[0][-4:]
    assert COMMANDS["train.distill"].config.__name__ == "DistillConfig"
