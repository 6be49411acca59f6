"""Two processes see exactly what one process sees, and arrive at the same weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import forked
from models import artefact, counting, zoo
from models.artefact import Card, Score
from models.spec import ModelSpec
from tiny_digits import untimed

DATA = """
data:
  source: digits
  image_size: [16, 16]
  mean: [0.3]
  std: [0.4]
  augment:
    crop_scale: [0.5, 1.0]
    horizontal_flip: 0.5
    rotation: 20
    affine: 10
    translate: [0.1, 0.1]
    erase: 0.5
    mixup: 0.4
    cutmix: 1.0
"""
ACCELERATE = Path(__file__).parents[2] / "configs" / "accelerate"
RECORDER = Path(__file__).with_name("recorder.py")
CPU = "import os; os.environ |= {'OMP_NUM_THREADS': '1', 'CUDA_VISIBLE_DEVICES': ''}"
CLASSES = tuple("0123456789")
# No BatchNorm (its statistics belong to a process) but dropout, mixing, every augmentation, a teacher and float64.
STUDENT = ["--student.name", "nin", "--student.widths", "[6, 6, 6, 8, 8, 8, 8, 8]", "--student.dropout", "0.3"]
TRAINING = ["--epochs", "2", "--batch_size", "100", "--micro_batch_size", "50", "--precision", "float64"]
LOSS = ["--distill.alpha", "0.5", "--distill.hint", "0.5", "--distill.layers", "[[layer1, layer1]]"]


def words(folder: Path, teacher: Path) -> list[str]:
    data = ["--config", str(folder.parent / "data.yaml"), "--teacher", str(teacher)]
    own = ["--run_dir", str(folder / "run")]
    return [str(RECORDER), str(folder / "record"), *data, *STUDENT, *TRAINING, *LOSS, *own]


def launch(folder: Path, teacher: Path) -> forked.Ended:
    """On two processes, as the file for a CPU says."""
    launcher = ["accelerate.commands.launch", "--config_file", str(ACCELERATE / "cpu.yaml")]
    return forked.run(*launcher, *words(folder, teacher), prelude=CPU)


def records(folder: Path, world: int) -> dict[tuple[int, int], Any]:
    """Everything recorded, by (step, slot)."""
    files = sorted((folder / "record").glob("*.jsonl"))
    assert [file.name for file in files] == [f"{rank}-of-{world}.jsonl" for rank in range(world)], "wrong world size"
    lines = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    found = {(line[0], line[1]): line[2:] for line in lines}
    assert len(found) == len(lines), "a micro-batch was computed twice"
    return found


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The folders of the same run on one process and on two."""
    home = tmp_path_factory.mktemp("worlds")
    (home / "data.yaml").write_text(DATA)
    teacher = save_teacher(home / "teacher.safetensors")
    alone = forked.run(*words(home / "one", teacher))
    assert alone.code == 0, alone.stderr[-3000:]
    launched = launch(home / "two", teacher)
    assert launched.code == 0, launched.stderr[-3000:]
    (home / "two" / "stderr").write_text(launched.stderr)
    return home / "one", home / "two"


def save_teacher(path: Path) -> Path:
    spec, input_CHW = ModelSpec(name="resnet_small", depth=8, widths=(4, 8, 8)), (1, 16, 16)
    torch.manual_seed(0)
    net = zoo.build(spec, num_classes=10, input_CHW=input_CHW)
    card = Card(
        model=spec,
        classes=CLASSES,
        input_CHW=input_CHW,
        mean=(0.5,),
        std=(0.5,),
        eval_crop=1.0,
        scores={"validation": Score(correct=1, total=100)},
        cost=counting.measure(net, input_CHW),
    )
    artefact.save(path, net, card)
    return path


@pytest.mark.launcher
def test_same_samples_views_and_pixels(runs: tuple[Path, Path]) -> None:
    one, two = records(runs[0], 1), records(runs[1], 2)
    assert one.keys() == two.keys()
    for place, recorded in one.items():
        assert two[place] == recorded, f"step {place[0]}, slot {place[1]} differs"
    views = {recorded[0] for recorded in one.values()}
    assert views == {0, 1}
    pixels = [recorded[3] for recorded in one.values()]
    assert len(set(pixels)) == len(pixels), "views repeat: the comparison would prove nothing"


@pytest.mark.launcher
def test_no_process_warns_of_anything(runs: tuple[Path, Path]) -> None:
    said = (runs[1] / "stderr").read_text()
    assert "no better than chance" in said, "the line about the teacher, which both processes could write"
    assert "Warning" not in said


@pytest.mark.launcher
def test_each_sample_once_per_epoch(runs: tuple[Path, Path]) -> None:
    for folder, world in zip(runs, (1, 2), strict=True):
        for view in (0, 1):
            seen = [
                index
                for recorded in records(folder, world).values()
                if recorded[0] == view
                for index, real in zip(recorded[1], recorded[2], strict=True)
                if real
            ]
            assert sorted(seen) == list(range(1293))


@pytest.mark.launcher
def test_same_weights_in_float64(runs: tuple[Path, Path]) -> None:
    """The checkpoints hold float64; the artefact is float32 for its users."""
    one, two = (load_file(sorted((folder / "run/checkpoints").glob("*/state.safetensors"))[-1]) for folder in runs)
    assert one.keys() == two.keys()
    weights = [name for name in one if name.startswith("student/")]
    assert all(one[name].dtype == torch.float64 for name in weights)
    worst = max((one[name] - two[name]).abs().max().item() for name in weights)
    assert worst <= 1e-12
    # The control: the run did move the weights, by far more than the bound.
    spec = ModelSpec(name="nin", widths=(6, 6, 6, 8, 8, 8, 8, 8), dropout=0.3)
    torch.manual_seed(0)
    start = zoo.build(spec, num_classes=10, input_CHW=(1, 16, 16)).double().state_dict()
    assert max((one[f"student/net.{name}"] - value).abs().max().item() for name, value in start.items()) > 1e-3


@pytest.mark.launcher
def test_same_measurements_of_an_epoch(runs: tuple[Path, Path]) -> None:
    one, two = (untimed(folder / "run") for folder in runs)
    assert len(one) == len(two) == 2
    for alone, shared in zip(one, two, strict=True):
        assert alone == pytest.approx(shared, rel=1e-9)
        assert {"train/accuracy", "train/agreement", "validation/agreement", "validation/loss"} <= alone.keys()


@pytest.mark.launcher
def test_same_evaluation(runs: tuple[Path, Path]) -> None:
    one, two = (json.loads((folder / "run/result.json").read_text()) for folder in runs)
    assert (one["processes"], two["processes"]) == (1, 2)
    for key in ("accuracy", "validation_accuracy", "accuracy_samples", "best_epoch"):
        assert one[key] == two[key]
