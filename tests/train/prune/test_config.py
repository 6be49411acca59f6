"""Configs of chains: each stage becomes a config of its own, and what is wrong with a later one is said at once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from configs import reader
from configs.errors import UsageError
from data_pipes.spec import AugmentSpec, DataSpec
from models.pruning.spec import Budget, PruneSpec
from models.spec import ModelSpec
from train.compress.config import CompressConfig, CutStage, StudentStage, TeacherStage
from train.config import DistillConfig, OptimSpec
from train.loss.config import DistillSpec
from train.prune.config import CutSpec, PruneConfig

COMPRESS = Path(__file__).parents[3] / "configs" / "digits" / "compress.yaml"
DATA = DataSpec(source="digits", image_size=(8, 8), mean=(0.3,), std=(0.4,), augment=AugmentSpec(rotation=10))
CUTS = PruneSpec(budget=Budget(parameters=500), steps=3)
SMALL = ModelSpec(name="resnet_small", depth=8)
FILE = "s.safetensors"
PRUNE: dict[str, Any] = {
    "run_dir": "r", "data": DATA, "epochs": 2, "student": ModelSpec(name=FILE), "teacher": "t.safetensors",
    "prune": CUTS,
}  # fmt: skip
WHOLE: dict[str, Any] = {
    "run_dir": "runs/x",
    "data": DATA,
    "teacher_training": TeacherStage(model=ModelSpec(name="nin"), epochs=3),
    "student": StudentStage(model=SMALL, epochs=4, distill=DistillSpec(temperature=7)),
    "cut": CutStage(prune=CUTS, epochs=5, final_epochs=6),
}


def read(cls: type, *words: str) -> Any:
    return reader.read(cls, ["--config", str(COMPRESS), *words], prog="x", description="x")


# ---- a chain of cuts


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"final_epochs": 0}, "final_epochs is 0; it must be at least 1"),
        ({"recalibration": -1}, "recalibration is -1; it must be at least 0"),
        ({"final_temperature": 0.0}, "final_temperature is 0.0; it must be positive"),
        ({"final_lr": -1.0}, "final_lr is -1.0; it must be positive"),
        ({"final_alpha": 1.5}, r"final_alpha is 1.5; it must be in \[0, 1\]"),
    ],
)
def test_a_wrong_setting_of_a_cut_is_refused_by_key(change: dict[str, Any], message: str) -> None:
    for cls, own in ((CutSpec, {"prune": CUTS}), (CutStage, {"prune": CUTS, "epochs": 1}), (PruneConfig, PRUNE)):
        with pytest.raises(UsageError, match=message):
            cls(**own | change)


@pytest.mark.parametrize("setting", [{"from_scratch": True}, {"depth": 8}, {"widths": (2, 4, 8)}, {"dropout": 0.1}])
def test_a_student_that_is_cut_is_a_file_and_nothing_else(setting: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"student\.name is .*; it must be the \.safetensors file .*, and nothing"):
        PruneConfig(**PRUNE | {"student": ModelSpec(name=FILE, **setting)})


def test_a_final_alpha_needs_a_teacher_from_the_start() -> None:
    own = PRUNE | {"distill": DistillSpec(alpha=0)}
    with pytest.raises(UsageError, match=r"final_alpha is 0\.5; it must be 0 or null where teacher is null"):
        PruneConfig(**own | {"teacher": None, "final_alpha": 0.5})
    assert PruneConfig(**own | {"final_alpha": 0.5}).teacher_file == "t.safetensors"
    assert PruneConfig(**own).teacher_file is None and PruneConfig(**own | {"teacher": None, "final_alpha": 0.0})


def test_the_kind_of_cut_says_whether_zeros_stay() -> None:
    with pytest.raises(UsageError, match=r"keep_zeros is True; it must be left out: prune\.kind says"):
        PruneConfig(**PRUNE | {"keep_zeros": True})
    for kind in ("structured", "unstructured"):
        config = PruneConfig(**PRUNE | {"prune": replace(CUTS, kind=kind)})
        after = [config.after_cut(number, run_dir="r/c", student=FILE).keep_zeros for number in (1, 3)]
        assert after == [kind == "unstructured"] * 2


def test_cached_logits_of_a_chain_need_a_number_of_views() -> None:
    cached = {"distill": DistillSpec(teacher_logits="cached", cache="c")}
    assert PruneConfig(**PRUNE | cached | {"views": 2}).views == 2
    with pytest.raises(UsageError, match=r"views is None; it must be a number where distill\.teacher_logits is cached"):
        PruneConfig(**PRUNE | cached)


def test_what_does_not_change_from_cut_to_cut_stays() -> None:
    config = PruneConfig(**PRUNE | {"ema": 0.9, "seed": 3, "optim": OptimSpec(lr=0.1, min_lr=0.05)})
    steps = [config.after_cut(number, run_dir=f"r/{number}", student=FILE) for number in (1, 2, 3)]
    assert [type(step) for step in steps] == [DistillConfig] * 3
    assert {(s.ema, s.seed, s.optim, s.distill, s.teacher, s.epochs, s.data) for s in steps} == {
        (0.9, 3, config.optim, config.distill, "t.safetensors", 2, DATA)
    }
    assert [step.run_dir for step in steps] == ["r/1", "r/2", "r/3"]


def test_orders_and_views_go_on_from_run_to_run() -> None:
    config = PruneConfig(**PRUNE | {"first_epoch": 7})
    steps = [config.after_cut(number, run_dir="r", student=FILE) for number in (1, 2, 3)]
    assert [step.first_epoch for step in steps] == [7, 9, 11]
    assert CompressConfig(**WHOLE).cutting().first_epoch == 4  # the student's epochs


def test_temperature_alpha_and_rate_move_from_cut_to_cut() -> None:
    finals = {"final_temperature": 8.0, "final_alpha": 0.9, "final_lr": 5e-5, "final_epochs": 7}
    own = {"optim": OptimSpec(lr=5e-3), "distill": DistillSpec(temperature=2, alpha=0.5), "epochs": 1}
    config = PruneConfig(**PRUNE | finals | own)
    steps = [config.after_cut(number, run_dir="r", student=FILE) for number in (1, 2, 3)]
    assert [step.distill.temperature for step in steps] == [2, 5, 8]
    assert [round(step.distill.alpha, 9) for step in steps] == [0.5, 0.7, 0.9]
    assert [round(step.optim.lr, 9) for step in steps] == [5e-3, 5e-4, 5e-5]
    assert [step.epochs for step in steps] == [1, 1, 7]
    assert [step.test for step in steps] == [False, False, True]


def test_epochs_between_cuts_may_show_a_share_of_the_images_and_the_last_ones_show_all() -> None:
    config = PruneConfig(**PRUNE | {"epochs": 1, "epoch_share": 0.25, "final_epochs": 7})
    steps = [config.after_cut(number, run_dir="r", student=FILE) for number in (1, 2, 3)]
    assert [(step.epochs, step.epoch_share) for step in steps] == [(1, 0.25), (1, 0.25), (7, 1)]
    assert config.passes == 2 * 0.25 + 7
    alike = replace(config, final_epochs=None)
    assert alike.after_cut(3, run_dir="r", student=FILE).epoch_share == 0.25 and alike.passes == 3 * 0.25
    for share in (0.0, 1.5):
        with pytest.raises(UsageError, match=rf"epoch_share is {share}; it must be above 0, at most 1"):
            replace(config, epoch_share=share)


def test_a_rate_that_falls_takes_its_own_end_down_with_it() -> None:
    config = PruneConfig(**PRUNE | {"final_lr": 0.001, "optim": OptimSpec(lr=0.1, min_lr=0.05)})
    last = config.after_cut(3, run_dir="r", student=FILE)
    assert last.optim.lr == pytest.approx(0.001) and last.optim.min_lr == last.optim.lr
