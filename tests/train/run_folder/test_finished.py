"""A run that is marked as done is whole, or its command says what is not."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import tiny_digits
from configs.errors import InputError
from train.run_folder import result


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a teacher and a finished run."""
    home = tmp_path_factory.mktemp("home")
    tiny_digits.save(home / "teacher.safetensors")
    tiny_digits.train(home, "run", "--epochs", "1")
    return home


def test_it_says_that_nothing_was_trained(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (trained / "run" / "metrics.jsonl").read_bytes()
    tiny_digits.train(trained, "run", "--epochs", "1")
    assert f"{trained / 'run'} is finished already: nothing was trained" in capsys.readouterr().err
    assert (trained / "run" / "metrics.jsonl").read_bytes() == before


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def other_bytes(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-4] + b"\0\0\0\0")


DAMAGES: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "no weights": ("model.safetensors", Path.unlink, "give the path of a saved .safetensors file"),
    "half the weights": ("model.safetensors", cut_short, "damaged"),
    "other weights": ("model.safetensors", other_bytes, "do not match its digest"),
    "weights of another run": ("model.safetensors", tiny_digits.save, "is another file than the run has written"),
    "no result": ("result.json", Path.unlink, "cannot be read"),
    "half a result": ("result.json", cut_short, "damaged"),
}


@pytest.mark.parametrize("why", DAMAGES)
def test_what_is_gone_or_damaged_is_named_and_can_be_written_again(trained: Path, tmp_path: Path, why: str) -> None:
    name, damage, message = DAMAGES[why]
    run = shutil.copytree(trained / "run", tmp_path / "run")
    whole = (trained / "run" / "model.safetensors").read_bytes()
    damage(run / name)
    with pytest.raises(InputError, match=rf"{name}.*{message}.*or delete {run / 'done'}"):
        tiny_digits.train(trained, run, "--epochs", "1")
    (run / "done").unlink()
    tiny_digits.train(trained, run, "--epochs", "1")
    result.read(run)
    assert (run / "model.safetensors").read_bytes() == whole
