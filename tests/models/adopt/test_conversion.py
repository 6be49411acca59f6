"""Weights of elsewhere become a network with the same logits, bit for bit, and one of our files."""

import pytest
import torch
import torchvision
from safetensors.torch import save_file

import course_files
from configs.errors import InputError, UsageError
from models import artefact
from models.adopt import conversion, options
from models.adopt.conversion import Wanted
from models.spec import ModelSpec

COURSES = ("food", "fashion", "cifar")
WRAPPERS = ("as handed out", "Lightning", "DataParallel", "compiled")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Each course's file in each wrapping, made once."""
    found = {}
    for course in COURSES:
        for wrapper in WRAPPERS:
            found[course, wrapper] = course_files.save(tmp_path_factory.mktemp("f"), course, wrapper)
    return found


def logits_gap(net, other, input_CHW):
    image_BCHW = torch.randn(2, *input_CHW, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return float((net(image_BCHW) - other(image_BCHW)).abs().max())


@pytest.mark.parametrize("wrapper", WRAPPERS)
@pytest.mark.parametrize("course", COURSES)
def test_a_course_s_weights_give_the_logits_of_plain_torch(files, course, wrapper, tmp_path):
    path, plain = files[course, wrapper]
    net, card = conversion.adopt(path, Wanted(input_CHW=course_files.SIZES[course]))
    assert card.model.name == course_files.SPECS[course]
    artefact.save(tmp_path / "t.safetensors", net, card)
    again, card = artefact.load(tmp_path / "t.safetensors")
    assert logits_gap(plain, again, card.input_CHW) == 0
    assert card.model.stem == ("auto" if course == "cifar" else "keep")
    assert card.lineage[conversion.ORIGIN] == path.name
    assert card.lineage[conversion.ORIGIN_SHA] == artefact.sha256(path) == conversion.origin_of(card)


def test_other_weights_give_other_logits(files):
    """The control: a difference of zero is not what any two networks have."""
    path, plain = files["food", "as handed out"]
    net, card = conversion.adopt(path, Wanted(input_CHW=(3, 32, 32)))
    with torch.no_grad():
        net.bn1.running_mean[0] += 1e-3
    assert logits_gap(plain, net, card.input_CHW) > 0


def test_a_plain_safetensors_file_in_half_precision_is_adopted_as_float32(tmp_path):
    plain = course_files.trained_looking(torchvision.models.mobilenet_v3_small(num_classes=4)).half()
    save_file(plain.state_dict(), tmp_path / "n.safetensors")
    net, card = conversion.adopt(tmp_path / "n.safetensors", Wanted(input_CHW=(3, 96, 96)))
    assert card.model.name == "torchvision/mobilenet_v3_small" and len(card.classes) == 4
    assert logits_gap(plain.float(), net, (3, 96, 96)) == 0


def test_classes_mean_std_and_crop_are_what_was_wanted(files):
    path, _ = files["food", "as handed out"]
    names = tuple(f"dish {i}" for i in range(11))
    wanted = Wanted(input_CHW=(3, 32, 32), mean=(0.5,), std=(0.25,), eval_crop=0.875, classes=names)
    card = conversion.adopt(path, wanted)[1]
    assert (card.mean, card.std, card.eval_crop, card.classes) == ((0.5,) * 3, (0.25,) * 3, 0.875, names)
    card = conversion.adopt(path, Wanted(input_CHW=(3, 32, 32)))[1]
    assert card.classes == tuple(map(str, range(11))) and card.mean == (0.485, 0.456, 0.406)


def test_other_numbers_of_classes_are_refused_before_a_network_is_built(files, monkeypatch):
    path, _ = files["food", "as handed out"]
    monkeypatch.setattr(conversion, "recognise", lambda *_, **__: pytest.fail("a network was built"))
    with pytest.raises(InputError, match=r"is for 11 classes \(its fc.weight is \[11, 512\]\), and there are 10: a, b"):
        conversion.adopt(path, Wanted(input_CHW=(3, 32, 32), classes=tuple("abcdefghij")))


def test_a_number_that_another_layer_has_is_refused_too(files):
    path, _ = files["food", "as handed out"]
    with pytest.raises(InputError, match="for 11 classes, and 64 are named"):
        conversion.adopt(path, Wanted(input_CHW=(3, 32, 32), classes=tuple(map(str, range(64)))))


def test_starting_weights_get_a_new_last_layer_and_keep_the_rest(files):
    path, plain = files["food", "as handed out"]
    wanted = Wanted(input_CHW=(3, 32, 32), classes=tuple("abc"))
    net, card = conversion.starting_weights(ModelSpec(name=str(path)), wanted)
    assert net.fc.weight.shape == (3, 512) and card.classes == tuple("abc")
    assert torch.equal(net.layer4[1].conv2.weight, plain.layer4[1].conv2.weight)


def test_the_stem_is_the_one_that_fits_and_a_grey_first_layer_is_kept(tmp_path):
    net = torchvision.models.resnet18(num_classes=3)
    net.conv1, net.maxpool = torch.nn.Conv2d(1, 64, 3, padding=1, bias=False), torch.nn.Identity()
    course_files.trained_looking(net)
    torch.save(net.state_dict(), tmp_path / "n.pt")
    again, card = conversion.adopt(tmp_path / "n.pt", Wanted(input_CHW=(3, 32, 32), mean=(0.2, 0.4, 0.6)))
    assert card.model == ModelSpec(name="torchvision/resnet18", stem="small") and card.input_CHW == (1, 32, 32)
    assert card.mean == pytest.approx((0.299 * 0.2 + 0.587 * 0.4 + 0.114 * 0.6,))
    assert logits_gap(net, again, card.input_CHW) == 0


def test_the_random_state_is_not_changed(files):
    path, _ = files["cifar", "as handed out"]
    before = torch.get_rng_state()
    conversion.adopt(path, Wanted(input_CHW=(3, 32, 32)))
    assert torch.equal(before, torch.get_rng_state())


def test_a_cut_network_is_not_what_was_adopted_any_more(files):
    _, card = conversion.adopt(files["cifar", "as handed out"][0], Wanted(input_CHW=(3, 32, 32)))
    lineage = dict(card.lineage) | {"cut_from": "x"}
    assert conversion.origin_of(card) and not conversion.origin_of(artefact.replace(card, lineage=lineage))


def test_a_command_line_needs_the_size_of_the_images_unless_the_data_say(files):
    path, _ = files["cifar", "as handed out"]
    asked = options.parse([str(path), "--output", "o.safetensors"])
    with pytest.raises(UsageError, match="--input C H W is needed"):
        conversion.from_options(asked)
    card = conversion.from_options(asked, Wanted(input_CHW=(1, 32, 32), mean=(0.5,), std=(0.5,)))[1]
    assert card.input_CHW == (3, 32, 32) and card.mean == (0.5, 0.5, 0.5)


def test_published_weights_know_their_own_number_of_classes():
    with pytest.raises(InputError, match=r"1,000 classes or more, and the data set has 10: train"):
        conversion.published("torchvision/resnet18", classes=tuple("abcdefghij"))


def test_the_summary_says_what_was_written(files):
    card = conversion.adopt(files["food", "as handed out"][0], Wanted(input_CHW=(3, 96, 96)))[1]
    assert "11 classes, named by number (--classes names them)" in conversion.summary("t.safetensors", card)
    card = artefact.replace(card, scores={"validation": artefact.Score(correct=3, total=4)})
    text = conversion.summary("t.safetensors", card)
    assert "--classes" not in text
    for part in ("torchvision/resnet18, stem keep", "11 classes, named by number", "3 x 96 x 96", "75.00 % of 4"):
        assert part in text
