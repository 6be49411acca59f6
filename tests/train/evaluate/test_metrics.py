"""Counts against numpy."""

import numpy as np
import pytest
import torch

from data_pipes.batch import Batch
from train.evaluate.metrics import Scores, Tally

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


# ---- Tally


@pytest.mark.parametrize("classes", [2, 3, 5, 7])
def test_counts_are_numpys_and_padding_counts_nothing(classes):
    rng = np.random.default_rng(classes)
    added, confusion, top5, agreed = [], np.zeros((classes, classes), int), 0, 0
    tally = Tally(classes, CPU)
    for real in (8, 5, 0):  # a padded batch, and one of nothing but padding
        label_B, logits_BK = rng.integers(0, classes, 8), rng.normal(size=(8, classes))
        taught_BK = rng.normal(size=(8, classes))
        tally.add(
            batch(label_B, np.arange(8) < real), torch.from_numpy(logits_BK), torch.from_numpy(taught_BK).argmax(1)
        )
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
    found = scores(2, (batch([1, 0, 0]), logits_BK), teacher=torch.tensor([0, 0, 0]))
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
