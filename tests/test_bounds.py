"""The environments in which `make bounds` runs the tests."""

import sys

import pytest

import bounds


def test_every_requirement_has_a_lower_bound_that_can_be_installed():
    pins = bounds.at_lower_bounds(bounds.requirements())
    assert "torch==2.11" in pins and len(pins) == len(bounds.requirements()) > 20
    assert not any(";" in pin for pin in pins)


def test_a_requirement_without_a_lower_bound_is_named():
    with pytest.raises(ValueError, match="without a lower bound: timm<2"):
        bounds.at_lower_bounds(["torch>=2.11", "timm<2"])


def test_a_python_that_is_not_here_is_left_out(monkeypatch):
    monkeypatch.setitem(bounds.ENVIRONMENTS, "future", bounds.Environment("9.9"))
    assert bounds.check("future") == "future: left out, no Python 9.9 here"


def test_this_python_is_found():
    assert bounds.interpreter(f"{sys.version_info[0]}.{sys.version_info[1]}")


def test_an_unknown_environment_is_refused(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["bounds.py", "low"])
    with pytest.raises(SystemExit, match="unknown: low; there are lowest, gpu-machine, newest"):
        bounds.main()
