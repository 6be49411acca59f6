"""No test knows the code that another one named."""

import pytest

from models.own import registry


@pytest.fixture(autouse=True)
def nothing_named():
    registry.forget()
    yield
    registry.forget()
