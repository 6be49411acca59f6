"""Which network and which task a command line names."""

from dataclasses import replace

import pytest
import torch

from configs.arguments import Parser
from configs.errors import InputError, UsageError
from models import artefact, counting, network_arguments, zoo
from models.artefact import Card
from models.own import registry
from models.spec import ModelSpec


def parsed(*words):
    parser = Parser(prog="p")
    network_arguments.add(parser)
    return parser.parse_args(words)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    torch.manual_seed(0)
    spec, size = ModelSpec(name="resnet_small", depth=8, widths=(2, 3, 4)), (1, 12, 16)
    net = zoo.build(spec, num_classes=3, input_CHW=size)
    card = Card(
        model=spec,
        classes=("a", "b", "c"),
        input_CHW=size,
        mean=(0.5,),
        std=(0.5,),
        eval_crop=1.0,
        cost=counting.measure(net, size),
    )
    path = tmp_path_factory.mktemp("saved") / "net.safetensors"
    artefact.save(path, net, card)
    return str(path)


def test_the_network():
    spec = network_arguments.spec(parsed("--model", "resnet_small", "--widths", "2", "3", "4", "--depth", "8"))
    assert spec == ModelSpec(name="resnet_small", widths=(2, 3, 4), depth=8)
    assert network_arguments.spec(parsed("--model", "nin")) == replace(spec, name="nin", widths=None, depth=None)
    with pytest.raises(UsageError, match="widths are"):
        network_arguments.spec(parsed("--model", "nin", "--widths", "0"))


def test_the_task_comes_from_the_command_line_or_else_from_the_file(saved):
    size = ("--input", "3", "32", "24")
    assert network_arguments.task(parsed("--model", "nin", "--num_classes", "5", *size)) == (5, (3, 32, 24))
    assert network_arguments.task(parsed("--model", saved)) == (3, (1, 12, 16))
    assert network_arguments.task(parsed("--model", saved, *size)) == (3, (3, 32, 24))
    assert network_arguments.task(parsed("--model", saved, "--num_classes", "5")) == (5, (1, 12, 16))


@pytest.mark.parametrize("words", [[], ["--num_classes", "5"], ["--input", "3", "32", "32"]])
def test_a_name_alone_has_no_task(words):
    with pytest.raises(UsageError, match="--num_classes N and --input C H W are needed"):
        network_arguments.task(parsed("--model", "nin", *words))


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="there is no file"):
        network_arguments.task(parsed("--model", str(tmp_path / "no.safetensors")))


def test_a_state_dict_says_its_classes_but_not_the_size_of_its_images(tmp_path):
    net = zoo.build(ModelSpec(name="resnet_small", depth=8), num_classes=7, input_CHW=(1, 12, 16))
    torch.save(net.state_dict(), tmp_path / "n.pth")
    words = ("--model", str(tmp_path / "n.pth"))
    assert network_arguments.task(parsed(*words, "--input", "1", "12", "16")) == (7, (1, 12, 16))
    with pytest.raises(UsageError, match=r"--input C H W is needed: .*n\.pth does not tell the size"):
        network_arguments.task(parsed(*words))


def test_the_stem_is_named():
    assert network_arguments.spec(parsed("--model", "timm/resnet18", "--stem", "keep")).stem == "keep"


def test_own_code_is_named_and_takes_kwargs(tmp_path):
    (tmp_path / "net.py").write_text("")
    registry.forget()
    options = parsed("--model", "a.py:A", "--kwargs", "{width: 3, names: [x]}", "--network", f"{tmp_path}/net.py:Net")
    assert network_arguments.spec(options).kwargs == {"width": 3, "names": ["x"]}
    assert registry.find("net.py:Net", None).path == tmp_path / "net.py"
    registry.forget()
    with pytest.raises(UsageError, match=r"width is not a mapping; expected \{width: 16\}"):
        parsed("--model", "a.py:A", "--kwargs", "width")
