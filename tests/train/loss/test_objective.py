"""The loss as a sum of named terms, by hand; padding that never spoils it."""

# B batch, K classes, C channels, H W height and width, L layer pairs

import math
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from data_pipes.batch import Batch
from train.loss import losses
from train.loss.config import DistillSpec
from train.loss.objective import Objective
from train.student import Signals

LN2, LN3, LN4 = math.log(2), math.log(3), math.log(4)
PAIRS = (("a", "b"), ("c", "d"))
EVERY = DistillSpec(alpha=0.3, temperature=2.0, hint=5.0, attention=7.0, layers=PAIRS)


def normal(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def batch(label_B, weight_B=None, classes=2) -> Batch:
    label_B = torch.as_tensor(label_B)
    mean_B = torch.full((len(label_B),), 1 / len(label_B), dtype=torch.float64)
    weight_B = mean_B if weight_B is None else torch.as_tensor(weight_B).double()
    return Batch(
        image_BCHW=torch.zeros(len(label_B), 1, 1, 1), target_BK=F.one_hot(label_B, classes).double(), label_B=label_B,
        index_B=torch.arange(len(label_B)), weight_B=weight_B, view=0,
        real=int((weight_B > 0).sum()),
    )  # fmt: skip


def signals(logits_BK, *features_L) -> Signals:
    return Signals(logits_BK=logits_BK, features_L=list(features_L))


def rows(*values) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


# ---- values


def test_the_total_is_the_weighted_sum_of_terms_by_hand():
    # each feature is one channel of one row of two places
    student = signals(rows([LN3, 0.0]), rows([[[3.0, 4.0]]]), rows([[[1.0, 0.0]]]))
    teacher = signals(rows([0.0, 0.0]), rows([[[3.0, 4.0]]]), rows([[[0.0, 2.0]]]))
    adapted = [rows([[[3.0, 5.0]]]), rows([[[0.0, 5.0]]])]
    total, measured = Objective(EVERY)(student, adapted, batch([0]), teacher)
    root3 = math.sqrt(3)
    q = root3 / (1 + root3)  # softmax of (ln 3 / 2, 0)
    expected = {
        "ce": math.log(4 / 3),  # q = (3/4, 1/4)
        "kd": 4 * (0.5 * math.log(0.5 / q) + 0.5 * math.log(0.5 / (1 - q))),
        "hint": ((0 + 1) / 2 + (0 + 9) / 2) / 2,  # of the adapted features, mean over the pairs
        "attention": (0 + (1 + 1) / 2) / 2,  # of the features themselves: (1, 0) against (0, 1)
    }
    assert {name: value.item() for name, value in measured.items() if name != "loss"} == pytest.approx(expected)
    by_hand = 0.7 * expected["ce"] + 0.3 * expected["kd"] + 5 * expected["hint"] + 7 * expected["attention"]
    assert total.item() == pytest.approx(by_hand) == measured["loss"].item()


def test_the_weights_of_the_batch_make_the_mean_over_samples():
    logits_BK = rows([LN3, 0.0], [0.0, 0.0], [0.0, LN4])
    total, measured = Objective()(signals(logits_BK), [], batch([0, 0, 0]), None)
    assert total.item() == pytest.approx((math.log(4 / 3) + LN2 + math.log(5)) / 3)
    doubled, _ = Objective()(signals(logits_BK), [], batch([0, 0, 0], [2.0, 0.0, 0.0]), None)
    assert doubled.item() == pytest.approx(2 * math.log(4 / 3))
    assert set(measured) == {"ce", "loss"}


def test_label_smoothing_is_of_the_labels_only():
    logits_BK = rows([LN3, 0.0])
    smooth = Objective(DistillSpec(alpha=0.5, temperature=1.0), label_smoothing=0.2)
    _, measured = smooth(signals(logits_BK), [], batch([0]), signals(rows([0.0, 0.0])))
    assert measured["ce"].item() == pytest.approx(-(0.9 * math.log(3 / 4) + 0.1 * math.log(1 / 4)))
    assert measured["kd"].item() == pytest.approx(0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25))


def test_dkd_gets_its_weights_and_temperature_in_the_right_places():
    student_BK, teacher_BK = normal(5, 4, seed=1), normal(5, 4, seed=2)
    one = batch([0, 1, 2, 3, 1], classes=4)
    spec = DistillSpec(alpha=1.0, soft="dkd", temperature=3.0, dkd_target=0.25, dkd_others=6.0)
    total, measured = Objective(spec)(signals(student_BK), [], one, signals(teacher_BK))
    p_BK, q_BK = (teacher_BK / 3).softmax(1), (student_BK / 3).softmax(1)
    by_hand = 0.0
    for p_K, q_K, label in zip(p_BK.tolist(), q_BK.tolist(), one.label_B.tolist(), strict=True):
        p, q, others = p_K[label], q_K[label], [k for k in range(4) if k != label]
        target = p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))
        rest = sum(p_K[k] / (1 - p) * math.log((p_K[k] / (1 - p)) / (q_K[k] / (1 - q))) for k in others)
        by_hand += 9 * (0.25 * target + 6.0 * rest) / 5
    assert total.item() == pytest.approx(by_hand) == measured["dkd"].item()
    assert set(measured) == {"dkd", "loss"}


