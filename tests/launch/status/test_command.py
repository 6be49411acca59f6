"""The command line of launch.status."""

from __future__ import annotations

import pytest

from configs.errors import InputError, UsageError
from launch.status import command
from run_folders import make, printed, sweep


@pytest.mark.parametrize(
    ("key", "order"), [("run", "abc"), ("validation", "bca"), ("parameters", "cab"), ("macs", "abc")]
)
def test_sorting(tmp_path, key, order):
    accuracies, parameters = {"a": 0.1, "b": 0.3, "c": 0.2}, {"a": 20, "b": 30, "c": 10}
    for name in "cab":
        make(tmp_path / name, "done", {"validation_accuracy": accuracies[name], "parameters": parameters[name]})
    make(tmp_path / "d")  # nothing is known of it: last
    assert [run.path.name for run in command.look(tmp_path, key).rows] == [*order, "d"]


def test_a_wrong_key_to_sort_by_is_named(tmp_path):
    sweep(tmp_path, {"optim.lr": "1"}, {"optim.lr": "2"})
    with pytest.raises(UsageError, match=r"--sort is optim.l; did you mean optim.lr\?"):
        command.look(tmp_path, "optim.l")


@pytest.mark.parametrize(("name", "message"), [("none", "is no folder"), ("", "holds no run: no folder below it has")])
def test_without_runs_there_is_a_message(tmp_path, name, message):
    with pytest.raises(InputError, match=message):
        command.main([str(tmp_path / name)])


def test_watching_looks_again_until_it_is_interrupted(tmp_path, monkeypatch, capsys):
    folder, looks = make(tmp_path / "a", "preempted"), []

    def sleep(seconds: float) -> None:
        looks.append(seconds)
        (folder / "done").touch()
        if len(looks) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("launch.status.command.time.sleep", sleep)
    out = printed(capsys, tmp_path, "--watch", 7)
    assert looks == [7, 7]
    assert out.index("1 run: 1 preempted") < out.index("1 run: 1 done")
