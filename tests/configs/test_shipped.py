"""Every file in configs/ is read by its command, and says how to run it, what it costs and what to expect."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from configs import reader
from data_pipes.preview import PreviewConfig
from train.compress.config import CompressConfig
from train.config import DistillConfig, RunSpec, TeacherConfig, TrainConfig
from train.evaluate.config import EvaluateConfig
from train.predict.config import PredictConfig
from train.prune.config import PruneConfig

OTHERS = ("accelerate", "slurm", "sweep")
FILES = sorted(
    file for file in (Path(__file__).parents[2] / "configs").glob("*/*.yaml") if file.parent.name not in OTHERS
)
STAGES: dict[str, type[TrainConfig]] = {"teacher": TeacherConfig, "distill": DistillConfig}
COMMANDS: dict[str, type[RunSpec]] = {
    **STAGES,
    "prune": PruneConfig,
    "prune_unstructured": PruneConfig,
    "compress": CompressConfig,
    "compress_gpu": CompressConfig,
}


def test_all_data_sets_have_both_stages() -> None:
    names = {(file.parent.name, file.stem) for file in FILES}
    assert names >= {(d, s) for d in ("digits", "fashion_mnist", "cifar10", "food11", "photos") for s in STAGES}


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_file(file: Path) -> None:
    config = reader.read(COMMANDS[file.stem], ["--config", str(file)], prog="x", description="x")
    assert reader.flat(config)["run_dir"] == f"runs/{file.parent.name}/{file.stem}"
    header = [line for line in file.read_text().splitlines() if line.startswith("#")]
    text = "\n".join(header)
    assert f"python -m train.{file.stem.partition('_')[0]} --config configs/{file.parent.name}/{file.name}" in text
    assert "cost" in text.lower()
    assert any(word in text.lower() for word in ("expect", "measured"))


@pytest.mark.parametrize("cls", [EvaluateConfig, PredictConfig, PreviewConfig])
@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_other_commands_take_the_same_file(cls: type, file: Path) -> None:
    words = ["--config", str(file)]
    words += [] if cls is PreviewConfig else ["--run_dir", "runs/x"]
    config = reader.read(cls, words, prog="x", description="x", other_sections=True)
    assert config.data.source == yaml.safe_load(file.read_text())["data"]["source"]


def test_the_stages_of_the_fashion_mnist_recipe_are_those_of_the_whole() -> None:
    files = {file.stem: str(file) for file in FILES if file.parent.name == "fashion_mnist"}
    whole = reader.read(CompressConfig, ["--config", files["compress"]], prog="x", description="x")
    for stage, cls, name in ((whole.distillation(), DistillConfig, "distill"), (whole.cutting(), PruneConfig, "prune")):
        alone = reader.flat(reader.read(cls, ["--config", files[name]], prog="x", description="x"))
        differing = {key for key, value in reader.flat(stage).items() if alone[key] != value}
        assert differing <= {"run_dir", "track.group", "student.name"}


def test_photographs_are_never_upside_down_and_take_at_most_100_epochs() -> None:
    files = {file.stem: file for file in FILES if file.parent.name == "photos"}
    assert files.keys() == {"teacher", "distill", "compress"}
    configs = [reader.read(STAGES[stem], ["--config", str(files[stem])], prog="x", description="x") for stem in STAGES]
    whole = reader.read(CompressConfig, ["--config", str(files["compress"])], prog="x", description="x")
    for config in (*configs, whole.training(), whole.distillation(), whole.cutting()):
        assert config is not None
        augment = config.data.augment
        assert augment.vertical_flip == 0 and augment.rotation <= 15 and augment.affine == 0, config.run_dir
        assert augment.horizontal_flip == 0.5 and augment.crop_scale is not None
        assert config.epochs <= 100
    cuts = whole.cutting()
    assert cuts.epochs * (cuts.prune.steps - 1) + (cuts.final_epochs or 0) <= 100


def test_the_recipe_of_the_best_food_student() -> None:
    file = next(file for file in FILES if file.parent.name == "food11" and file.stem == "distill")
    config = reader.read(DistillConfig, ["--config", str(file)], prog="x", description="x")
    augment, distill = config.data.augment, config.distill
    assert (distill.temperature, distill.alpha, distill.needs_features) == (20, 0.5, True)
    assert augment.crop_scale == (0.7, 1.0)
    assert (augment.horizontal_flip, augment.vertical_flip, augment.rotation, augment.affine) == (0.5, 0.5, 180, 30)
    assert (config.optim.clip_norm, config.patience, config.optim.weight_decay) == (10, 60, 1e-5)
