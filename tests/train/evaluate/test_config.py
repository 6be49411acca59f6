"""The config of train.evaluate."""

import pytest

from configs.errors import UsageError
from data_pipes.spec import DataSpec
from train.evaluate.config import EvaluateConfig

DATA = DataSpec(source="digits", image_size=(8, 8), mean=(0.3,), std=(0.4,))


def test_a_batch_of_nothing_is_refused():
    with pytest.raises(UsageError, match="batch_size is 0; it must be from 1 to"):
        EvaluateConfig(run_dir="r", data=DATA, batch_size=0)
    assert EvaluateConfig(run_dir="r", data=DATA, batch_size=1).split == "auto"
