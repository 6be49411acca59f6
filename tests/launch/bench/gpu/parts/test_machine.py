"""What is here."""

import platform

from launch.bench.gpu.parts import machine


def test_the_machine_in_a_line():
    found = machine.look()
    assert found["gpus"] == [] and "no GPU" in found["machine"] and "\n" not in found["machine"]
    assert f"Python {platform.python_version()}" in found["machine"]
