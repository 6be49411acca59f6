"""Several networks in one file: its answers, what it refuses, and that files from strangers cannot do more."""

from dataclasses import replace

import pytest
import torch

from configs.errors import InputError, UsageError
from models import artefact, artefact_file, ensemble, rebuild
from models.artefact import Card
from models.counting import measure
from models.networks.architectures import build
from models.spec import ModelSpec

SIZE = (1, 16, 16)


@pytest.fixture
def member(tmp_path):
    """Saves a network with BatchNorm statistics of its own; cut: with fewer channels than its architecture."""

    def make(name: str, *, cut: bool = False, **card):
        spec = ModelSpec(name="resnet_small", depth=8, widths=(4, 6, 8))
        net = build(spec, num_classes=3, input_CHW=SIZE)
        if cut:
            shapes = {name: tuple(value.shape) for name, value in net.state_dict().items()}
            shapes |= {"layer3.0.conv1.weight": (5, 6, 3, 3), "layer3.0.conv2.weight": (8, 5, 3, 3)}
            shapes |= {f"layer3.0.bn1.{name}": (5,) for name in ("weight", "bias", "running_mean", "running_var")}
            rebuild.reshape(net, shapes)
        with torch.no_grad():
            net(torch.randn(8, *SIZE))
        known = {"classes": ("a", "b", "c"), "input_CHW": SIZE, "mean": (0.3,), "std": (0.4,), "eval_crop": 1.0}
        path = tmp_path / f"{name}.safetensors"
        artefact.save(path, net, Card(model=spec, cost=measure(net, SIZE), pruned=cut, **known | card))
        return str(path), net.eval()

    return make


@pytest.mark.parametrize("cut", [False, True])
def test_the_file_answers_with_the_mean_probabilities_of_its_members(member, tmp_path, cut, capsys):
    (one, net_one), (two, net_two) = member("one"), member("two", cut=cut)
    assert ensemble.main([one, two, "--output", str(tmp_path / "both.safetensors")]) == 0
    net, card = artefact.load(tmp_path / "both.safetensors")
    image_BCHW = torch.randn(5, *SIZE)
    with torch.no_grad():
        mean_BK = (net_one(image_BCHW).softmax(1) + net_two(image_BCHW).softmax(1)) / 2
        assert not torch.allclose(net_one(image_BCHW).softmax(1), mean_BK, atol=1e-3)
        torch.testing.assert_close(net(image_BCHW).exp(), mean_BK)
    singles = [artefact.read_card(file) for file in (one, two)]
    assert card.cost.parameters == sum(single.cost.parameters for single in singles) and card.pruned == cut
    assert card.lineage["members"] == f"{artefact.sha256(one)},{artefact.sha256(two)}" and not card.scores
    assert f"2 networks, {card.cost.parameters:,} parameters" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("one", "two", "both"),
    [
        ({"source": "folder", "data": "a" * 64}, {"source": "folder", "data": "a" * 64}, ("folder", "a" * 64)),
        ({"source": "folder", "data": "a" * 64}, {"source": "idx", "data": "b" * 64}, (None, f"{'a' * 64},{'b' * 64}")),
        ({"source": "folder", "data": "a" * 64}, {"stage": "adopt"}, ("folder", "a" * 64)),
        ({}, {}, (None, None)),
    ],
    ids=["the same", "different", "one is unknown", "unknown"],
)
def test_the_file_knows_what_its_members_were_trained_on(member, tmp_path, one, two, both):
    files = [member(name, lineage=lineage)[0] for name, lineage in (("one", one), ("two", two))]
    assert ensemble.main([*files, "--output", str(tmp_path / "both.safetensors")]) == 0
    lineage = artefact.read_card(tmp_path / "both.safetensors").lineage
    assert (lineage.get("source"), lineage.get("data")) == both


@pytest.mark.parametrize(
    "card",
    [{"classes": ("a", "c", "b")}, {"mean": (0.2,)}, {"std": (0.5,)}, {"eval_crop": 0.9}],
    ids=lambda card: next(iter(card)),
)
def test_members_that_see_or_tell_apart_other_things_are_refused(member, tmp_path, card, capsys):
    (key,) = card
    (one, _), (two, _) = member("one"), member("two", **card)
    assert ensemble.main([one, two, "--output", str(tmp_path / "both.safetensors")]) == 64
    assert f"error: {key} of {two} is " in capsys.readouterr().err and not (tmp_path / "both.safetensors").exists()


def test_an_ensemble_of_ensembles_and_a_file_that_is_there_are_refused(member, tmp_path, capsys):
    one, _ = member("one")
    both = str(tmp_path / "both.safetensors")
    assert ensemble.main([one, one, "--output", both]) == 0
    assert ensemble.main([both, one, "--output", str(tmp_path / "more.safetensors")]) == 64
    assert "ensemble cannot be a member of ensemble" in capsys.readouterr().err
    assert ensemble.main([one, one, "--output", both]) == 64
    assert "is there already" in capsys.readouterr().err
    assert ensemble.main([one, "--output", str(tmp_path / "both.pth")]) == 64


def test_a_file_whose_members_are_not_those_of_its_tensors_is_refused(member, tmp_path):
    one, _ = member("one")
    path = tmp_path / "both.safetensors"
    assert ensemble.main([one, one, "--output", str(path)]) == 0
    found = artefact_file.read(path)
    members = found.card["model"]["kwargs"]["members"]
    for changed in (members[:1], [members[0], members[0] | {"depth": 14}]):
        card = found.card | {"model": found.card["model"] | {"kwargs": {"members": changed}}}
        path.write_bytes(artefact_file.compose(card, found.tensors))
        with pytest.raises(InputError, match=r"both\.safetensors"):
            artefact.load(path)
    with pytest.raises(UsageError, match="from 1 to 64 members"):
        build(ModelSpec(name="ensemble"), num_classes=3, input_CHW=SIZE)
    with pytest.raises(UsageError, match="ensemble has no depth"):
        build(replace(artefact.read_card(one).model, name="ensemble", widths=None), num_classes=3, input_CHW=SIZE)
