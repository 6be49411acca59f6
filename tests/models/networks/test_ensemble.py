"""Mean probabilities, and specs that no ensemble has."""

import pytest
import torch
from torch import nn

from configs.errors import UsageError
from models.networks.ensemble import MOST, Ensemble, spec, specs
from models.spec import ModelSpec


def test_logits_are_the_logarithm_of_the_mean_probabilities_however_large_they_are():
    one, two = nn.Identity(), nn.Flatten()
    logits_BK = torch.tensor([[0.0, 1.0, -2.0], [1e4, 0.0, -1e4]])
    torch.testing.assert_close(Ensemble([one, two])(logits_BK), logits_BK.log_softmax(1))
    torch.testing.assert_close(Ensemble([one, nn.Softmax(1)])(logits_BK).exp().sum(1), torch.ones(2))


def test_specs_are_those_of_the_members():
    members = [ModelSpec(name="resnet_small", depth=8, widths=(4, 5, 6)), ModelSpec(name="timm/resnet10t", stem="keep")]
    assert specs(spec(members).kwargs) == members


SMALL = {"name": "resnet_small", "depth": 8}


@pytest.mark.parametrize(
    "kwargs",
    [
        {},
        {"members": []},
        {"members": [SMALL] * (MOST + 1)},
        {"members": [SMALL], "more": 1},
        {"members": [SMALL | {"depth": "8"}]},
        {"members": [SMALL | {"layers": 8}]},
        {"members": ["resnet_small"]},
        {"members": [{"name": "other.py:Net"}]},
        {"members": [{"name": "other.safetensors"}]},
        {"members": [{"name": "timm/resnet10t", "pretrained": True}]},
    ],
    ids=lambda kwargs: str(kwargs)[:60],
)
def test_specs_that_no_ensemble_has_are_refused(kwargs):
    with pytest.raises(UsageError, match="ensemble"):
        specs(kwargs)
