"""State dicts are found where checkpoints keep them."""

import pytest
import torch
from safetensors.torch import save_file

import tiny_digits
from configs.errors import InputError, UsageError
from models.adopt import weight_file

STATE = {"fc.weight": torch.arange(6.0).reshape(2, 3), "fc.bias": torch.zeros(2)}


def written(folder, content, name="n.pth"):
    torch.save(content, folder / name)
    return folder / name


@pytest.mark.parametrize("entry", ["state_dict", "model_state_dict", "model", "net", "ema", "anything"])
def test_a_nested_state_dict_is_found(tmp_path, entry):
    path = written(tmp_path, {"epoch": 1, "optimizer": {"state": {"m": torch.ones(2, 2)}}, entry: STATE, "best": 0.5})
    found = weight_file.read(path)
    assert found.entry == entry and torch.equal(found.tensors["fc.weight"], STATE["fc.weight"])


def test_the_usual_entry_is_taken_of_several_and_another_on_request(tmp_path):
    other = {name: tensor + 1 for name, tensor in STATE.items()}
    path = written(tmp_path, {"ema": other, "model": {"state_dict": STATE}})
    found = weight_file.read(path)
    assert found.entry == "model.state_dict" and found.others == ("ema",)
    assert torch.equal(weight_file.read(path, entry="ema").tensors["fc.bias"], torch.ones(2))
    with pytest.raises(UsageError, match=r"no state dict 'x'; it has 'ema', 'model\.state_dict'"):
        weight_file.read(path, entry="x")


@pytest.mark.parametrize("at", ["state_dict", "anything", "checkpoint.model"])
def test_a_matrix_beside_the_state_dict_does_not_hide_it(tmp_path, at):
    content = STATE
    for name in reversed(at.split(".")):
        content = {"confusion": torch.ones(3, 3), name: content, "epoch": 3}
    path = written(tmp_path, content)
    found = weight_file.read(path, entry="anything" if at == "anything" else None)
    assert found.entry == at and set(found.tensors) == set(STATE) and "" in found.others
    assert set(weight_file.read(path, entry="").tensors) == {"confusion"}


def test_what_a_layer_of_a_bare_state_dict_keeps_is_not_taken_for_it(tmp_path):
    path = written(tmp_path, STATE | {"fc._extra_state": {"scale": torch.ones(2, 2)}})
    assert weight_file.read(path).entry == "" and weight_file.read(path).others == ("fc._extra_state",)


@pytest.mark.parametrize("name", ["n.pth", "n.pt", "n.ckpt", "n.th", "n.bin", "model_best.pth.tar"])
def test_a_bare_state_dict_is_read_whatever_its_ending(tmp_path, name):
    found = weight_file.read(written(tmp_path, STATE, name))
    assert found.entry == "" and set(found.tensors) == set(STATE)


def test_safetensors_of_others_are_read_and_told_from_ours(tmp_path):
    save_file(STATE, tmp_path / "n.safetensors")
    assert set(weight_file.read(tmp_path / "n.safetensors").tensors) == set(STATE)
    assert not weight_file.is_ours(tmp_path / "n.safetensors")
    assert weight_file.is_ours(tiny_digits.save(tmp_path / "ours.safetensors"))
    assert not weight_file.is_ours(tmp_path / "absent.pth")


def test_parameters_come_without_gradients(tmp_path):
    path = written(tmp_path, {"fc.weight": torch.nn.Parameter(torch.ones(2, 2))})
    assert not weight_file.read(path).tensors["fc.weight"].requires_grad


def test_what_is_no_file_of_weights_is_refused(tmp_path):
    cases = {
        "lists": ([1, 2], "holds a list rather than a state dict"),
        "empty": ({"epoch": 3, "args": {}}, "holds no state dict; its entries are 'epoch', 'args'"),
        "model": ({"model": torch.nn.Linear(1, 1)}, r"weights_only=False\)\['model'\]"),
    }
    for name, (content, message) in cases.items():
        with pytest.raises(InputError, match=message):
            weight_file.read(written(tmp_path, content, f"{name}.pth"))
    with pytest.raises(InputError, match="does not exist; give a file of weights"):
        weight_file.read(tmp_path / "absent.pth")
    with pytest.raises(InputError, match="is a folder"):
        weight_file.read(tmp_path)
    (tmp_path / "bad.safetensors").write_bytes(b"12345678")
    with pytest.raises(InputError, match="not a safetensors file"):
        weight_file.read(tmp_path / "bad.safetensors")
