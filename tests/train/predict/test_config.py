"""The config of train.predict."""

import pytest

from configs.errors import UsageError
from data_pipes.spec import DataSpec
from train.predict.config import PredictConfig

DATA = DataSpec(source="digits", image_size=(8, 8), mean=(0.3,), std=(0.4,))


def test_a_batch_of_nothing_is_refused():
    with pytest.raises(UsageError, match="batch_size is 0; it must be from 1 to"):
        PredictConfig(run_dir="r", data=DATA, batch_size=0)
    assert PredictConfig(run_dir="r", data=DATA, batch_size=1).category == "index"


@pytest.mark.parametrize("columns", ["Id", "a,b,c", "Id,", " ,x"])
def test_the_header_has_two_names(columns):
    with pytest.raises(UsageError, match=r"columns is .*; it must be two names"):
        PredictConfig(run_dir="r", data=DATA, columns=columns)


def test_a_run_or_a_file_is_needed_and_images_have_no_splits():
    with pytest.raises(UsageError, match="weights is None"):
        PredictConfig(data=DATA)
    assert PredictConfig(weights="w", data=DATA).run_dir is None
    with pytest.raises(UsageError, match="split is 'test'; it must be auto with images"):
        PredictConfig(weights="w", data=DATA, images="photos", split="test")
