"""Commands are modules with a main of their own, and a wrong name is answered with the right one."""

import importlib.util
import subprocess
import sys
from dataclasses import is_dataclass
from pathlib import Path

import pytest

from configs.errors import UsageError
from launch import commands

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("command", commands.COMMANDS)
def test_each_command_is_a_module_that_reads_this_config(command):
    found = importlib.util.find_spec(command)
    assert found is not None and found.origin is not None
    config = commands.config_class(command)
    assert is_dataclass(config) and f"reader.read({config.__name__}," in Path(found.origin).read_text()


@pytest.mark.parametrize(
    ("word", "answer"), [("train.destill", "did you mean train.distill?"), ("zzz", "valid here: train.teacher, ")]
)
def test_another_name_is_answered_with_the_right_one(word, answer):
    with pytest.raises(UsageError, match=rf"^{word} is not a command; {answer}"):
        commands.config_class(word)


def test_nothing_here_loads_torch():
    code = "import sys, launch.grid, launch.sbatch; print({'torch', 'timm', 'cv2', 'accelerate'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "set()"
