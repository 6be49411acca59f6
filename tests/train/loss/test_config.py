"""The table of loss terms, and all that follows from it."""

from dataclasses import replace

import pytest
import torch

from configs.errors import UsageError
from data_pipes.batch import Batch
from launch.sweep.metric_names import metric_names
from train.loss import config, losses
from train.loss.config import TERMS, DistillSpec, Term
from train.loss.objective import Objective
from train.student import Signals

NAN = float("nan")
PAIR = (("layer1", "layer2"),)


@pytest.mark.parametrize(
    ("key", "value", "valid"),
    [
        ("alpha", -0.01, r"in \[0, 1\]"),
        ("alpha", 1.01, r"in \[0, 1\]"),
        ("alpha", NAN, r"in \[0, 1\]"),
        ("temperature", 0.0, "positive"),
        ("dkd_target", -1.0, "at least 0"),
        ("dkd_others", -1.0, "at least 0"),
        ("hint", -1.0, "at least 0"),
        ("attention", -1.0, "at least 0"),
        ("teacher_check", -1, "at least 0"),
    ],
)
def test_distill_refuses(key, value, valid):
    with pytest.raises(UsageError, match=rf"distill\.{key} is {value}; it must be {valid}"):
        DistillSpec(**{key: value})


@pytest.mark.parametrize("term", ["hint", "attention"])
def test_a_term_on_features_needs_layer_pairs(term):
    with pytest.raises(UsageError, match=r"distill\.layers is \(\); it must be at least one pair"):
        DistillSpec(**{term: 1.0})
    spec = DistillSpec(**{term: 1.0, "layers": PAIR})
    assert spec.needs_features and spec.student_layers == ("layer1",) and spec.teacher_layers == ("layer2",)


def test_layers_are_not_tapped_when_no_term_compares_them():
    spec = DistillSpec(layers=PAIR)
    assert not spec.needs_features and spec.student_layers == () == spec.teacher_layers


def test_every_term_has_a_function_and_every_function_a_term():
    assert [term.name for term in TERMS] == list(losses.TERMS)


@pytest.mark.parametrize(
    ("spec", "terms", "needs"),
    [
        (DistillSpec(alpha=0.0), {"ce": 1.0}, (False, False, ())),
        (DistillSpec(alpha=0.25), {"ce": 0.75, "kd": 0.25}, (True, False, ())),
        (DistillSpec(alpha=1.0, soft="dkd"), {"dkd": 1.0}, (True, False, ())),
        (DistillSpec(alpha=0.0, hint=2.0, layers=PAIR), {"ce": 1.0, "hint": 2.0}, (False, True, ("layer1",))),
        (DistillSpec(alpha=0.0, attention=3.0, layers=PAIR), {"ce": 1.0, "attention": 3.0}, (False, True, ())),
    ],
)
def test_weights_and_needs_follow_from_the_config(spec, terms, needs):
    assert {term.name: weight for term, weight in spec.terms} == terms
    assert (spec.needs_logits, spec.needs_features, spec.adapted_layers) == needs
    assert spec.needs_teacher == (spec.needs_logits or spec.needs_features)


def test_the_students_own_features_are_needed_by_attention_but_not_by_a_hint():
    hint, attention = DistillSpec(hint=1.0, layers=PAIR), DistillSpec(attention=1.0, layers=PAIR)
    both = replace(hint, attention=1.0)
    assert [spec.needs_own_features for spec in (DistillSpec(), hint, attention, both)] == [False, False, True, True]


def test_a_new_loss_is_a_row_and_a_function(monkeypatch):
    """Nothing else is changed, and it is weighted, asks for the teacher's features, is checked and has a curve."""
    row = Term(name="gap", key="dkd_target", weight=lambda spec: spec.dkd_target, needs=frozenset({"features"}))
    monkeypatch.setattr(config, "TERMS", (*TERMS, row))
    monkeypatch.setattr(losses, "TERMS", {**losses.TERMS, "gap": lambda x: (x.student_L[0] - x.teacher_L[0]).mean(1)})
    with pytest.raises(UsageError, match=r"distill\.layers is \(\); it must be at least one pair"):
        DistillSpec(alpha=0.0, dkd_target=3.0)
    spec = DistillSpec(alpha=0.0, dkd_target=3.0, layers=PAIR)
    assert spec.needs_teacher and not spec.needs_logits and spec.teacher_layers == ("layer2",)
    with pytest.raises(UsageError, match=r"distill\.teacher_logits is 'cached'; it must be online"):
        replace(spec, teacher_logits="cached", cache="c")
    ones, rows = torch.ones(2, 3), torch.arange(2)
    batch = Batch(
        image_BCHW=torch.zeros(2, 1, 4, 4), target_BK=torch.eye(3)[:2], label_B=rows, index_B=rows,
        weight_B=torch.full((2,), 0.5), view=0, real=2,
    )  # fmt: skip
    student, teacher = (Signals(logits_BK=torch.zeros(2, 3), features_L=[x]) for x in (2 * ones, ones))
    loss, measured = Objective(spec)(student, [], batch, teacher)
    assert list(measured) == ["ce", "gap", "loss"] and float(measured["gap"]) == 1
    assert float(loss) == pytest.approx(float(measured["ce"]) + 3)


def test_the_names_of_the_curves_are_those_of_the_terms():
    curves = {f"{prefix}/{term.name}" for term in TERMS for prefix in ("train", "step")}
    assert curves <= {*metric_names("train.distill")}
    assert curves & {*metric_names("train.teacher")} == {"train/ce", "step/ce"}
