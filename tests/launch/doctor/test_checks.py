"""A finding that is not ok always says what to do."""

import pytest

from launch.doctor.checks import Check, first_line, limit


@pytest.mark.parametrize("level", ["warning", "problem"])
def test_bad_news_without_advice_is_refused(level):
    with pytest.raises(AssertionError, match="disk"):
        Check("disk", level, "full")
    assert Check("disk", level, "full", "make room").level == level
    assert Check("disk", "ok", "empty").advice == ""


def test_advice_is_given_only_where_it_is_needed():
    assert limit("disk", "1 GB", good=True, advice="make room") == Check("disk", "ok", "1 GB")
    assert limit("disk", "1 GB", good=False, advice="make room") == Check("disk", "warning", "1 GB", "make room")


def test_an_error_is_told_in_one_line():
    assert first_line(RuntimeError("CUDA error: out of memory\nFor debugging, ...")) == "CUDA error: out of memory"
    assert first_line(ValueError()) == "ValueError"
