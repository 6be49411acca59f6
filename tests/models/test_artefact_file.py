"""The bytes of an artefact: equal for equal contents, and checked when they are read."""

import json

import pytest
import torch
from safetensors.torch import save_file

from configs.errors import InputError
from models import artefact_file
from models.artefact_file import FORMAT, compose, digest, parse, read, read_card

CARD = {"model": "x", "classes": ["a", "b"]}


def tensors():
    weight = torch.zeros(64, 64)
    weight[0, :3] = torch.tensor([1.0, -0.0, 2.0])
    return {"weight": weight, "bias": torch.arange(3.0), "steps": torch.tensor(7)}


def written(path, card=CARD, **header):
    metadata = {"format": FORMAT, "card": card, "digest": digest(card, tensors()), "packed": {}} | header
    save_file(tensors(), path, metadata={"heartcut": json.dumps(metadata)})
    return path


def test_contents_are_read_back_bit_for_bit(tmp_path):
    path = tmp_path / "a.safetensors"
    content = compose(CARD, tensors())
    path.write_bytes(content)
    assert len(content) < 4 * 64 * 64  # packed
    for found in (read(path), parse(path, content)):
        found.require_intact(path)
        assert found.card == CARD == read_card(path)
        for name, tensor in tensors().items():
            assert found.tensors[name].numpy().tobytes() == tensor.numpy().tobytes()


def test_equal_contents_give_equal_bytes_and_digests_whatever_the_order():
    backwards = dict(reversed(tensors().items()))
    assert compose(CARD, tensors()) == compose(dict(reversed(CARD.items())), backwards)
    assert digest(CARD, tensors()) == digest(CARD, backwards)
    for card, other in ((CARD | {"model": "y"}, {}), (CARD, {"bias": torch.arange(3.0) + 1})):
        assert digest(card, tensors() | other) != digest(CARD, tensors())


def test_a_file_with_other_contents_than_its_digest_is_refused(tmp_path):
    path = written(tmp_path / "a.safetensors")
    read(path).require_intact(path)  # the control
    path = written(tmp_path / "b.safetensors", digest=digest(CARD, {}))
    with pytest.raises(InputError, match=r"b\.safetensors is damaged: its contents do not match its digest"):
        read(path).require_intact(path)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({"format": FORMAT + 1}, f"has format {FORMAT + 1}, but this Heartcut reads up to {FORMAT}; update Heartcut"),
        ({"format": "x"}, "its header is unreadable"),
        ({"card": 3}, r"its card is unreadable \(3\)"),
        ({"packed": {"weight": [1]}}, "the packed tensor weight is unreadable"),
    ],
)
def test_a_header_that_makes_no_sense_is_refused(tmp_path, header, message):
    with pytest.raises(InputError, match=message):
        read(written(tmp_path / "a.safetensors", **header))


def test_other_files_are_refused(tmp_path):
    with pytest.raises(InputError, match="there is no file"):
        read(tmp_path / "a.safetensors")
    (tmp_path / "text").write_text("hello")
    with pytest.raises(InputError, match="damaged, cut short, or not a safetensors file"):
        artefact_file.read_card(tmp_path / "text")
    save_file(tensors(), tmp_path / "foreign", metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"is not a Heartcut file \(it has format\)"):
        read(tmp_path / "foreign")
