"""What leaves the machine, and what does not."""

import shutil
from dataclasses import replace

import onnx
import pytest
import torch

from configs.errors import InputError
from models import artefact, artefact_file
from models.publish.contents import prepare


@pytest.fixture
def run(handed, tmp_path):
    """A run folder with more in it than is sent."""
    folder = shutil.copytree(handed, tmp_path / "run")
    sha256 = artefact.sha256(folder / "model.safetensors")
    (folder / "student.py").write_text(f'"""x"""\nARTEFACT_SHA256 = {sha256!r}\n')
    torch.save({}, folder / "student.pt")
    (folder / "old.onnx").write_bytes(b"")
    for name in ("config.yaml", "environment.json", "metrics.jsonl", "my_net.py", ".env", ".netrc"):
        (folder / name).write_text("secret /home/alice\n")
    return folder


@pytest.fixture
def ready(tmp_path):
    (tmp_path / "ready").mkdir()
    return tmp_path / "ready"


def test_the_network_its_exports_and_the_card_and_nothing_else(run, ready):
    contents = prepare(run / "model.safetensors", ready, repo="alice/boots", license_id="mit")
    names = {"README.md", "model.safetensors", "model.onnx", "pixels.onnx", "student.py", "student.pt"}
    assert set(contents.names) == {path.name for path in ready.iterdir()} == names
    assert contents.sizes() == {name: (ready / name).stat().st_size for name in contents.names}
    assert not any(b"alice/secret" in (ready / name).read_bytes() for name in names)
    said = "\n".join(contents.notes)
    assert "/home/alice/secret/t.safetensors is sent as t.safetensors" in said
    assert "not sent: old.onnx, which was not exported from this network" in said
    text = (ready / "README.md").read_text()
    assert 'heartcut.load("hf-hub:alice/boots")' in text and "license: mit" in text


def test_all_of_them_name_the_network_as_it_is_sent(run, ready):
    prepare(run / "model.safetensors", ready, repo="alice/boots")
    sent = artefact.sha256(ready / "model.safetensors")
    assert sent != artefact.sha256(run / "model.safetensors")
    told = {entry.key: entry.value for entry in onnx.load(ready / "model.onnx").metadata_props}
    assert told["artefact_sha256"] == sent and sent in (ready / "README.md").read_text()
    assert f"ARTEFACT_SHA256 = {sent!r}" in (ready / "student.py").read_text()
    (net, card), (mine, before) = (artefact.load(home / "model.safetensors") for home in (ready, run))
    assert card == replace(before, lineage=dict(before.lineage) | {"teacher": "t.safetensors"})
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), mine.parameters(), strict=True))


def test_a_network_that_names_no_folder_is_sent_as_it_is(run, ready, tmp_path):
    net, card = artefact.load(run / "model.safetensors")
    artefact.save(tmp_path / "student.safetensors", net, replace(card, lineage={"stage": "teacher"}))
    contents = prepare(tmp_path / "student.safetensors", ready, repo="a/b")
    assert contents.names == ("README.md", "model.safetensors") and contents.notes == ()
    assert (ready / "model.safetensors").read_bytes() == (tmp_path / "student.safetensors").read_bytes()


def test_files_are_added_when_named_and_may_not_name_this_machine(run, ready, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/home/alice")
    (tmp_path / "net.py").write_text("from torch import nn\n")
    contents = prepare(run / "model.safetensors", ready, repo="a/b", added=[tmp_path / "net.py"])
    assert "net.py" in contents.names
    for path in ready.iterdir():
        path.unlink()
    with pytest.raises(InputError, match=r"my_net\.py names the folder /home/alice of this machine"):
        prepare(run / "model.safetensors", ready, repo="a/b", added=[run / "my_net.py"])
    with pytest.raises(InputError, match="is sent already"):
        prepare(run / "model.safetensors", ready, repo="a/b", added=[run / "model.onnx"])


def test_a_card_of_ones_own_is_sent_in_place_of_the_new_one(run, ready):
    (run / "README.md").write_text("---\nlibrary_name: heartcut\nlicense: cc-by-4.0\n---\nMine.\n")
    contents = prepare(run / "model.safetensors", ready, repo="a/b")
    assert "\nlicense: cc-by-4.0\n" in (ready / "README.md").read_text()
    assert "not sent: README.md of the folder" in contents.notes[-1]
    assert "Mine." not in (ready / "README.md").read_text()
    for path in ready.iterdir():
        path.unlink()
    prepare(run / "model.safetensors", ready, repo="a/b", added=[run / "README.md"])
    assert (ready / "README.md").read_text() == (run / "README.md").read_text()
    (run / "README.md").write_text("# Mine\n")
    with pytest.raises(InputError, match="is no model card of Heartcut"):
        prepare(run / "model.safetensors", ready, repo="a/b", added=[run / "README.md"])


def test_code_without_which_a_network_cannot_be_loaded_is_named(tmp_path, ready):
    (tmp_path / "my_net.py").write_text("from torch import nn\nclass Net(nn.Sequential):\n    pass\n")
    path = tmp_path / "model.safetensors"
    model = {"name": "my_net.py:Net", "widths": None, "depth": None, "dropout": None, "stem": "auto"}
    cost = {"parameters": 2, "nonzero": 2, "macs": 2, "bytes": 8}
    card = {
        "model": model,
        "classes": ["a", "b"],
        "input_CHW": [1, 1, 1],
        "mean": [0.5],
        "std": [1.0],
        "eval_crop": 1.0,
    }
    card |= {"scores": {}, "cost": cost, "lineage": {}, "pruned": False, "code_sha256": "a" * 64}
    path.write_bytes(artefact_file.compose(card, {"0.weight": torch.zeros(2, 1)}))
    (note,) = prepare(path, ready, repo="a/b").notes
    assert note == "not sent: my_net.py, without which nobody can load the network (--add my_net.py sends it)"
    for sent in ready.iterdir():
        sent.unlink()
    contents = prepare(path, ready, repo="a/b", added=[tmp_path / "my_net.py"])
    assert contents.notes == () and "my_net.py" in contents.names


def test_a_damaged_network_is_not_sent(run, ready):
    content = bytearray((run / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (run / "model.safetensors").write_bytes(content)
    with pytest.raises(InputError, match="do not match its digest"):
        prepare(run / "model.safetensors", ready, repo="a/b")
