"""Any network is cut, or refused in one sentence. The lists are long; a few members of each run in every test run."""

import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import network_lists
from configs.errors import UserError
from network_trial import trial
from trait_networks import NETWORKS, SIZE
from trait_trial import cut_to_half

REFUSED = {
    "LSTM head": r"not cut: rnn \(LSTM is not cut\), a \(rnn \(LSTM\) is not cut\); raise the budget",
    "tied weights": r"not cut: a \(its weight is tied to another layer's\)",
    "a tuple of outputs": "output is a tuple, but logits .* are needed; wrap it in a module",
    "a dict of outputs": "output is a dict with logits, but logits .* are needed; wrap it in a module",
    "bilinear": r"no layer that can be cut.*; not cut: b \(Bilinear is not cut\)",
}
WHOLE = [
    "weight_norm",
    "spectral_norm",
    "a gain beside the weight",
    "instance norm",
    "grouped, group norm and shuffled",
    "split halves",
    "unequal parts",
    "depthwise multiplier",
    "transposed twice",
    "a parameter as kernel",
    "attention in plain torch",
    "non-local block",
    "flattened head",
    "dynamic control flow",
    "features cached in lists",
    "a module used twice",
]


@pytest.mark.parametrize("name", WHOLE)
def test_unusual_networks_are_cut_saved_loaded_and_trained(name):
    cut_to_half(NETWORKS[name], SIZE)


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_cut_is_said_in_one_sentence_with_the_layer(name):
    with pytest.raises(UserError, match=REFUSED[name]) as refusal:
        cut_to_half(NETWORKS[name], SIZE)
    assert is_sentence(str(refusal.value))


def is_sentence(message: object) -> bool:
    return bool(re.fullmatch(r"[^\n]{20,600}", str(message))) and "Error(" not in str(message)


@pytest.mark.slow
def test_at_least_eighty_unusual_networks_are_cut_and_the_others_refused():
    refused = []
    for name, make in NETWORKS.items():
        try:
            cut_to_half(make, SIZE)
        except UserError as error:
            assert is_sentence(error)
            refused.append(name)
    assert len(NETWORKS) - len(refused) >= 80, refused


@pytest.mark.slow
def test_networks_of_torchvision_and_timm_are_cut():
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(trial, network_lists.NAMES))
    text = network_lists.table(results)
    print(text)
    if "HEARTCUT_TABLE" in os.environ:
        Path(os.environ["HEARTCUT_TABLE"]).write_text(text)
    assert not [result for result in results if result["outcome"] not in ("whole", "refused")]
    assert all(is_sentence(result["message"]) for result in results if result["outcome"] == "refused")
    whole = [str(result["name"]).partition("/")[0] for result in results if result["outcome"] == "whole"]
    assert whole.count("torchvision") >= 31
    assert whole.count("timm") >= 56
