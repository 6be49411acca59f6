"""Nothing in a file is run: pickled objects are refused, or inert where they are beside the weights."""

import argparse
import os
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from configs.errors import InputError
from models.adopt import pickles


class Bomb:
    """Runs a command where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


class Settings(dict):
    """As Lightning keeps hyper-parameters: a dict of a class of its own, with attributes."""


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("inside", [True, False])
def test_a_bomb_is_refused_and_does_not_go_off(tmp_path, zipped, inside):
    bomb, trace = Bomb(tmp_path / "trace"), tmp_path / "trace"
    content = {"state_dict": {"w": torch.ones(2, 2)}, "hyper_parameters": bomb} if inside else bomb
    torch.save(content, tmp_path / "b.pt", _use_new_zipfile_serialization=zipped)
    with pytest.raises(InputError) as refusal:
        pickles.load(tmp_path / "b.pt")
    assert "posix.system" in str(refusal.value)
    assert not trace.exists()
    torch.load(tmp_path / "b.pt", weights_only=False)  # the control: it does go off where it is opened so
    assert trace.exists()


def test_a_bare_pickle_is_refused_and_does_not_go_off(tmp_path):
    (tmp_path / "b.pth").write_bytes(pickle.dumps(Bomb(tmp_path / "trace")))
    with pytest.raises(InputError):
        pickles.load(tmp_path / "b.pth")
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize("zipped", [True, False])
def test_a_whole_model_is_refused_with_the_lines_that_turn_it_into_a_state_dict(tmp_path, zipped):
    path = tmp_path / "net.pth"
    torch.save(nn.Sequential(nn.Linear(2, 2)), path, _use_new_zipfile_serialization=zipped)
    if zipped:
        assert pickles.is_inert(pickles.load(path))
        lines = pickles.whole_model(path).splitlines()
    else:
        with pytest.raises(InputError) as refusal:
            pickles.load(path)
        lines = str(refusal.value).splitlines()
    assert len(lines) == 3
    exec("\n".join(line.strip() for line in lines[1:]), {"torch": torch})  # what a user would paste
    assert set(torch.load(tmp_path / "net_weights.pth", weights_only=True)) == {"0.weight", "0.bias"}


def test_a_model_in_an_old_checkpoint_is_refused_with_lines_that_keep_the_rest(tmp_path):
    """Torch reads nothing of an old file in which a module is pickled."""
    content = {"state_dict": {"w": torch.ones(2, 2)}, "model": nn.Linear(2, 2)}
    torch.save(content, tmp_path / "c.pth", _use_new_zipfile_serialization=False)
    with pytest.raises(InputError) as refusal:
        pickles.load(tmp_path / "c.pth")
    exec("\n".join(line.strip() for line in str(refusal.value).splitlines()[1:]), {"torch": torch})
    found = pickles.load(tmp_path / "c_weights.pth")
    assert torch.equal(found["state_dict"]["w"], torch.ones(2, 2)) and pickles.is_inert(found["model"])


@pytest.mark.parametrize("zipped", [True, False])
def test_settings_of_other_classes_beside_the_weights_are_inert(tmp_path, zipped):
    settings = Settings(lr=0.1)
    settings.extra = 1
    content = {
        "state_dict": OrderedDict(w=torch.ones(2, 2)),
        "hyper_parameters": settings,
        "args": argparse.Namespace(epochs=3, nested=[Settings(a=1)]),
        "best": np.float64(0.9),
        "history": np.arange(3),
        "folds": range(3),
    }
    torch.save(content, tmp_path / "c.ckpt", _use_new_zipfile_serialization=zipped)
    found = pickles.load(tmp_path / "c.ckpt")
    assert torch.equal(found["state_dict"]["w"], torch.ones(2, 2))
    assert type(found["hyper_parameters"]) is OrderedDict and pickles.is_inert(found["args"])


def test_torchscript_is_refused_with_its_own_lines(tmp_path):
    torch.jit.trace(nn.Linear(2, 2), torch.ones(1, 2)).save(str(tmp_path / "s.pt"))
    with pytest.raises(InputError, match=r"is TorchScript(.|\n)*torch.jit.load"):
        pickles.load(tmp_path / "s.pt")


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_file_that_is_cut_short_is_refused(tmp_path, zipped, share):
    path = tmp_path / "n.pth"
    torch.save({"w": torch.ones(64, 64)}, path, _use_new_zipfile_serialization=zipped)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(InputError, match=r"n\.pth"):
        pickles.load(path)


def test_text_and_other_archives_are_refused(tmp_path):
    (tmp_path / "page.pth").write_text("<html>sign in to download</html>")
    with zipfile.ZipFile(tmp_path / "zip.pth", "w") as archive:
        archive.writestr("readme", "x")
    for name in ("page.pth", "zip.pth"):
        with pytest.raises(InputError, match=r"is damaged, cut short, or no file of torch\.save") as caught:
            pickles.load(tmp_path / name)
        assert "weights_only" not in str(caught.value), "torch's advice is to execute the file"
