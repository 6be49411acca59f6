import importlib.util
import shutil

import pytest

from models import artefact
from models.card.beside import Onnx, find


@pytest.fixture
def folder(handed, tmp_path):
    return shutil.copytree(handed, tmp_path / "run")


def found(folder):
    weights = folder / "model.safetensors"
    return find(folder, artefact.sha256(weights), weights=weights)


def test_exports_of_the_network_are_found_and_others_are_named(folder):
    sha256 = artefact.sha256(folder / "model.safetensors")
    for name, own in (("student", sha256), ("old", "0" * 64), ("alone", sha256)):
        (folder / f"{name}.py").write_text(f'"""x"""\nimport torch\n\nARTEFACT_SHA256 = {own!r}\n')
    for name in ("student.pt", "old.pt"):
        (folder / name).write_bytes(b"")
    (folder / "my_net.py").write_text("import torch\n")
    (folder / "damaged.onnx").write_bytes(b"\x0aabc")
    beside = found(folder)
    assert beside.weights == "model.safetensors"
    assert beside.onnx == (Onnx(name="model.onnx", uint8_input=False), Onnx(name="pixels.onnx", uint8_input=True))
    assert beside.sources == ("student.py",) and beside.others == ("damaged.onnx", "old.py")
    assert beside.names == ["model.safetensors", "model.onnx", "pixels.onnx", "student.py", "student.pt"]


def test_another_network_in_its_place_makes_all_of_them_others(folder):
    net, card = artefact.load(folder / "model.safetensors")
    net.fc.bias.data += 1
    artefact.save(folder / "model.safetensors", net, card)
    beside = found(folder)
    assert beside.names == ["model.safetensors"] and beside.others == ("model.onnx", "pixels.onnx")


def test_a_network_elsewhere_is_not_beside(folder, handed):
    sha256 = artefact.sha256(handed / "model.safetensors")
    beside = find(folder, sha256, weights=handed / "model.safetensors")
    assert beside.weights is None and len(beside.onnx) == 2


def test_without_the_package_onnx_files_are_others(folder, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert found(folder).others == ("model.onnx", "pixels.onnx")
