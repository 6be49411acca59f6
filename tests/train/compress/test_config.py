"""Configs of chains: each stage becomes a config of its own, and what is wrong with a later one is said at once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from configs import reader
from configs.errors import UsageError
from data_pipes.spec import AugmentSpec, DataSpec
from models.pruning.spec import Budget, PruneSpec
from models.spec import ModelSpec
from train.compress.config import CompressConfig, CutStage, StudentStage, TeacherStage
from train.config import DistillConfig, TeacherConfig, TrackSpec
from train.loss.config import DistillSpec

COMPRESS = Path(__file__).parents[3] / "configs" / "digits" / "compress.yaml"
DATA = DataSpec(source="digits", image_size=(8, 8), mean=(0.3,), std=(0.4,), augment=AugmentSpec(rotation=10))
CUTS = PruneSpec(budget=Budget(parameters=500), steps=3)
SMALL = ModelSpec(name="resnet_small", depth=8)
FILE = "s.safetensors"
WHOLE: dict[str, Any] = {
    "run_dir": "runs/x",
    "data": DATA,
    "teacher_training": TeacherStage(model=ModelSpec(name="nin"), epochs=3),
    "student": StudentStage(model=SMALL, epochs=4, distill=DistillSpec(temperature=7)),
    "cut": CutStage(prune=CUTS, epochs=5, final_epochs=6),
}


def read(cls: type, *words: str) -> Any:
    return reader.read(cls, ["--config", str(COMPRESS), *words], prog="x", description="x")


# ---- zeros that stay


@pytest.mark.parametrize(
    ("cls", "key", "own"),
    [(TeacherConfig, "model", {}), (DistillConfig, "student", {"teacher": "t.safetensors"})],
    ids=["teacher", "distill"],
)
@pytest.mark.parametrize("network", [ModelSpec(name="nin"), ModelSpec(name=FILE, from_scratch=True)], ids=str)
def test_zeros_stay_only_where_training_starts_from_a_saved_file(cls, key, own, network) -> None:
    given = {"run_dir": "r", "data": DATA, "epochs": 1, **own}
    assert cls(**given, **{key: network}).keep_zeros is False
    with pytest.raises(UsageError, match="keep_zeros is True; it must be false, unless training starts from a saved"):
        cls(**given, **{key: network}, keep_zeros=True)
    assert cls(**given, **{key: ModelSpec(name=FILE)}, keep_zeros=True).keep_zeros


# ---- all stages


def test_every_stage_lies_below_the_run_and_takes_what_the_one_before_left() -> None:
    config = CompressConfig(**WHOLE)
    teaching, distillation, cuts = config.training(), config.distillation(), config.cutting()
    assert teaching is not None
    assert [stage.run_dir for stage in (teaching, distillation, cuts)] == [
        "runs/x/teacher", "runs/x/student", "runs/x/cut",
    ]  # fmt: skip
    assert [stage.epochs for stage in (teaching, distillation, cuts)] == [3, 4, 5] and cuts.final_epochs == 6
    assert (teaching.model.name, distillation.student) == ("nin", SMALL)
    assert distillation.teacher == cuts.teacher == config.teacher_weights == "runs/x/teacher/model.safetensors"
    assert cuts.student == ModelSpec(name="runs/x/student/model.safetensors") and cuts.prune == CUTS
    assert distillation.distill.temperature == cuts.distill.temperature == 7


def test_a_teacher_that_is_there_is_not_trained() -> None:
    config = CompressConfig(**WHOLE | {"teacher": "t.safetensors", "teacher_training": None})
    assert config.training() is None
    assert config.distillation().teacher == config.cutting().teacher == "t.safetensors"


@pytest.mark.parametrize("change", [{"teacher": "t.safetensors"}, {"teacher_training": None}], ids=["both", "none"])
def test_the_teacher_is_given_or_trained(change: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"teacher is .*; it must be a file of weights where there is no section te"):
        CompressConfig(**WHOLE | change)


def test_the_command_line_takes_a_teacher_for_its_training() -> None:
    config = read(CompressConfig, "--teacher", "t.safetensors", "--teacher_training", "null")
    assert config.training() is None and config.teacher_weights == "t.safetensors"
    for words in (["--teacher", "t.safetensors"], ["--teacher_training", "null"]):
        with pytest.raises(UsageError, match=r"a file of weights where there is no section teacher_training"):
            read(CompressConfig, *words)


@pytest.mark.parametrize("stage", ["teacher_training", "student", "cut"])
def test_a_stage_may_have_an_augmentation_of_its_own(stage: str) -> None:
    changed = replace(WHOLE[stage], augment=AugmentSpec(erase=0.5))
    config = CompressConfig(**WHOLE | {stage: changed})
    found = {"teacher_training": config.training(), "student": config.distillation(), "cut": config.cutting()}
    for name, own in found.items():
        assert own is not None
        assert own.data == replace(
            DATA, augment=AugmentSpec(erase=0.5 if name == stage else 0, rotation=10 * (name != stage))
        )
    assert config.cutting().after_cut(1, run_dir="r", student=FILE).data == found["cut"].data
    assert config.data == DATA
    words = [f"--{stage}.augment.erase", "0.5"]
    assert reader.flat(read(CompressConfig, *words))[f"{stage}.augment.erase"] == 0.5


def test_cuts_may_have_a_loss_of_their_own() -> None:
    config = CompressConfig(**WHOLE | {"cut": replace(WHOLE["cut"], distill=DistillSpec(temperature=9))})
    assert (config.distillation().distill.temperature, config.cutting().distill.temperature) == (7, 9)


def test_what_stands_outside_is_for_every_stage() -> None:
    shared = {"seed": 5, "precision": "float64", "checkpoint_steps": 7, "test": False}
    config = CompressConfig(**WHOLE | shared | {"track": TrackSpec(every=3)})
    for stage in (config.training(), config.distillation(), config.cutting()):
        assert stage is not None
        assert {key: getattr(stage, key) for key in shared} == shared
        assert stage.track == TrackSpec(every=3, group="x")
    named = CompressConfig(**WHOLE | {"track": TrackSpec(group="mine")})
    assert named.cutting().after_cut(1, run_dir="r", student=FILE).track.group == "mine"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--cut.final_alpha", "2"], "final_alpha is 2"),
        (["--cut.epochs", "0"], "epochs is 0"),
        (["--cut.prune.kind", "unstructured", "--cut.prune.ranking", "global"], r"prune\.ranking is 'global'"),
        (["--cut.distill.hint", "1"], r"distill\.layers is \(\)"),
        (["--cut.optim.lr", "0"], r"optim\.lr is 0"),
        (["--student.distill.alpha", "-1"], r"distill\.alpha is -1"),
        (["--student.model.from_scratch", "true"], "from_scratch is for saved .safetensors files"),
    ],
)
def test_what_is_wrong_with_a_later_stage_is_said_at_once(words: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read(CompressConfig, *words)


@pytest.mark.parametrize("change", [{}, {"teacher": "t.safetensors", "teacher_training": None}], ids=["all", "given"])
def test_the_config_of_a_run_is_read_back(tmp_path: Path, change: dict[str, Any]) -> None:
    config = CompressConfig(**WHOLE | change)
    path = tmp_path / "config.yaml"
    path.write_text(reader.dump(config))
    assert reader.read(CompressConfig, ["--config", str(path)], prog="x", description="x") == config
    assert list(yaml.safe_load(path.read_text()))[:2] == ["run_dir", "data"]
