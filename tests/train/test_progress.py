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
    logging.getLogger("timm").info("theirs")
    logging.getLogger("timm").warning("theirs warned")
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
