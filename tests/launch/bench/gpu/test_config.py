"""Configs of the command and of a part."""

import pytest

from configs.errors import UsageError
from launch.bench.gpu.config import GpuConfig, PartConfig


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"parts": ("exif", "pixel")}, "parts is 'pixel'; it must be some of exif, tests, "),
     ({"minutes": 0}, "minutes is 0; it must be positive"), ({"output": "docs/gpu"}, "a file that ends in .md"),
     ({"data": "nowhere/at/all"}, "data is 'nowhere/at/all'; it must be a folder that exists")],
)  # fmt: skip
def test_what_is_wrong_is_refused(changes, message):
    with pytest.raises(UsageError, match=message):
        GpuConfig(**changes)


def test_on_a_cpu_a_part_is_small():
    assert PartConfig(device="cpu", work="w", answer="a").small
    assert not PartConfig(device="cuda", work="w", answer="a").small
