import hashlib
import json
import os
import shutil
import stat
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import safetensors.torch
import torch
import torchinfo
from torch import nn

from configs.errors import InputError, NonFiniteError, UsageError
from models import artefact, artefact_file
from models.artefact import Card, Score, load, read_card, save, sha256
from models.counting import measure
from models.networks.architectures import build
from models.own import registry
from models.own.registry import NotNamedError
from models.pruning.masks import Masks
from models.spec import ModelSpec

MY_NET = Path(__file__).parents[1] / "my_net.py"
SIZE = (1, 28, 28)
CLASSES = ("bag", "boot", "coat")


def trained(name="resnet_small", **shape):
    """A network whose BatchNorm statistics and weights are no longer the first ones, and its card."""
    spec = ModelSpec(name=name, **shape)
    net = build(spec, num_classes=len(CLASSES), input_CHW=SIZE)
    with torch.no_grad():
        net(torch.randn(4, *SIZE))
    return net, card_of(net, spec)


def card_of(net, spec):
    return Card(
        model=spec,
        classes=CLASSES,
        input_CHW=SIZE,
        mean=(0.1307,),
        std=(1 / 3,),
        eval_crop=0.875,
        scores={"validation": Score(correct=91, total=100)},
        cost=measure(net, SIZE),
        lineage={"teacher": "ab" * 32, "commit": "1f2e3d"},
    )


@pytest.fixture
def saved(tmp_path):
    net, card = trained(widths=(4, 5, 6), depth=8)
    save(tmp_path / "m.safetensors", net, card)
    return tmp_path / "m.safetensors", net, card


def rewrite(path, *, tensors=None, **changes):
    """Write the file again with another header; an entry of None is left out."""
    with safetensors.safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["heartcut"])
        kept = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    tensors = kept if tensors is None else tensors
    merged = {key: value for key, value in {**header, **changes}.items() if value is not None}
    safetensors.torch.save_file(tensors, path, metadata={"heartcut": json.dumps(merged)})


def test_round_trip_is_exact(saved):
    path, net, card = saved
    loaded, read = load(path)
    images = torch.randn(3, *SIZE)
    assert read == card
    assert read_card(path) == card
    assert not any(module.training for module in loaded.modules())
    assert torch.equal(loaded(images), net.eval()(images))


@pytest.mark.parametrize("name", ["depthwise_v2", "timm/convnext_atto", "torchvision/mobilenet_v2"])
def test_other_families_round_trip(tmp_path, name):
    net, card = trained(name)
    save(tmp_path / "m.safetensors", net, card)
    images = torch.randn(2, *SIZE)
    assert torch.equal(load(tmp_path / "m.safetensors")[0](images), net.eval()(images))


def test_loading_leaves_the_random_state_alone(saved):
    path, net, card = saved
    before = torch.get_rng_state()
    load(path)
    save(path, net, card)
    assert torch.equal(torch.get_rng_state(), before)


def test_pretrained_weights_are_never_asked_for(saved, monkeypatch):
    path, net, card = saved
    asked = []
    monkeypatch.setattr(artefact.architectures, "build", lambda spec, **_: asked.append(spec.pretrained) or net)
    save(path, net, replace(card, model=replace(card.model, pretrained=True)))
    load(path)
    assert asked == [False, False]


def test_channels_last_and_tied_weights_are_written(saved, monkeypatch):
    path, net, card = saved
    images = torch.randn(2, *SIZE)
    net.to(memory_format=torch.channels_last)
    save(path, net, card)
    assert torch.allclose(load(path)[0](images), net.eval()(images), atol=1e-6)

    def tied(*_, **__):
        layers = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False))
        layers[1].weight = layers[0].weight
        return layers

    monkeypatch.setattr(artefact.architectures, "build", tied)
    two = tied()
    save(path, two, card)
    loaded, _ = load(path)
    assert loaded[0].weight is loaded[1].weight
    assert torch.equal(loaded[0].weight, two[0].weight)


def test_the_same_network_gives_the_same_bytes(saved, tmp_path):
    path, net, card = saved
    save(tmp_path / "again.safetensors", net, card)
    assert sha256(path) == sha256(tmp_path / "again.safetensors") == hashlib.sha256(path.read_bytes()).hexdigest()


def test_tensors_take_the_bytes_that_cost_reports(saved):
    path, _, card = saved
    content = path.read_bytes()
    assert len(content) - 8 - int.from_bytes(content[:8], "little") == card.cost.bytes