# ---- what is not asked for is not computed


@pytest.mark.parametrize(
    ("spec", "names"),
    [
        (DistillSpec(alpha=0.0), {"ce"}),
        (DistillSpec(alpha=1.0), {"kd"}),
        (DistillSpec(alpha=0.5), {"ce", "kd"}),
        (DistillSpec(alpha=0.5, soft="dkd"), {"ce", "dkd"}),
        (DistillSpec(alpha=0.0, hint=1.0, layers=PAIRS), {"ce", "hint"}),
        (DistillSpec(alpha=0.0, attention=1.0, layers=PAIRS), {"ce", "attention"}),
        (EVERY, {"ce", "kd", "hint", "attention"}),
    ],
)
def test_terms_of_weight_zero_are_neither_computed_nor_logged(spec, names, monkeypatch):
    for unwanted in {"kd", "dkd", "hint", "attention"} - names:
        monkeypatch.setattr(losses, unwanted, None)
    if "ce" not in names:
        monkeypatch.setattr(losses, "cross_entropy", None)
    maps = [normal(3, 2, 4, 4, seed=s) for s in range(2)]
    heard = signals(normal(3, 2, seed=5), *maps)
    asked = heard if spec.needs_teacher else None
    total, measured = Objective(spec)(heard, maps, batch([0, 1, 0]), asked)
    assert set(measured) == names | {"loss"}
    assert torch.isfinite(total) and not any(value.requires_grad for value in measured.values())


# ---- padding

BROKEN = {
    "inf": [math.inf, 0.0],
    "-inf": [-math.inf, 0.0],
    "both": [math.inf, -math.inf],
    "nan": [math.nan, math.nan],
    "huge": [3e300, -3e300],
    "zero": [0.0, 0.0],
}


def padded(soft: str, row: list[float]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Total and gradients of logits and of features, where the second row is padding that shows `row`."""
    logits_BK = rows([LN3, 0.0], row).requires_grad_()
    feature_BCHW = torch.stack([normal(2, 2, 2, seed=1), rows(row, row).expand(2, 2, 2)]).requires_grad_()
    spec = DistillSpec(alpha=0.5, soft=soft, hint=1.0, attention=1.0, layers=PAIRS[:1])
    teacher = signals(rows([0.0, 1.0], row), normal(2, 2, 2, 2, seed=2))
    total, _ = Objective(spec, 0.1)(
        signals(logits_BK, feature_BCHW), [feature_BCHW], batch([0, 1], [1.0, 0.0]), teacher
    )
    total.backward()
    return total.detach(), logits_BK.grad, feature_BCHW.grad


@pytest.mark.parametrize("soft", ["kd", "dkd"])
@pytest.mark.parametrize("row", BROKEN.values(), ids=BROKEN)
def test_padded_rows_of_any_kind_leave_the_sum_alone(soft, row):
    assert torch.equal(padded(soft, row)[0], padded(soft, [0.5, 1.0])[0])


def test_looking_for_padding_where_there_is_none_changes_no_bit():
    """Features are masked only in batches that the host knows to be padded."""
    found = []
    for real in (3, 2):
        logits = normal(3, 2, seed=1).requires_grad_()
        feature = normal(3, 4, 5, 5, seed=2).to(memory_format=torch.channels_last).requires_grad_()
        teacher = signals(normal(3, 2, seed=3), normal(3, 4, 5, 5, seed=4))
        objective = Objective(DistillSpec(hint=1.0, attention=1.0, layers=(("a", "b"),)))
        shown = replace(batch([0, 1, 1]), real=real)
        total, _ = objective(signals(logits, feature), [feature], shown, teacher)
        total.backward()
        found.append((total.detach(), logits.grad, feature.grad))
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


@pytest.mark.parametrize("soft", ["kd", "dkd"])
@pytest.mark.parametrize("row", BROKEN.values(), ids=BROKEN)
def test_padded_rows_of_any_kind_leave_the_gradient_of_real_rows_alone(soft, row):
    _, logits, features = padded(soft, row)
    _, expected, theirs = padded(soft, [0.5, 1.0])
    assert torch.equal(logits[0], expected[0]) and torch.equal(features[0], theirs[0])


@pytest.mark.parametrize("soft", ["kd", "dkd"])
@pytest.mark.parametrize("row", BROKEN.values(), ids=BROKEN)
def test_padded_rows_of_any_kind_get_a_gradient_of_zero_themselves(soft, row):
    """Otherwise a nan walks from the padded row through the shared weights into all of them."""
    _, logits, features = padded(soft, row)
    assert not logits[1].any() and not features[1].any()
