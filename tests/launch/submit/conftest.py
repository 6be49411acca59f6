"""Fixtures of these tests."""

import pytest

from submit_stubs import Cluster


@pytest.fixture
def site(tmp_path, monkeypatch):
    return Cluster(tmp_path).enter(monkeypatch)
