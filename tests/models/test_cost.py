import json
import subprocess
import sys

import pytest
import torch

from models import artefact, counting, zoo
from models.artefact import Card
from models.cost import main
from models.own import registry
from models.pruning.masks import prunable
from models.spec import ModelSpec

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


COURSE = """import torchvision

def resnet(num_classes):
    return torchvision.models.resnet18(num_classes=num_classes)
"""
# Non-zero weights of each convolution and of the last layer of a ResNet-18 that a course was handed in with; the
# layers in the order of its table, and shortcuts after the convolutions beside them.
KEPT = (
    *(283, 732, 758, 879, 815, 1681, 3216, 249, 3654, 3775, 7345, 18286, 812, 3471, 3529),
    *(15261, 7509, 3231, 8240, 6583, 81),
)


@pytest.fixture(scope="module")
def handed_in(tmp_path_factory):
    """Such a network, with other weights."""
    home = tmp_path_factory.mktemp("course")
    (home / "course.py").write_text(COURSE)
    registry.forget()
    spec = ModelSpec(name=f"{home}/course.py:resnet")
    net = zoo.build(spec, num_classes=10, input_CHW=(3, 28, 28))
    with torch.no_grad():
        for (_, weight), kept in zip(prunable(net).items(), KEPT, strict=True):
            weight.fill_(1).view(-1)[kept:] = 0
        for name, parameter in net.named_parameters():
            if "bn" in name or "bias" in name:
                parameter.fill_(0.1)
    cost = counting.measure(net, (3, 28, 28))
    own = {"mean": (0.5,) * 3, "std": (0.5,) * 3, "eval_crop": 1.0, "input_CHW": (3, 28, 28), "cost": cost}
    artefact.save(home / "masked.safetensors", net, Card(model=spec, classes=tuple("0123456789"), **own))
    return home


def rows(text, layer):
    return [line.split()[-1] for line in text.splitlines() if f"─{layer}: " in line]


def test_a_masked_file_gets_the_table_that_the_course_wants_after_the_dense_one(handed_in, capsys):
    words = ["--model", str(handed_in / "masked.safetensors"), "--network", f"{handed_in}/course.py:resnet"]
    assert main(words) == 0
    dense, masked = capsys.readouterr().out.split("Without the weights that are zero:")
    assert "Total params: 11,181,642" in dense and rows(dense, "Conv2d")[0] == "9,408"
    assert [int(count.replace(",", "")) for count in rows(masked, "Conv2d")] == list(KEPT[:-1])
    assert rows(masked, "BatchNorm2d")[0] == "128" and rows(masked, "Linear") == ["91"]
    assert "Total params: 100,000" in masked and "Total mult-adds (M): 0.60" in masked
    assert "dense parameters          11,181,642\nnon-zero parameters          100,000\n" in masked


def test_a_network_without_masks_has_one_table(capsys):
    assert main(NIN) == 0
    assert "Without the weights" not in capsys.readouterr().out
