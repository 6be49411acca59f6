"""What controls train, and where they make no sense."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from configs import reader
from configs.errors import UsageError
from launch import sweep_folder
from launch.submit.controls import CONTROLS, no_teacher, scratch, uniform
from run_folders import RESULT
from train.compress.config import CompressConfig
from train.config import DistillConfig
from train.prune.config import PruneConfig

DIGITS = Path(__file__).parents[3] / "configs" / "digits"
TEACHER = "{parent}/teacher/model.safetensors"
UNSTRUCTURED = ("--prune.kind", "unstructured")


def config(cls, name: str, *words: str):
    return reader.read(cls, ["--config", str(DIGITS / name), *words], prog="x", description="")


def compress(*words: str) -> CompressConfig:
    return config(CompressConfig, "compress.yaml", "--cut.prune.ranking", "global", *words)


def prune(*words: str) -> PruneConfig:
    return config(PruneConfig, "prune.yaml", *words)


def different(one, other) -> set[str]:
    """Keys in which two configs differ."""
    before, after = reader.flat(one), reader.flat(other)
    return {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}


def test_their_names_are_those_of_their_folders():
    assert tuple(CONTROLS) == sweep_folder.CONTROLS


# ---- scratch


def test_scratch_trains_the_result_of_a_chain_anew_for_all_its_epochs_with_the_students_recipe():
    main = compress()
    made = scratch(main)
    assert made.command == "train.distill" and isinstance(made.config, DistillConfig)
    assert made.config.epochs == 16 + 3 * 4 + 32
    assert made.config.student.from_scratch and made.config.student.name == "{parent}/model.safetensors"
    assert made.config.distill == main.student.distill and made.config.optim == main.student.optim
    assert made.config.teacher == TEACHER and made.config.track.group is None
    assert made.words == ("--student.name={parent}/model.safetensors", f"--teacher={TEACHER}")
    assert "32 epochs" not in made.note and "44 epochs of the cuts and 16 epochs of the student" in made.note


def test_scratch_sees_as_many_images_in_whole_epochs():
    share = ["--student.epoch_share", "0.1", "--cut.epoch_share", "0.25"]
    recipe = ["--student.optim.warmup_epochs", "5", "--student.optim.step_epochs", "20", "--student.patience", "8"]
    made = scratch(compress(*share, *recipe))
    assert made.config.epochs == round(1.6 + 3 + 32) and made.config.epoch_share == 1
    assert (made.config.optim.warmup_epochs, made.config.optim.step_epochs, made.config.patience) == (0.5, 2, 1)
    assert "35 epochs of the cuts and 1.6 epochs of the student" in made.note
    least = prune("--epochs", "1", "--epoch_share", "0.05", "--final_epochs", "null", "--prune.steps", "2")
    assert scratch(least).config.epochs == 1


def test_a_teacher_that_the_config_names_stays():
    made = scratch(compress("--teacher_training", "null", "--teacher", "t.safetensors"))
    assert made.config.teacher == "t.safetensors" and made.words == ("--student.name={parent}/model.safetensors",)


def test_scratch_of_cuts_adds_the_run_of_the_starting_student_and_has_its_recipe(tmp_path):
    home = tmp_path / "student"
    main = prune("--student.name", str(home / "model.safetensors"))
    made = scratch(main)
    assert made.config.epochs == 3 * 4 + 12 and made.config.optim == main.optim
    assert f"{home} is no finished run, and adds none, with the recipe of the cuts" in made.note
    home.mkdir()
    (home / "result.json").write_text(json.dumps(RESULT | {"epochs": 16}))
    own = config(DistillConfig, "distill.yaml", "--optim.lr", "0.3", "--run_dir", str(home))
    (home / "config.yaml").write_text(reader.dump(own))
    made = scratch(main)
    assert made.config.epochs == 3 * 4 + 12 + 16 and made.config.optim == own.optim != main.optim
    assert made.config.data == main.data and made.config.distill == main.distill
    assert f"24 epochs of the cuts and 16 epochs of {home}, with the recipe of {home}" in made.note


def test_a_cache_whose_views_more_epochs_would_leave_is_not_used():
    cached = ["--student.distill.teacher_logits", "cached", "--student.distill.cache", "c", "--cut.views", "2"]
    assert scratch(compress(*cached)).config.distill.teacher_logits == "online"
    assert scratch(compress(*cached, "--student.views", "2")).config.distill.teacher_logits == "cached"


# ---- no teacher


def test_no_teacher_is_the_same_chain_with_weights_of_zero():
    main = compress("--cut.final_alpha", "0.9", "--card", "true")
    made = no_teacher(main)
    assert made.command == "train.compress" and made.words == (f"--teacher={TEACHER}",)
    assert not made.config.distillation().distill.needs_teacher and not made.config.cutting().distill.needs_teacher
    assert made.config.cutting().after_cut(4, run_dir="x", student="s.safetensors").distill.alpha == 0
    assert {key.partition(".")[0] for key in different(main, made.config)} <= {
        "run_dir", "teacher", "teacher_training", "student", "cut", "onnx", "card",
    }  # fmt: skip
    assert different(main.student, made.config.student) == {"distill.alpha"}


@pytest.mark.parametrize("weights", [[], ["--distill.hint", "1"], ["--distill.attention", "2", "--distill.alpha", "0"]])
def test_every_term_of_a_teacher_goes(weights):
    layers = ["--distill.layers", "[[stages.0, stages.0]]", *weights] if weights else []
    main = prune(*layers, "--final_alpha", "0.5")
    made = no_teacher(main)
    assert main.distill.needs_teacher and not made.config.distill.needs_teacher and made.config.final_alpha is None
    assert made.command == "train.prune" and made.words == () and made.config.teacher is None
    assert made.config.student == main.student and made.config.prune == main.prune


def test_single_weights_can_be_cut_without_a_teacher():
    assert no_teacher(prune(*UNSTRUCTURED)).config.prune.kind == "unstructured"


# ---- uniform


def test_uniform_cuts_the_main_runs_student_with_its_teacher_and_differs_in_the_ranking_alone():
    main = compress("--cut.augment.rotation", "5")
    made = uniform(main)
    assert made.command == "train.prune"
    assert made.words == ("--student.name={parent}/student/model.safetensors", f"--teacher={TEACHER}")
    same = different(main.cutting(), made.config)
    assert same == {"run_dir", "prune.ranking", "student.name", "teacher", "track.group"}
    assert made.config.prune.ranking == "local" and made.config.data.augment.rotation == 5
    alone = prune("--prune.ranking", "isomorphic", "--prune.cost_normalised", "true")
    made = uniform(alone)
    assert different(alone, made.config) == {"run_dir", "prune.ranking", "prune.cost_normalised"} and not made.words


# ---- where they make no sense


@pytest.mark.parametrize(
    ("control", "main", "said"),
    [
        (scratch, prune(*UNSTRUCTURED), "scratch: prune.kind is unstructured: a network of masks has no smaller arch"),
        (uniform, prune(*UNSTRUCTURED), "uniform: prune.kind is unstructured: single weights are ranked over"),
        (uniform, prune(), "uniform: prune.ranking is local, which cuts uniformly already; leave this control out"),
        (no_teacher, prune("--distill.alpha", "0"), "no_teacher: the config has no teacher in its loss"),
        (no_teacher, compress("--student.distill.alpha", "0"), "no_teacher: the config has no teacher in its loss"),
    ],
)
def test_a_control_that_says_nothing_is_refused(control, main, said):
    with pytest.raises(UsageError, match=said):
        control(main)
