from dataclasses import replace

import yaml

from models import artefact
from models.card import hub_data
from models.card.beside import Beside, Onnx


def test_metadata_are_what_the_hub_reads(handed):
    card = artefact.read_card(handed / "model.safetensors")
    beside = Beside(onnx=(Onnx(name="a.onnx", uint8_input=False),))
    told = yaml.safe_load(hub_data.build(card, "flowers: [x]", beside, "mit").to_yaml())
    assert (told["library_name"], told["pipeline_tag"], told["license"]) == ("heartcut", "image-classification", "mit")
    assert told["tags"] == ["image-classification", "heartcut", "knowledge-distillation", "onnx"]
    (model,) = told["model-index"]
    assert model["name"] == "flowers: [x]"
    results = {result["dataset"]["split"]: result["metrics"][0] for result in model["results"]}
    assert set(results) == set(card.scores)
    for split, score in card.scores.items():
        metric = results[split]
        assert metric["value"] == score.accuracy and metric["verified"] is False
        assert metric["args"] == {
            "correct": score.correct,
            "total": score.total,
            "interval_95": list(score.interval),
        }


def test_without_scores_and_licence_nothing_is_claimed(handed):
    card = replace(artefact.read_card(handed / "model.safetensors"), scores={}, lineage={})
    told = yaml.safe_load(hub_data.build(card, "x", Beside(), None).to_yaml())
    assert set(told) == {"library_name", "pipeline_tag", "tags"}
    assert hub_data.data_name(card) == "a data set that is not named in the file"


def test_a_network_with_many_zeros_or_fewer_channels_is_pruned(handed):
    card = artefact.read_card(handed / "model.safetensors")
    sparse = replace(card, cost=replace(card.cost, nonzero=card.cost.parameters // 2))
    cut = replace(card, pruned=True)
    assert [("pruned" in hub_data.tags(one, Beside())) for one in (card, sparse, cut)] == [False, True, True]


def test_sources_have_names():
    from data_pipes.spec import SOURCES

    assert set(hub_data.DATA) <= set(SOURCES)  # others are told as they are spelt in a config