def test_the_umask_decides_who_may_read(saved):
    path, net, card = saved
    old = os.umask(0o027)
    try:
        save(path, net, card)
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_crash_while_writing_leaves_the_old_file(saved, monkeypatch):
    path, net, card = saved
    before = path.read_bytes()

    def full(_):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        save(path, net, replace(card, eval_crop=1.0))
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_card_that_does_not_rebuild_the_network_is_refused_at_once(saved):
    path, net, card = saved
    before = path.read_bytes()
    with pytest.raises(UsageError, match=r"does not rebuild this network: conv1\.weight is"):
        save(
            path,
            net,
            replace(
                card, model=replace(card.model, widths=(4, 5, 7)), input_CHW=(3, 28, 28), mean=(0,) * 3, std=(1,) * 3
            ),
        )
    with pytest.raises(UsageError, match=r"float64, not .* torch.float32"):
        save(path, net.double(), card)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": ModelSpec(name="a.safetensors")}, r"take model = read_card"),
        ({"classes": ()}, "no classes"),
        ({"mean": (0.1, 0.2)}, "2 means and 1 deviations for 1 channels"),
        ({"std": (0.0,)}, "std > 0"),
        ({"mean": (float("nan"),)}, "finite means"),
        ({"eval_crop": 0.0}, r"eval_crop in \(0, 1\]"),
    ],
)
def test_an_impossible_card_is_refused(saved, change, message):
    with pytest.raises(UsageError, match=message):
        replace(saved[2], **change)


def test_scores_are_counts():
    assert Score(correct=1, total=4).accuracy == 0.25
    for correct, total in ((5, 4), (-1, 4), (0, 0)):
        with pytest.raises(UsageError, match="impossible"):
            Score(correct=correct, total=total)


def test_a_missing_file_or_a_folder_is_named(tmp_path):
    for path in (tmp_path / "no.safetensors", tmp_path):
        with pytest.raises(InputError, match="there is no file"):
            load(path)
        with pytest.raises(InputError):
            sha256(path)


@pytest.mark.parametrize("length", [0, 4, 300, -1])
def test_a_truncated_file_is_refused(saved, length):
    path = saved[0]
    path.write_bytes(path.read_bytes()[:length])
    for read in (load, read_card):
        with pytest.raises(InputError, match=r"m\.safetensors is damaged, cut short"):
            read(path)


def test_one_flipped_bit_in_the_weights_is_refused(saved):
    path = saved[0]
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match="do not match its digest"):
        load(path)


def test_an_edited_card_is_refused(saved):
    path, _, card = saved
    rewrite(path, card=asdict(replace(card, eval_crop=0.5)))
    assert read_card(path).eval_crop == 0.5  # readable, and yet:
    with pytest.raises(InputError, match="do not match its digest"):
        load(path)


def test_rewriting_alone_damages_nothing(saved):
    path, _, card = saved
    rewrite(path)
    assert load(path)[1] == card


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({"format": None}, "its header is unreadable .'format'"),
        ({"format": 3}, "has format 3, but this Heartcut reads up to 2; update"),
        ({"format": "one"}, "its header is unreadable"),
        ({"card": None}, "its card is unreadable"),
        ({"card": "{"}, "its card is unreadable"),
        ({"card": {}}, "its card is unreadable .'model'"),
        ({"card": {"model": {"name": "nin"}}}, "its card is unreadable .'scores'"),
        ({"digest": None}, "do not match its digest"),
    ],
)
def test_a_newer_or_damaged_header_is_refused(saved, header, message):
    rewrite(saved[0], **header)
    with pytest.raises(InputError, match=message):
        load(saved[0])


