from dataclasses import replace

from models import artefact
from models.card import facts


def card_of(handed, **changes):
    return replace(artefact.read_card(handed / "model.safetensors"), **changes)


def test_the_description_says_what_it_is(handed):
    card = card_of(handed)
    said = facts.description(card)
    assert said.startswith("An image classifier of 4 classes for images of 12 x 12 pixels (height x width, grey)")
    assert f"{card.cost.parameters:,} parameters (distilled from a teacher)" in said
    half = replace(card, cost=replace(card.cost, parameters=200, nonzero=100), pruned=True, lineage={})
    assert facts.description(half).endswith("(channels were cut, 50.0 % of its parameters are zero).")


def test_limits_say_what_was_not_checked(handed):
    said = " ".join(facts.limits(card_of(handed)))
    assert "Trained on a folder of images" in said and "one seed" in said and "optimistic" in said
    assert "no accuracy on a test split" not in said
    assert "no accuracy on a test split" in " ".join(facts.limits(card_of(handed, scores={})))
    adopted = " ".join(facts.limits(card_of(handed, lineage={"stage": "adopt", "adopted_from": "a.pth"})))
    known = {"stage": "adopt", "source": "folder", "data": "f" * 64}
    assert "Trained on a folder of images" in facts.limits(card_of(handed, lineage=known))[0]
    assert "come from elsewhere" in adopted and "one seed" not in adopted and "optimistic" not in adopted


def test_the_origin_names_files_without_folders(handed):
    rows = dict(facts.origin(card_of(handed), "ab" * 32))
    assert rows["teacher"] == r"t\.safetensors" and rows["SHA-256 of the file"] == "ab" * 32
    assert "alice" not in str(rows)
    own = card_of(handed, code_sha256="d" * 64)
    assert "d" * 64 in dict(facts.origin(own, "x")).values()


def test_the_last_part_of_a_path_of_any_system():
    paths = ("/home/a/t.safetensors", r"C:\users\a\t.safetensors", "runs/t.safetensors", "t.safetensors")
    assert {facts.file_name(path) for path in paths} == {"t.safetensors"}
