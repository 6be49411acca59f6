import json
import subprocess
import sys

import pytest

from models.cost import main

NIN = ["--model", "nin", "--num_classes", "10", "--input", "3", "32", "32"]


def test_the_command_prints_the_table_and_four_lines(capsys):
    assert main(NIN) == 0
    out = capsys.readouterr().out
    assert "Total mult-adds (M): 223.12\n" in out
    lines = out.splitlines()[-4:]
    assert [line.split("  ")[0] for line in lines] == [
        "dense parameters",
        "non-zero parameters",
        "MACs per image",
        "bytes",
    ]
    assert "966,986" in lines[0]
    assert "222,486,528" in lines[2]


def test_json_is_one_object_and_nothing_else(capsys):
    assert main([*NIN, "--widths", "8", "8", "8", "8", "8", "8", "8", "8", "--json"]) == 0
    cost = json.loads(capsys.readouterr().out)
    assert list(cost) == ["parameters", "nonzero", "macs", "bytes"]
    assert cost["bytes"] == 4 * cost["parameters"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "nim", *NIN[2:]], "did you mean nin"),
        ([*NIN, "--depth", "20"], "nin does not take depth"),
        (["--model", "nin", "--input", "3", "32", "32"], "--num_classes N and --input C H W are needed"),
        (["--model", "nin", "--num_classes", "ten"], "argument --num_classes: invalid int value"),
        ([], "the following arguments are required: --model"),
    ],
)
def test_user_errors_are_one_line_and_exit_64(capsys, arguments, message):
    assert main(arguments) == 64
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert message in captured.err


def test_a_missing_file_exits_66(capsys, tmp_path):
    assert main(["--model", str(tmp_path / "no.safetensors")]) == 66
    assert "there is no file" in capsys.readouterr().err


def test_help_does_not_wait_for_torch():
    script = (
        "import sys, models.cost\n"
        "try: models.cost.main(['--help'])\n"
        "except SystemExit: pass\n"
        "sys.exit('torch' in sys.modules)"
    )
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "--num_classes" in shown.stdout
