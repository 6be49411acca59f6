"""The README's 'Course assignments', command by command, on the courses' files in small."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import course_files
import forked
from models import artefact
from models.pruning.masks import Masks
from toy_sets import write_cifar, write_food11, write_idx

pytestmark = pytest.mark.launcher
ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SECTION = README.partition("## Course assignments")[2].partition("\n## ")[0]
FOOD, FASHION, CIFAR = (block.splitlines() for block in re.findall(r"```bash\n(.*?)```", SECTION, flags=re.DOTALL))
ENOUGH = ["--batch_size", "16", "--optim.warmup_epochs", "0", "--data.threads", "1", "--track.pictures", "false"]
# What a test cannot wait for, by the commands that take it.
SMALLER = {
    "train.distill": ["--epochs", "1", *ENOUGH],
    "train.prune": ["--epochs", "1", "--final_epochs", "1", "--prune.steps", "1", *ENOUGH],
}
PRELUDE = "import os; os.environ['COLUMNS'] = '120'"


def carry_out(lines: list[str], folder: Path, *smaller: str) -> dict[str, forked.Ended]:
    """The commands in a folder, one after another; by module, how each ended."""
    (folder / "configs").symlink_to(ROOT / "configs")
    found = {}
    for line in lines:
        python, dash, module, *words = shlex.split(line)
        assert (python, dash) == ("python", "-m")
        words += [*SMALLER.get(module, ()), *(smaller if module.startswith("train.") and module in SMALLER else ())]
        found[module] = forked.run(module, *words, prelude=PRELUDE, cwd=folder)
        assert found[module].code == 0, f"{line}\n{found[module].stderr}"
    return found


def test_food_11(tmp_path: Path) -> None:
    write_food11(tmp_path / "food11")
    course_files.save(tmp_path / "food11", "food")
    small = ("--data.image_size", "[64, 64]", "--distill.teacher_check", "11")
    carry_out(FOOD, tmp_path, *small)
    lines = (tmp_path / "submission.csv").read_text().splitlines()
    assert lines[0] == "Id,Category" and [line[:5] for line in lines[1:]] == ["0000,", "0001,", "0002,"]
    _, card = artefact.load(tmp_path / "runs" / "student" / "model.safetensors")
    code = "import student; print(sum(p.numel() for p in student.get_student_model().parameters()))"
    words = [sys.executable, "-c", code]
    alone = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert int(alone.stdout) == card.cost.parameters == 58_755


def test_fashion_mnist(tmp_path: Path) -> None:
    write_idx(tmp_path / "data" / "FashionMNIST" / "raw", zipped=True, n=20)
    course_files.save(tmp_path, "fashion")
    found = carry_out(FASHION, tmp_path)
    lines = (tmp_path / "pred.csv").read_text().splitlines()
    assert lines[0] == "id,pred" and [line.partition(",")[0] for line in lines[1:]] == [str(n) for n in range(20)]
    net, card = artefact.load(tmp_path / "runs" / "cut" / "model.safetensors")
    assert Masks.of(net).free_entries(net) == 100_000 and card.cost.parameters > 11_000_000
    assert "100,000" in found["models.cost"].stdout
    adopted = artefact.read_card(tmp_path / "teacher.safetensors")
    assert adopted.model.stem == "keep" and adopted.input_CHW == (3, 28, 28) and "validation" in adopted.scores


def test_cifar_10(tmp_path: Path) -> None:
    write_cifar(tmp_path / "data" / "cifar-10-batches-py")
    course_files.save(tmp_path, "cifar")
    carry_out(CIFAR, tmp_path)
    assert artefact.read_card(tmp_path / "resnet20.safetensors").model.name == "resnet_cifar"
