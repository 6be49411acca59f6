"""Counts against numpy, intervals against hand, published values and scipy."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import binomtest

from data_pipes.batch import Batch
from train.evaluate.metrics import Scores, Tally, wilson

CPU = torch.device("cpu")


def batch(label_B, real_B=None) -> Batch:
    label_B = torch.as_tensor(label_B)
    weight_B = torch.ones(len(label_B)) if real_B is None else torch.as_tensor(real_B).float()
    empty = torch.zeros(len(label_B), 1)
    return Batch(
        image_BCHW=empty, target_BK=empty, label_B=label_B, index_B=torch.arange(len(label_B)), weight_B=weight_B,
        view=-1, real=int((weight_B > 0).sum()),
    )  # fmt: skip


def scores(classes, *added, teacher=None) -> Scores:
    tally = Tally(classes, CPU)
    for one, logits_BK in added:
        tally.add(one, logits_BK, teacher)
    return tally.scores(tally.counts())


# ---- Wilson


@pytest.mark.parametrize(
    ("correct", "count", "low", "high"),
    [
        # Newcombe 1998, Statistics in Medicine 17, table I, method 3: 81/263, 15/148, 0/20, 1/29
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_is_the_published_interval(correct, count, low, high):
    assert wilson(correct, count) == pytest.approx((low, high), abs=5.1e-5)


def test_wilson_by_hand_at_the_ends():
    z2 = 1.96**2  # p = 0: centre and half width are both z^2 / 2n over 1 + z^2 / n, so that high = z^2 / (n + z^2)
    assert wilson(0, 10) == pytest.approx((0.0, z2 / (10 + z2)), abs=1e-12)
    assert wilson(10, 10) == pytest.approx((10 / (10 + z2), 1.0), abs=1e-12)
    half = 1.96 * math.sqrt(0.25 / 10 + z2 / 400) / (1 + z2 / 10)
    assert wilson(5, 10) == pytest.approx((0.5 - half, 0.5 + half), abs=1e-12)


@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.999])
@pytest.mark.parametrize(("correct", "count"), [(0, 1), (1, 1), (3, 7), (81, 263), (9_912, 10_000), (10_000, 10_000)])
def test_wilson_is_scipys(correct, count, confidence):
    from scipy.stats import norm

    theirs = binomtest(correct, count).proportion_ci(confidence, method="wilson")
    ours = wilson(correct, count, z=float(norm.ppf(0.5 + confidence / 2)))
    assert ours == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_wilson_never_leaves_the_unit_interval_and_knows_nothing_without_samples():
    for count in (1, 2, 3, 1_000_000):
        for correct in (0, 1, count):
            low, high = wilson(correct, count)
            assert 0 <= low <= correct / count <= high + 1e-15 and high <= 1
    assert wilson(0, 0) == (0.0, 1.0)


# ---- Tally


@pytest.mark.parametrize("classes", [2, 3, 5, 7])
def test_counts_are_numpys_and_padding_counts_nothing(classes):
    rng = np.random.default_rng(classes)
    added, confusion, top5, agreed = [], np.zeros((classes, classes), int), 0, 0
    tally = Tally(classes, CPU)
    for real in (8, 5, 0):  # a padded batch, and one of nothing but padding
        label_B, logits_BK = rng.integers(0, classes, 8), rng.normal(size=(8, classes))
        taught_BK = rng.normal(size=(8, classes))
        tally.add(batch(label_B, np.arange(8) < real), torch.from_numpy(logits_BK), torch.from_numpy(taught_BK))
        added.append(real)
        for i in range(real):
            answer = int(logits_BK[i].argmax())
            confusion[label_B[i], answer] += 1
            top5 += int(label_B[i] in np.argsort(-logits_BK[i])[:5])
            agreed += int(taught_BK[i].argmax() == answer)
    found = tally.scores(tally.counts())
    assert np.array_equal(np.array(found.confusion), confusion)
    assert (found.count, found.correct) == (13, np.trace(confusion))
    assert (found.top5, found.agreed) == (top5, agreed)
    assert found.accuracy == np.trace(confusion) / 13
    assert found.per_class() == tuple((confusion[k, k], confusion[k].sum()) for k in range(classes))


def test_with_fewer_than_five_classes_every_sample_is_in_the_top_five():
    found = scores(3, (batch([0, 1, 2]), torch.tensor([[0.0, 1, 2], [2, 0, 1], [2, 1, 0]])))
    assert (found.correct, found.top5) == (0, 3)


def test_the_sixth_best_is_not_in_the_top_five():
    falling_1K = -torch.arange(8.0)[None]
    assert scores(8, (batch([4]), falling_1K)).top5 == 1
    assert scores(8, (batch([5]), falling_1K)).top5 == 0


def test_agreement_is_with_the_teachers_answer_not_with_the_label():
    logits_BK = torch.tensor([[1.0, 0], [1, 0], [0, 1]])
    found = scores(2, (batch([1, 0, 0]), logits_BK), teacher=torch.tensor([[5.0, 1], [5, 1], [5, 1]]))
    assert (found.correct, found.agreed) == (1, 2)
    assert scores(2, (batch([1, 0, 0]), logits_BK)).agreed == 0


def test_two_parts_sum_to_the_whole():
    rng = torch.Generator().manual_seed(0)
    label_B, logits_BK = torch.randint(0, 4, (20,), generator=rng), torch.randn(20, 4, generator=rng)
    whole, left, right = Tally(4, CPU), Tally(4, CPU), Tally(4, CPU)
    whole.add(batch(label_B), logits_BK)
    left.add(batch(label_B[:7]), logits_BK[:7])
    right.add(batch(label_B[7:]), logits_BK[7:])
    assert torch.equal(left.counts() + right.counts(), whole.counts())


def test_a_class_without_samples_and_no_samples_at_all():
    found = scores(3, (batch([0, 2]), torch.eye(3)[[0, 0]]))
    assert found.per_class() == ((1, 1), (0, 0), (0, 1))
    nothing = scores(3)
    assert (nothing.count, nothing.accuracy) == (0, 0.0)
