"""Networks from the user's own code, and what goes wrong in it."""

import shutil
from pathlib import Path

import pytest
import torch
from torch import nn

from configs.errors import UsageError
from models.networks import architectures
from models.own import code, network
from models.own.registry import NotNamedError
from models.spec import ModelSpec

MY_NET = Path(__file__).parents[2] / "my_net.py"
HEAD = "import torch\nfrom torch import nn\n\n\n"
THREE = """class Net(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.fc = nn.Linear(4, num_classes)

    def forward(self, x):
        return self.fc(self.conv(x).mean((2, 3)))
"""


def built(tmp_path, text, name="Net", input_CHW=(3, 8, 8), **kwargs):
    (tmp_path / "net.py").write_text(HEAD + text)
    return network.build(code.read(f"{tmp_path / 'net.py'}:{name}"), kwargs, num_classes=5, input_CHW=input_CHW)


def test_a_class_gets_what_its_signature_names_and_the_kwargs(tmp_path):
    shutil.copy(MY_NET, tmp_path)
    net = network.build(code.read(f"{tmp_path}/my_net.py:StudentNet"), {"width": 4}, num_classes=7, input_CHW=(1, 8, 8))
    assert (
        net.training and net.stem[0].in_channels == 1 and net.stem[0].out_channels == 4 and net.head.out_features == 7
    )


@pytest.mark.parametrize("parameter", ["in_channels", "in_chans"])
def test_both_spellings_of_channels(tmp_path, parameter):
    text = f"def make({parameter}, input_CHW):\n    assert input_CHW[0] == {parameter} == 2\n"
    text += f"    return nn.Sequential(nn.Conv2d({parameter}, 5, 8), nn.Flatten())\n"
    assert isinstance(built(tmp_path, text, "make", (2, 8, 8)), nn.Sequential)


def test_kwargs_win(tmp_path):
    with pytest.raises(UsageError, match=r"gives \[2, 4\] for 2 images; \[2, 5\] would be right"):
        built(tmp_path, THREE, num_classes=4)


def test_building_changes_only_the_random_state_that_the_weights_take(tmp_path):
    (tmp_path / "net.py").write_text(HEAD + "torch.manual_seed(0)\n" + THREE)
    source = code.read(f"{tmp_path / 'net.py'}:Net")
    first = []
    for _ in range(2):  # the first time, the file is executed as well
        torch.manual_seed(1)
        first.append(network.build(source, {}, num_classes=5, input_CHW=(3, 8, 8)).fc.weight)
    assert torch.equal(*first)


FAULTS = [
    ("class Net(nn.Module:\n    pass\n", "Net", r"net\.py, line 5: SyntaxError: invalid syntax$"),
    ("import no_such_package\n", "Net", r"net\.py, line 5: ModuleNotFoundError: No module named 'no_such_package'"),
    ("import beside\n", "Net", r"beside\.py lies beside it, but a run keeps one file"),
    ("raise SystemExit(3)\n", "Net", r"net\.py, line 5: SystemExit: 3"),
    (THREE, "Nett", r"has no class or function Nett; did you mean Net\?"),
    (THREE, "Student", r"has no class or function Student; it defines Net"),
    (
        THREE.replace("num_classes)", "num_classes, width)", 1),
        "Net",
        r"missing 1 required .*'width'; it is called with",
    ),
    (THREE.replace("super().__init__()", "raise ValueError('no')"), "Net", r"net\.py, line 7: ValueError: no"),
    (THREE.replace("mean((2, 3))", "nothing"), "Net", r"net\.py, line 12: AttributeError: .*'nothing'"),
    (THREE.replace("num_classes)\n\n", "7)\n\n"), "Net", r"gives \[2, 7\] for 2 images; \[2, 5\] would be right"),
    (THREE.replace("return ", "return x, "), "Net", "gives tuple for 2 images"),
    (
        THREE.replace("        return", "        assert not self.training\n        return"),
        "Net",
        r"line 12: AssertionError",
    ),
    (THREE.replace("Linear(4, ", "LazyLinear("), "Net", "lazy layers; give all layers their sizes"),
    ("def Net():\n    return 3\n", "Net", "returns int, and must return a torch.nn.Module"),
]


@pytest.mark.parametrize(("text", "name", "message"), FAULTS)
def test_a_fault_is_one_line_with_file_and_line(tmp_path, text, name, message):
    (tmp_path / "beside.py").write_text("")
    with pytest.raises(UsageError, match=message) as refused:
        built(tmp_path, text, name)
    assert "\n" not in str(refused.value)


def test_other_channels_are_named_with_the_line(tmp_path):
    with pytest.raises(
        UsageError, match=r"net\.py, line 12: .*to have 3 channels.*for images of 1 x 8 x 8; it is called"
    ):
        built(tmp_path, THREE, input_CHW=(1, 8, 8))


def test_architectures_builds_named_code_alone(tmp_path):
    shutil.copy(MY_NET, tmp_path)
    with pytest.raises(NotNamedError):
        architectures.build(ModelSpec(name=f"{tmp_path}/my_net.py:StudentNet"), num_classes=3, input_CHW=(1, 8, 8))


def test_settings_of_other_networks_are_refused(tmp_path):
    with pytest.raises(UsageError, match=r"takes its settings as kwargs.* not as widths; leave widths out, or set it"):
        architectures.build(ModelSpec(name="net.py:Net", widths=(3,)), num_classes=3, input_CHW=(1, 8, 8))
