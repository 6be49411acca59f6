"""The order of the parts, and their time limits."""

from importlib.util import find_spec

from launch.bench.gpu.command import MACHINE_SECONDS
from launch.bench.gpu.config import GpuConfig
from launch.bench.gpu.order import NAMES, PARTS


def test_all_parts_together_may_take_as_long_as_the_command():
    minutes = GpuConfig().minutes
    assert minutes == 25
    assert MACHINE_SECONDS + sum(part.seconds for part in PARTS) <= 60 * minutes


def test_turned_photographs_come_first_and_every_part_has_its_module():
    assert NAMES[0] == "exif" and len(set(NAMES)) == len(NAMES)
    assert all(find_spec(f"launch.bench.gpu.parts.{part.module}") for part in PARTS)
