"""Adapters: from the student's channels to the teacher's, trained along, and the same for the same seed."""

# B batch, C channels, H W height and width

import pytest
import torch

from configs.errors import InputError, UsageError
from train.loss import losses
from train.loss.adapters import Adapters

STUDENT = (torch.randn(2, 4, 8, 8), torch.randn(2, 6, 4, 4), torch.randn(2, 10))
TEACHER = (torch.randn(2, 16, 8, 8), torch.randn(2, 24, 2, 2), torch.randn(2, 32))


def test_channels_become_the_teachers_and_sizes_stay():
    adapted = Adapters.fitting(STUDENT, TEACHER)(STUDENT)
    assert [tuple(x.shape) for x in adapted] == [(2, 16, 8, 8), (2, 24, 4, 4), (2, 32, 1, 1)]
    for student, teacher in zip(adapted, TEACHER, strict=True):
        assert losses.hint(student, teacher).shape == (2,)


def test_each_is_one_matrix_without_bias():
    adapters = Adapters.fitting(STUDENT, TEACHER)
    assert sum(p.numel() for p in adapters.parameters()) == 4 * 16 + 6 * 24 + 10 * 32
    weight = adapters.convolutions[0].weight[:, :, 0, 0]
    expected_BCHW = torch.einsum("tc,bchw->bthw", weight, STUDENT[0])
    torch.testing.assert_close(adapters(STUDENT)[0], expected_BCHW)


def test_the_seed_decides_the_weights():
    def weights(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return torch.cat([p.flatten() for p in Adapters.fitting(STUDENT, TEACHER).parameters()])

    assert torch.equal(weights(3), weights(3))
    assert not torch.equal(weights(3), weights(4))


def test_training_brings_the_hint_down_and_reaches_the_student():
    torch.manual_seed(0)
    student_BCHW = torch.randn(4, 3, 5, 5, requires_grad=True)
    teacher_BCHW = torch.einsum("tc,bchw->bthw", torch.randn(8, 3), student_BCHW.detach())
    adapters = Adapters.fitting([student_BCHW], [teacher_BCHW])
    optimizer = torch.optim.SGD(adapters.parameters(), lr=1.0)
    history = []
    for _ in range(100):
        loss = losses.hint(adapters([student_BCHW])[0], teacher_BCHW).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(loss.item())
    assert history[-1] < 1e-3 * history[0]
    assert student_BCHW.grad is not None
    assert student_BCHW.grad.abs().sum() > 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_features_of_any_precision_are_taken_inside_and_outside_autocast(dtype):
    adapters = Adapters.fitting(STUDENT, TEACHER)
    features = [x.to(dtype) for x in STUDENT]
    assert {x.dtype for x in adapters(features)} == {torch.float32}
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert {x.dtype for x in adapters(features)} == {torch.bfloat16}


def test_pairs_that_do_not_pair_are_refused():
    with pytest.raises(UsageError, match="3 student layers cannot be paired with 2 teacher layers"):
        Adapters.fitting(STUDENT, TEACHER[:2])
    with pytest.raises(UsageError, match="at least one pair"):
        Adapters.fitting([], [])
    with pytest.raises(UsageError, match=r"\(2, 16, 8\)"):
        Adapters.fitting([torch.zeros(2, 16, 8)], [torch.zeros(2, 16, 8)])


def test_a_student_that_was_cut_needs_new_adapters():
    adapters = Adapters.fitting(STUDENT, TEACHER)
    with pytest.raises(InputError, match="student layer 1 has 5 channels, its adapter was fitted to 6"):
        adapters((STUDENT[0], STUDENT[1][:, :5], STUDENT[2]))
    with pytest.raises(InputError, match="3 adapters for 1 student layers"):
        adapters(STUDENT[:1])
