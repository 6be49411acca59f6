"""What a person sees: our own INFO on the main process, nothing but warnings elsewhere; no bar without a terminal."""

import logging

import pytest
from rich.console import Console

from train import progress

PACKAGES = ("data_pipes", "models", "train")


@pytest.mark.parametrize(
    ("main", "expected"), [(True, ["ours", "warned", "theirs warned"]), (False, ["warned", "theirs warned"])]
)
def test_our_own_information_on_the_main_process_and_warnings_from_everywhere(main, expected, capsys):
    progress.start_logging(main)
    logging.getLogger("train.loop").info("ours")
    logging.getLogger("train.loop").warning("warned")
    logging.getLogger("accelerate").info("theirs")
    logging.getLogger("accelerate").warning("theirs warned")
    logging.getLogger("timm.scheduler").warning("of settings that are ours to choose")
    shown = capsys.readouterr()
    assert [line.split("  ", 1)[1] for line in shown.err.splitlines()] == expected
    assert shown.out == ""


def test_no_bar_without_a_terminal(capsys):
    with progress.Bar(10, visible=True) as bar:
        bar.show(0, 3, 5)
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", "")


@pytest.mark.parametrize("visible", [True, False])
def test_on_a_terminal_the_bar_shows_epoch_and_step_on_the_main_process_only(monkeypatch, visible, tmp_path):
    with (tmp_path / "terminal").open("w+") as file:
        monkeypatch.setattr(progress, "console", Console(file=file, force_terminal=True, width=100))
        with progress.Bar(10, visible=visible) as bar:
            bar.show(1, 3, 7)
        file.seek(0)
        text = file.read()
    assert ("epoch 2/3" in text and "7/10" in text) if visible else text == ""


def test_an_error_inside_ends_the_bar():
    with pytest.raises(RuntimeError, match="boom"), progress.Bar(10, visible=True):
        raise RuntimeError("boom")


def test_the_time_of_the_first_steps_is_told_once_for_the_whole_run():
    pace = progress.Pace()
    clock = [(1, 100.0), (2, 101.0), (6, 105.0), (8, 109.9)]  # too few steps, then too few seconds
    assert [pace.left(done, 1000, now) for done, now in clock] == [None] * 4
    assert pace.left(11, 1000, 110.0) == 989.0
    assert pace.left(500, 1000, 600.0) is None
    slow = progress.Pace()
    assert [slow.left(done, 10, 60.0 * done) for done in (3, 5, 7)] == [None] * 3
    assert slow.left(8, 10, 480.0) == 120.0


def test_what_holds_for_all_stages_is_said_by_the_first_of_each_command(capsys):
    ours = logging.getLogger("train.loop")
    for _ in range(2):
        progress.start_logging(True)
        progress.say_once(ours, "data: 3 classes", key="a")
        progress.say_once(ours, "data: 3 classes, 2 test images", key="a")
        progress.say_once(ours, "executor: host")
        progress.say_once(ours, "executor: host")
        shown = [line.split("  ", 1)[1] for line in capsys.readouterr().err.splitlines()]
        assert shown == ["data: 3 classes", "executor: host"]
