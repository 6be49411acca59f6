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
    main = Path(found.origin) if not found.submodule_search_locations else Path(found.origin).with_name("__main__.py")
    text, known = "".join(main.read_text().split()), commands.COMMANDS[command]
    assert is_dataclass(known.config) and f"reader.read({known.config.__name__}," in text
    assert ("other_sections=True" in text) == known.other_sections


@pytest.mark.parametrize(
    ("word", "answer"), [("train.destill", "did you mean train.distill?"), ("zzz", "valid here: train.teacher, ")]
)
def test_another_name_is_answered_with_the_right_one(word, answer):
    with pytest.raises(UsageError, match=rf"^{word} is not a command; {answer}"):
        commands.find(word)


def test_the_valid_names_depend_on_what_is_asked():
    assert set(commands.SWEPT) < set(commands.SUBMITTED) < set(commands.COMMANDS)
    assert commands.find("train.cache", commands.SUBMITTED) is commands.COMMANDS["train.cache"]
    with pytest.raises(UsageError, match=r"^train\.cache is not a command; valid here: train\.distill"):
        commands.find("train.cache", ["train.distill"])


def test_nothing_here_loads_torch():
    modules = "launch.points.grid, launch.slurm.sbatch, launch.commands"
    code = f"import sys, {modules}; print({{'torch', 'timm', 'cv2', 'accelerate'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "set()"
