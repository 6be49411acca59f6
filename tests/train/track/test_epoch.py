"""The row of an epoch has the promised names, and the profile names the largest part."""

from pathlib import Path

import pytest

from train.evaluate.metrics import Scores
from train.track import epoch
from train.track.tracker import CURVES, STEP_CURVES, TEACHER_CURVES

SECONDS = {"data": 6.0, "teacher": 2.0, "step": 1.5, "evaluation": 0.5, "training": 9.5}
SCORES = Scores(confusion=((3, 1), (0, 4)), top5=8, agreed=6, loss_sum=4.0)
MEANS = {"loss": 0.5, "accuracy": 0.75, "gradient_norm": 2.0}


def row(*, taught: bool) -> dict[str, float]:
    return epoch.row(MEANS, SECONDS, SCORES, lr=0.1, images=190, taught=taught, compared=taught)


def test_the_names_are_those_that_readers_may_rely_on():
    assert row(taught=False).keys() | {"epoch", "train/step"} == {*CURVES}
    assert row(taught=True).keys() - row(taught=False).keys() == {*TEACHER_CURVES} - {"train/agreement"}


def test_the_documentation_explains_every_name():
    text = (Path(__file__).parents[3] / "docs" / "metrics.md").read_text()
    assert not [name for name in (*CURVES, *TEACHER_CURVES, *STEP_CURVES) if f"`{name}`" not in text]


def test_the_values_are_what_was_measured():
    found = row(taught=True)
    assert (found["validation/loss"], found["validation/accuracy"], found["validation/agreement"]) == (
        0.5,
        7 / 8,
        6 / 8,
    )
    assert found["train/images_per_second"] == 20 and found["train/lr"] == 0.1 and found["train/loss"] == 0.5
    assert found["seconds/teacher"] == 2


@pytest.mark.parametrize("part", epoch.LIMITS)
def test_the_largest_part_limits_the_run(part):
    seconds = SECONDS | {part: 7.0}
    assert epoch.limit(seconds) == part and epoch.LIMITS[part] in epoch.profile(seconds)


def test_the_profile_is_one_line_of_shares():
    assert epoch.profile(SECONDS).startswith(
        "of 10.0 s per epoch: data 60 %, teacher 20 %, step 15 %, evaluation 5 %; "
    )
    assert "teacher" not in epoch.profile(SECONDS | {"teacher": 0.0})


def test_nothing_limits_an_epoch_that_is_over_at_once():
    assert epoch.limit({part: 0.01 * value for part, value in SECONDS.items()}) is None