def test_a_plain_safetensors_file_is_foreign(tmp_path):
    safetensors.torch.save_file({"x": torch.zeros(2)}, tmp_path / "x.safetensors")
    with pytest.raises(InputError, match=r"not a Heartcut file \(it has no metadata\)"):
        load(tmp_path / "x.safetensors")
    safetensors.torch.save_file({"x": torch.zeros(2)}, tmp_path / "x.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"not a Heartcut file \(it has format\)"):
        read_card(tmp_path / "x.safetensors")


@pytest.mark.parametrize("kind", ["lacks", "has the unknown", "is"])
def test_weights_that_do_not_fit_their_card_are_refused(saved, kind):
    path, net, card = saved
    tensors = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    if kind == "lacks":
        del tensors["fc.bias"]
    elif kind == "is":
        tensors["fc.bias"] = torch.zeros(9)
    else:
        tensors["fc.extra"] = torch.zeros(9)
    rewrite(path, tensors=tensors, digest=artefact_file.digest(asdict(card), tensors))
    with pytest.raises(InputError, match=rf"does not fit the network it names, .* {kind} .*"):
        load(path)


def test_files_of_format_1_still_load(saved):
    path, net, card = saved
    fields = asdict(card)
    del fields["pruned"], fields["attributes"]
    tensors = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    rewrite(path, format=1, card=fields, packed=None, digest=artefact_file.digest(fields, tensors))
    loaded, read = load(path)
    assert read == read_card(path) == card
    images = torch.randn(2, *SIZE)
    assert torch.equal(loaded(images), net.eval()(images))


def test_a_nan_is_never_written(saved):
    path, net, card = saved
    before = path.read_bytes()
    with torch.no_grad():
        net.fc.bias[1] = float("nan")
    with pytest.raises(NonFiniteError, match=r"is not written: fc\.bias has a NaN"):
        save(path, net, card)
    assert path.read_bytes() == before


def test_a_negative_zero_is_kept(saved):
    path, net, card = saved
    with torch.no_grad():
        net.layer3[0].conv1.weight.zero_()
        net.layer3[0].conv1.weight[0, 0, 0, 0] = -0.0
    save(path, net, card)
    assert "layer3.0.conv1.weight:bits" in names_in(path)
    assert load(path)[0].layer3[0].conv1.weight.signbit().sum() == 1


def names_in(path):
    with safetensors.safe_open(path, framework="pt") as file:
        return set(file.keys())


def test_a_masked_network_is_stored_without_its_zeros(tmp_path):
    """ResNet-18 with 100,000 of 11,172,810 parameters left: 1.8 MB, not 44.7 MB."""
    net, card = trained("torchvision/resnet18")
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    net(torch.randn(4, *SIZE)).square().sum().backward()
    optimizer.step()  # no BatchNorm bias is zero any more
    save(tmp_path / "dense.safetensors", net, card)
    Masks.plan(net, 100_000).apply_(net)
    path, card = tmp_path / "thin.safetensors", card_of(net, card.model)
    save(path, net, card)
    loaded, read = load(path)
    assert all(torch.equal(a, b) for a, b in zip(loaded.state_dict().values(), net.state_dict().values(), strict=True))
    assert measure(loaded, SIZE) == read.cost == card.cost
    assert read.cost.nonzero == 100_000
    assert Masks.of(loaded).free_entries(loaded) == 100_000
    assert torchinfo.summary(loaded, verbose=0).total_params == read.cost.parameters  # the control: zeros count
    dense, thin = ((tmp_path / f"{name}.safetensors").stat().st_size for name in ("dense", "thin"))
    assert dense > read.cost.bytes > 24 * thin
    assert thin < read.cost.parameters / 8 + 4 * 100_000 + 60_000


def test_packed_tensors_that_do_not_unpack_are_refused(saved):
    path, net, card = saved
    with torch.no_grad():
        net.layer3[0].conv1.weight.zero_()
    save(path, net, card)
    name = "layer3.0.conv1.weight"
    shape = list(net.layer3[0].conv1.weight.shape)
    for packed in ({name: [10**9] * 4}, {name: [*shape[:3], 1]}, {"fc.weight": [1]}, {name: 7}, 7, {}):
        rewrite(path, packed=packed)
        with pytest.raises(InputError, match="is damaged"):
            load(path)
    rewrite(path, packed={name: shape})  # the control
    load(path)


# ---- redrawn


def test_new_weights_come_with_the_same_card(saved):
    path, net, card = saved
    torch.manual_seed(1)
    fresh, read = artefact.redraw(path)
    assert read == card and not any(module.training for module in fresh.modules())
    assert not torch.equal(fresh.fc.weight, net.fc.weight)
    assert not fresh.bn1.running_mean.any() and net.bn1.running_mean.any()
    torch.manual_seed(1)
    assert torch.equal(artefact.redraw(path)[0].fc.weight, fresh.fc.weight)


def test_what_was_held_at_zero_is_drawn_too(tmp_path):
    net, card = trained(widths=(8, 16, 32), depth=8)
    masks = Masks.plan(net, 3000)
    masks.apply_(net)
    save(tmp_path / "m.safetensors", net, replace(card, cost=measure(net, SIZE)))
    fresh, _ = artefact.redraw(tmp_path / "m.safetensors")
    assert Masks.of(fresh).free_entries(fresh) == card.cost.parameters > 3000 == Masks.of(net).free_entries(net)


def test_a_damaged_file_is_not_redrawn(saved):
    saved[0].write_bytes(saved[0].read_bytes()[:-1])
    with pytest.raises(InputError, match="is damaged"):
        artefact.redraw(saved[0])


def test_own_code_is_recorded_by_name_and_hash_and_files_without_it_still_load(tmp_path, saved):
    path, _, _ = saved
    with safetensors.safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["heartcut"])
    old = {key: value for key, value in header["card"].items() if key != "code_sha256"}
    old["model"] = {key: value for key, value in old["model"].items() if key != "kwargs"}
    rewrite(path, card=old, digest=artefact_file.digest(old, artefact_file.read(path).tensors))
    assert load(path)[1].code_sha256 is None

    shutil.copy(MY_NET, tmp_path)
    spec = ModelSpec(name=f"{tmp_path}/my_net.py:StudentNet", kwargs={"width": 2})
    (code,) = registry.register(spec.name)
    net = build(spec, num_classes=len(CLASSES), input_CHW=SIZE)
    save(path, net, card_of(net, spec))
    again, card = load(path)
    assert (card.model.name, card.model.kwargs) == ("my_net.py:StudentNet", {"width": 2})
    assert card.code_sha256 == code.sha256
    assert torch.equal(again(torch.ones(1, *SIZE)), net.eval()(torch.ones(1, *SIZE)))
    registry.forget()
    with pytest.raises(NotNamedError, match=f"{path} holds a network of your own code.*{code.sha256}"):
        load(path)
