"""A sweep as a picture."""

from __future__ import annotations

import pytest
from PIL import Image

from configs.errors import InputError, UsageError
from launch.status import command
from run_folders import make, printed, sweep


@pytest.mark.parametrize(("growth", "panels"), [(1000, 3), (0, 2)])
def test_the_plot_has_a_panel_for_each_key_and_for_parameters_if_they_differ(tmp_path, capsys, growth, panels):
    points = [{"optim.lr": lr, "distill.soft": soft} for lr in ("1e-3", "1e-1") for soft in ("kd", "dkd")]
    homes = sweep(tmp_path / "s", *points)
    for number, home in enumerate(homes[:3]):
        make(
            home,
            "done" if number else "preempted",
            {"validation_accuracy": 0.5 + number / 10, "parameters": 5142 + growth * number},
        )
    assert "sweep.png shows 3 runs" in printed(capsys, tmp_path / "s", "--plot", tmp_path / "sweep.png")
    with Image.open(tmp_path / "sweep.png") as image:
        assert image.size == (880 * panels, 690)


def test_what_cannot_be_drawn_is_said(tmp_path):
    make(tmp_path / "a", "preempted")
    with pytest.raises(InputError, match="no run has an accuracy yet"):
        command.main([str(tmp_path), "--plot", str(tmp_path / "x.png")])
    with pytest.raises(UsageError, match=r"--plot is x.jpg; expected a file that ends with .png, .pdf, .svg"):
        command.main([str(tmp_path), "--plot", "x.jpg"])
    with pytest.raises(UsageError, match=r"--watch is 0; it must be positive"):
        command.main([str(tmp_path), "--watch", "0"])
