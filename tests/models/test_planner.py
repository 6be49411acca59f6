"""The command that plans cuts without training."""

import json
import subprocess
import sys

import pytest

from configs.errors import UsageError
from models import planner

RESNET = ["--model", "resnet_small", "--num_classes", "10", "--input", "1", "28", "28"]


def test_json_is_one_object(capsys):
    planner.main([*RESNET, "--budget", "100000", "--steps", "3", "--json"])
    values = json.loads(capsys.readouterr().out)
    assert {"budget", "final", "steps", "widths"} <= values.keys()
    assert (values["budget"], len(values["steps"])) == (100_000, 3)
    assert 99_600 <= values["final"] <= 100_000


def test_the_table_shows_each_cut_and_each_layer(capsys):
    planner.main([*RESNET, "--macs_budget", "10000000", "--steps", "2", "--ranking", "global", "--cost_normalised"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["cut", "parameters", "MACs", "of", "the", "budget"]
    assert lines[1].split() == ["0", "272,186", "31,021,952", "310.22", "%"]
    assert lines[5].split() == ["layer", "before", "after"]
    assert lines[6].split()[:2] == ["conv1", "16"]
    assert len(lines) == 6 + 21


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (RESNET, "budget is None; it must be a number of parameters, of macs, or both"),
        ([*RESNET, "--budget", "9", "--importance", "taylor"], "needs gradients"),
        ([*RESNET, "--budget", "9", "--ranking", "x"], "invalid choice: 'x'"),
        (["--model", "resnet_small", "--budget", "9"], "--num_classes N and --input C H W are needed"),
    ],
)
def test_a_wrong_command_line_is_a_usage_error(arguments, message):
    with pytest.raises(UsageError, match=message):
        planner.main(arguments)


def test_help_does_not_wait_for_torch():
    script = (
        "import sys, models.planner\n"
        "try: models.planner.main(['--help'])\n"
        "except SystemExit: pass\n"
        "sys.exit('torch' in sys.modules)"
    )
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "--macs_budget" in shown.stdout
