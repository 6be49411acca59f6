"""Networks of ours on a hub that stands in for the public one."""

from dataclasses import replace

import pytest
import torch

import hub_stub
from configs.errors import InputError, UsageError
from models import artefact
from models.adopt import conversion, hub, options
from models.adopt.conversion import Wanted
from models.spec import ModelSpec

NAME = "hf-hub:bob/boots"


@pytest.fixture
def there(handed, tmp_path):
    with hub_stub.in_place(tmp_path) as server:
        server.repos["bob/boots"] = (False, {"model.safetensors": (handed / "model.safetensors").read_bytes()})
        yield server


def test_ours_is_found_and_what_is_not_there_is_not(there):
    assert [hub.is_remote(name) for name in (NAME, "hf_hub:a/b", "local-dir:a", "timm/x")] == [True, True, False, False]
    path = hub.find(NAME)
    assert path is not None and path.read_bytes() == there.repos["bob/boots"][1]["model.safetensors"]
    assert hub.find(f"{NAME}@main") == path
    assert hub.find("timm/resnet18") is None and hub.find("hf-hub:bob/gone") is None
    with pytest.raises(InputError, match="the pretrained weights of hf-hub:bob/gone could not be loaded"):
        hub.download("hf-hub:bob/gone")


def test_a_file_of_another_library_is_left_to_it(there):
    from safetensors.torch import save

    there.repos["bob/timm"] = (False, {"model.safetensors": save({"x": torch.zeros(1)})})
    assert hub.find("hf-hub:bob/timm") is None


def test_it_is_a_teacher_with_its_own_classes_and_normalisation(there, handed):
    _, card = artefact.load(handed / "model.safetensors")
    net, adopted = conversion.published(NAME, classes=card.classes)
    lineage = {"stage": "adopt", "adopted_from": NAME, "source": "folder", "data": "f" * 64}
    assert adopted == replace(card, scores={}, lineage=lineage)
    assert not net.training
    with pytest.raises(InputError, match=r"knows the classes bag, boot, coat, Ämne, and the data set has cat, dog"):
        conversion.published(NAME, classes=("cat", "dog"))
    asked = options.parse([NAME, "--output", "t.safetensors", "--mean", "0.5"])
    with pytest.raises(UsageError, match="tells its size, crop and normalisation"):
        conversion.from_options(asked)


def test_training_starts_from_it(there, handed):
    _, card = artefact.load(handed / "model.safetensors")
    wanted = Wanted(input_CHW=card.input_CHW, classes=card.classes)
    _, adopted = conversion.starting_weights(ModelSpec(name=NAME), wanted)
    assert adopted.model == card.model and adopted.lineage["adopted_from"] == NAME
