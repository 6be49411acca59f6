import pytest

from configs.errors import UsageError
from models.spec import ModelSpec


def test_what_is_valid_passes():
    assert ModelSpec(name="nin", widths=(1,), dropout=0.0) == ModelSpec(name="nin", widths=(1,), dropout=0.0)


@pytest.mark.parametrize(
    "wrong", [{"name": ""}, {"widths": ()}, {"widths": (8, 0)}, {"dropout": 1.0}, {"dropout": -0.1}]
)
def test_what_is_not_is_refused(wrong):
    with pytest.raises(UsageError):
        ModelSpec(**{"name": "nin", **wrong})
