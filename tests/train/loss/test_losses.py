"""Every loss against arithmetic done by hand, against torch's own functions, and at the edges of floating point."""

# B batch, K classes, C channels, H W height and width

import math
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from configs.errors import InputError, UsageError
from train.loss import losses

LN2, LN3 = math.log(2), math.log(3)

ON_LOGITS = {
    "cross_entropy": lambda student, teacher, target: losses.cross_entropy(student, target, smoothing=0.1),
    "kd": lambda student, teacher, target: losses.kd(student, teacher, 4.0),
    "dkd": lambda student, teacher, target: losses.dkd(student, teacher, target, 4.0, 1.0, 8.0),
}
ON_FEATURES = {"hint": losses.hint, "attention": losses.attention}

each_logit_loss = pytest.mark.parametrize("loss", ON_LOGITS.values(), ids=ON_LOGITS.keys())
each_feature_loss = pytest.mark.parametrize("loss", ON_FEATURES.values(), ids=ON_FEATURES.keys())


def normal(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def logits(batch: int = 6, classes: int = 5) -> tuple[torch.Tensor, ...]:
    """Student, teacher, and labels of two classes each, such as mixup makes."""
    student_BK, teacher_BK = normal(batch, classes, seed=1), 3 * normal(batch, classes, seed=2)
    first_BK = F.one_hot(torch.arange(batch) % classes, classes)
    second_BK = F.one_hot((torch.arange(batch) + 2) % classes, classes)
    return student_BK, teacher_BK, 0.7 * first_BK.double() + 0.3 * second_BK.double()


def one_hot(*classes: int, of: int) -> torch.Tensor:
    return F.one_hot(torch.tensor(classes), of).double()


def dkd_by_probabilities(student_K, teacher_K, target: int, temperature: float, alpha: float, beta: float) -> float:
    """The paper's definitions, one sample and one class at a time."""
    p = [math.exp(z / temperature) for z in teacher_K.tolist()]
    q = [math.exp(z / temperature) for z in student_K.tolist()]
    p, q = [x / sum(p) for x in p], [x / sum(q) for x in q]
    p_t, q_t = p[target], q[target]
    tckd = p_t * math.log(p_t / q_t) + (1 - p_t) * math.log((1 - p_t) / (1 - q_t))
    others = [k for k in range(len(p)) if k != target]
    p_hat, q_hat = [p[k] / (1 - p_t) for k in others], [q[k] / (1 - q_t) for k in others]
    nckd = sum(a * math.log(a / b) for a, b in zip(p_hat, q_hat, strict=True))
    return temperature**2 * (alpha * tckd + beta * nckd)


class TestCrossEntropy:
    def test_hard_soft_and_smoothed_by_hand(self):
        student_BK = torch.tensor([[LN3, 0.0]], dtype=torch.float64)  # q = (3/4, 1/4)
        soft_BK = torch.tensor([[0.25, 0.75]], dtype=torch.float64)
        hard = losses.cross_entropy(student_BK, one_hot(0, of=2))
        soft = losses.cross_entropy(student_BK, soft_BK)
        smoothed = losses.cross_entropy(student_BK, one_hot(0, of=2), smoothing=0.2)  # y = (0.8 + 0.2/2, 0.2/2)
        assert hard.item() == pytest.approx(-math.log(3 / 4))
        assert soft.item() == pytest.approx(-(0.25 * math.log(3 / 4) + 0.75 * math.log(1 / 4)))
        assert smoothed.item() == pytest.approx(-(0.9 * math.log(3 / 4) + 0.1 * math.log(1 / 4)))

    @pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
    def test_agrees_with_torch_for_integer_labels(self, smoothing):
        student_BK, label_B = normal(6, 5, seed=1), torch.tensor([0, 4, 2, 2, 1, 3])
        ours_B = losses.cross_entropy(student_BK, F.one_hot(label_B, 5), smoothing)
        torch.testing.assert_close(ours_B.mean(), F.cross_entropy(student_BK, label_B, label_smoothing=smoothing))

    def test_a_second_softmax_sticks_near_ln_of_the_classes(self):
        classes = 10
        target_BK = one_hot(3, of=classes)
        logits_BK = torch.zeros(1, classes, dtype=torch.float64, requires_grad=True)
        once, twice = losses.cross_entropy(logits_BK, target_BK), losses.cross_entropy(logits_BK.softmax(1), target_BK)
        assert once.item() == pytest.approx(math.log(classes))
        assert twice.item() == pytest.approx(math.log(classes))
        # The softmax's Jacobian at uniform probabilities is (1 - 1/K) / K: the gradient starts K times too small.
        (once_gradient,), (twice_gradient,) = (torch.autograd.grad(x, logits_BK) for x in (once, twice))
        torch.testing.assert_close(once_gradient, classes * twice_gradient)
        # A perfect answer costs nothing, but ln(e + 9) - 1 = 1.46 through a second softmax.
        perfect_BK = 100 * target_BK
        assert losses.cross_entropy(perfect_BK, target_BK).item() == pytest.approx(0)
        floor = losses.cross_entropy(perfect_BK.softmax(1), target_BK).item()
        assert floor == pytest.approx(math.log(math.e + 9) - 1)


class TestKD:
    def test_by_hand(self):
        student_BK = torch.tensor([[2 * LN3, 0.0]], dtype=torch.float64)  # at T = 2: q = (3/4, 1/4)
        teacher_BK = torch.zeros(1, 2, dtype=torch.float64)  # p = (1/2, 1/2)
        expected = 2**2 * (0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25))
        assert losses.kd(student_BK, teacher_BK, 2.0).item() == pytest.approx(expected)
        assert expected == pytest.approx(2 * math.log(4 / 3))

    def test_mean_is_batchmean_and_k_times_the_default_mean_of_torch(self):
        student_BK, teacher_BK, _ = logits(classes=5)
        ours, temperature = losses.kd(student_BK, teacher_BK, 4.0).mean(), 4.0
        log_q_BK, log_p_BK = (F.log_softmax(x_BK / temperature, 1) for x_BK in (student_BK, teacher_BK))
        batchmean = F.kl_div(log_q_BK, log_p_BK, reduction="batchmean", log_target=True)
        torch.testing.assert_close(ours, batchmean * temperature**2)
        with pytest.warns(UserWarning, match="batchmean"):
            default_mean = nn.KLDivLoss()(log_q_BK, log_p_BK.exp())
        torch.testing.assert_close(ours, 5 * default_mean * temperature**2)

    def test_zero_only_where_student_and_teacher_agree(self):
        student_BK, teacher_BK, _ = logits()
        teacher_BK[0] = student_BK[0] + 7  # logits are defined up to a constant
        loss_B = losses.kd(student_BK, teacher_BK, 4.0)
        assert loss_B[0].item() == pytest.approx(0, abs=1e-12)
        assert (loss_B[1:] > 0.01).all()

    def test_gradient_keeps_its_size_as_temperature_grows(self):
        student_BK, teacher_BK, _ = logits(classes=5)
        student_BK.requires_grad_()
        loss_B = losses.kd(student_BK, teacher_BK, 1e4)
        (gradient_BK,) = torch.autograd.grad(loss_B.sum(), student_BK)
        # Hinton et al., equation 4: (z - v) / K per logit, for logits of zero mean, once multiplied by T^2.
        centred_BK = (student_BK - teacher_BK) - (student_BK - teacher_BK).mean(1, keepdim=True)
        torch.testing.assert_close(gradient_BK, centred_BK.detach() / 5, rtol=1e-2, atol=1e-3)


class TestDKD:
    def test_by_hand(self):
        teacher_BK = torch.tensor([[LN2, 0.0, 0.0]], dtype=torch.float64)  # p = (1/2, 1/4, 1/4)
        student_BK = torch.tensor([[0.0, LN2, 0.0]], dtype=torch.float64)  # q = (1/4, 1/2, 1/4)
        tckd = 0.5 * math.log((1 / 2) / (1 / 4)) + 0.5 * math.log((1 / 2) / (3 / 4))
        nckd = 0.5 * math.log((1 / 2) / (2 / 3)) + 0.5 * math.log((1 / 2) / (1 / 3))
        at_1 = losses.dkd(student_BK, teacher_BK, one_hot(0, of=3), 1.0, 1.0, 8.0)
        at_4 = losses.dkd(4 * student_BK, 4 * teacher_BK, one_hot(0, of=3), 4.0, 0.5, 2.0)
        assert at_1.item() == pytest.approx(tckd + 8 * nckd)
        assert at_4.item() == pytest.approx(16 * (0.5 * tckd + 2 * nckd))

    def test_agrees_with_explicit_probabilities(self):
        student_BK, teacher_BK, _ = logits(batch=8, classes=5)
        for target in range(5):
            ours_B = losses.dkd(student_BK, teacher_BK, one_hot(*[target] * 8, of=5), 3.0, 0.7, 6.0)
            pairs = zip(student_BK, teacher_BK, strict=True)
            reference = [dkd_by_probabilities(s_K, t_K, target, 3.0, 0.7, 6.0) for s_K, t_K in pairs]
            assert ours_B.tolist() == pytest.approx(reference)

    def test_is_plain_kd_when_the_rest_weighs_what_the_teacher_gives_it(self):
        student_BK, teacher_BK, _ = logits()
        kd_B = losses.kd(student_BK, teacher_BK, 4.0)
        for row in range(len(kd_B)):
            one, target = slice(row, row + 1), row % 5
            p_target = (teacher_BK[row] / 4.0).softmax(0)[target].item()
            dkd_B = losses.dkd(student_BK[one], teacher_BK[one], one_hot(target, of=5), 4.0, 1.0, 1 - p_target)
            torch.testing.assert_close(dkd_B, kd_B[one])

    @pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 1.0])
    def test_is_linear_in_a_label_of_two_classes(self, share):
        student_BK, teacher_BK, _ = logits()
        first_BK, second_BK = one_hot(*[1] * 6, of=5), one_hot(*[4] * 6, of=5)
        dkd = partial(losses.dkd, student_BK, teacher_BK, temperature=4.0, target_weight=1.0, non_target_weight=8.0)
        mixed_B = dkd(target_BK=share * first_BK + (1 - share) * second_BK)
        expected_B = share * dkd(target_BK=first_BK) + (1 - share) * dkd(target_BK=second_BK)
        torch.testing.assert_close(mixed_B, expected_B)

    def test_takes_the_two_largest_entries_of_a_wider_label_and_rescales_them(self):
        student_BK, teacher_BK, _ = logits(batch=1)
        wide_BK, narrow_BK = torch.tensor([[[0.6, 0.1, 0.0, 0.2, 0.1]], [[0.75, 0.0, 0.0, 0.25, 0.0]]]).double()
        dkd = partial(losses.dkd, student_BK, teacher_BK, temperature=4.0, target_weight=1.0, non_target_weight=8.0)
        torch.testing.assert_close(dkd(target_BK=wide_BK), dkd(target_BK=narrow_BK), rtol=1e-6, atol=0)

    def test_two_classes_leave_nothing_among_the_rest(self):
        student_BK, teacher_BK = normal(4, 2, seed=1), normal(4, 2, seed=2)
        dkd_B = losses.dkd(student_BK, teacher_BK, one_hot(0, 1, 1, 0, of=2), 2.0, 1.0, 8.0)
        torch.testing.assert_close(dkd_B, losses.kd(student_BK, teacher_BK, 2.0))

    def test_one_class_is_refused(self):
        with pytest.raises(InputError, match=r"\(4, 1\)"):
            losses.dkd(torch.zeros(4, 1), torch.zeros(4, 1), torch.ones(4, 1), 4.0, 1.0, 8.0)

    def test_sure_teacher_and_student_lose_nothing_in_fp32(self):
        # 1 - p_target is 1e-22 here: subtracted in fp32 it would be 0, and its logarithm infinite.
        teacher_BK, student_BK = torch.tensor([[50.0, 1.0, 0.0]]), torch.tensor([[50.0, 0.0, 1.0]])
        p = 1 / (1 + math.exp(-1))
        nckd = p * (math.log(p) - math.log(1 - p)) + (1 - p) * (math.log(1 - p) - math.log(p))
        dkd_B = losses.dkd(student_BK, teacher_BK, one_hot(0, of=3), 1.0, 1.0, 8.0)
        assert dkd_B.item() == pytest.approx(8 * nckd, rel=1e-5)


class TestHint:
    def test_by_hand(self):
        student_BCHW = torch.tensor([1.0, 2.0, 3.0, 4.0, 0.0, 0.0, 0.0, 0.0]).reshape(2, 1, 2, 2)
        teacher_BCHW = torch.tensor([1.0, 0.0, 3.0, 0.0, 2.0, 2.0, 2.0, 2.0]).reshape(2, 1, 2, 2)
        assert losses.hint(student_BCHW, teacher_BCHW).tolist() == [(0 + 4 + 0 + 16) / 4, 16 / 4]

    def test_mean_is_mse(self):
        student_BCHW, teacher_BCHW = normal(3, 4, 5, 6, seed=1), normal(3, 4, 5, 6, seed=2)
        ours = losses.hint(student_BCHW, teacher_BCHW).mean()
        torch.testing.assert_close(ours, F.mse_loss(student_BCHW, teacher_BCHW))

    def test_the_larger_is_pooled_to_the_smaller_whichever_it_is(self):
        large_BCHW = torch.tensor([[1.0, 3.0, 5.0, 7.0], [1.0, 3.0, 5.0, 7.0]]).reshape(1, 1, 2, 4)
        small_BCHW = torch.tensor([2.0, 4.0]).reshape(1, 1, 1, 2)  # the means of both halves are 2 and 6
        expected = ((2 - 2) ** 2 + (6 - 4) ** 2) / 2
        assert losses.hint(large_BCHW, small_BCHW).tolist() == [expected]
        assert losses.hint(small_BCHW, large_BCHW).tolist() == [expected]

    def test_each_axis_takes_its_own_smaller_size(self):
        student_BCHW, teacher_BCHW = normal(2, 3, 8, 4, seed=1), normal(2, 3, 4, 8, seed=2)
        pooled = (F.avg_pool2d(student_BCHW, (2, 1)), F.avg_pool2d(teacher_BCHW, (1, 2)))
        torch.testing.assert_close(losses.hint(student_BCHW, teacher_BCHW), losses.hint(*pooled))

    @pytest.mark.parametrize("width", [1, 2, 3, 4, 5])
    def test_sides_that_divide_are_pooled_by_an_operator_that_is_deterministic_on_a_gpu(self, width):
        """The backward pass of adaptive pooling is not; it is left to sides that do not divide."""
        student_BCHW = torch.randn(2, 3, 6, 6, requires_grad=True)
        pooled_BCHW = losses._pooled(student_BCHW, 3, width)
        torch.testing.assert_close(pooled_BCHW, F.adaptive_avg_pool2d(student_BCHW, (3, width)))
        assert ("Adaptive" in str(pooled_BCHW.grad_fn)) == (width in (4, 5))

    def test_vectors_are_maps_of_one_place(self):
        student_BK, teacher_BK = torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 5.0]])
        assert losses.hint(student_BK, teacher_BK).tolist() == [(0 + 9) / 2]
        assert losses.hint(student_BK, teacher_BK[:, :, None, None]).tolist() == [(0 + 9) / 2]

    def test_other_channels_are_refused_not_broadcast(self):
        with pytest.raises(InputError, match=r"\(2, 1, 4, 4\).*\(2, 3, 4, 4\)"):
            losses.hint(torch.zeros(2, 1, 4, 4), torch.zeros(2, 3, 4, 4))


class TestAttention:
    def test_by_hand(self):
        student_BCHW = torch.tensor([[3.0, 0.0], [3.0, 0.0]]).reshape(1, 2, 1, 2)  # channel means of squares: (9, 0)
        teacher_BCHW = torch.tensor([math.sqrt(3), 2.0]).reshape(1, 1, 1, 2)  # (3, 4), normalised (3/5, 4/5)
        expected = ((1 - 3 / 5) ** 2 + (0 - 4 / 5) ** 2) / 2
        assert losses.attention(student_BCHW, teacher_BCHW).item() == pytest.approx(expected)

    def test_mean_is_the_public_code_of_the_authors(self):
        student_BCHW, teacher_BCHW = normal(3, 4, 5, 5, seed=1), normal(3, 7, 5, 5, seed=2)
        maps = [x_BCHW.pow(2).mean(1).view(3, -1) for x_BCHW in (student_BCHW, teacher_BCHW)]
        student_BN, teacher_BN = (x_BN / x_BN.norm(dim=1, keepdim=True) for x_BN in maps)
        ours = losses.attention(student_BCHW, teacher_BCHW).mean()
        torch.testing.assert_close(ours, (student_BN - teacher_BN).pow(2).mean())

    def test_scale_and_sign_of_a_layer_do_not_matter(self):
        teacher_BCHW = normal(2, 3, 4, 4, seed=1)
        assert losses.attention(-9 * teacher_BCHW, teacher_BCHW).tolist() == pytest.approx([0, 0])

    def test_sizes_are_made_equal_first(self):
        student_BCHW, teacher_BCHW = normal(2, 3, 8, 8, seed=1), normal(2, 5, 4, 4, seed=2)
        expected_B = losses.attention(F.avg_pool2d(student_BCHW, 2), teacher_BCHW)
        torch.testing.assert_close(losses.attention(student_BCHW, teacher_BCHW), expected_B)

    @pytest.mark.parametrize("shape", [(2, 8), (2, 8, 1, 1)])
    def test_one_place_has_nothing_to_compare(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(UsageError, match="has only one"):
            losses.attention(normal(*shape, seed=1), normal(2, 16, 4, 4, seed=2))

    def test_half_precision_activations_do_not_overflow_when_squared(self):
        student_BCHW, teacher_BCHW = (1000 * normal(2, 3, 4, 4, seed=s) for s in (1, 2))  # 1000^2 > 65504
        ours_B = losses.attention(student_BCHW.half(), teacher_BCHW.half())
        torch.testing.assert_close(ours_B, losses.attention(student_BCHW, teacher_BCHW).float(), rtol=1e-2, atol=1e-4)


class TestPrecision:
    @each_logit_loss
    def test_logits_gradient(self, loss):
        student_BK, teacher_BK, target_BK = logits()
        assert torch.autograd.gradcheck(lambda x_BK: loss(x_BK, teacher_BK, target_BK), student_BK.requires_grad_())

    @each_feature_loss
    @pytest.mark.parametrize("size", [(4, 4), (2, 2), (6, 3)])
    def test_features_gradient(self, loss, size):
        teacher_BCHW = normal(2, 3, *size, seed=2)
        assert torch.autograd.gradcheck(lambda x: loss(x, teacher_BCHW), normal(2, 3, 4, 4, seed=1).requires_grad_())

    @each_logit_loss
    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_half_precision_logits_are_computed_in_fp32(self, loss, dtype):
        halves = [x.to(dtype) for x in logits()]
        loss_B = loss(*halves)
        assert loss_B.dtype == torch.float32
        assert torch.equal(loss_B, loss(*[x.float() for x in halves]))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(loss_B, loss(*halves))

    @each_feature_loss
    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_half_precision_features_are_computed_in_fp32(self, loss, dtype):
        halves = [normal(2, 3, size, size, seed=size).to(dtype) for size in (8, 4)]
        loss_B = loss(*halves)
        assert loss_B.dtype == torch.float32
        assert torch.equal(loss_B, loss(*[x.float() for x in halves]))

    @each_logit_loss
    def test_fp64_stays_fp64(self, loss):
        assert loss(*logits()).dtype == torch.float64

    @each_logit_loss
    @pytest.mark.parametrize("flip", [1, -1])
    def test_extreme_logits_are_finite_and_right(self, loss, flip):
        student_BK = torch.tensor([[200.0, -200.0, 0.0], [-200.0, 200.0, 200.0]], requires_grad=True)
        teacher_BK = flip * torch.tensor([[-200.0, 200.0, 0.0], [-200.0, -200.0, 200.0]])
        target_BK = torch.tensor([[1.0, 0.0, 0.0], [0.4, 0.6, 0.0]])
        loss_B = loss(student_BK, teacher_BK, target_BK)
        (gradient_BK,) = torch.autograd.grad(loss_B.sum(), student_BK)
        assert gradient_BK.isfinite().all()
        torch.testing.assert_close(loss_B, loss(student_BK.double(), teacher_BK.double(), target_BK.double()).float())

    def test_extreme_logits_by_hand(self):
        student_BK, teacher_BK = torch.tensor([[200.0, -200.0]]), torch.tensor([[-200.0, 200.0]])
        assert losses.kd(student_BK, teacher_BK, 1.0).item() == 400  # p = (0, 1), log q = (0, -400)
        assert losses.dkd(student_BK, teacher_BK, one_hot(1, of=2), 1.0, 1.0, 8.0).item() == 400
        assert losses.cross_entropy(student_BK, one_hot(1, of=2)).item() == 400


class TestRows:
    @each_logit_loss
    def test_one_value_per_sample_whatever_the_neighbours(self, loss):
        rows = logits(batch=6)
        alone = [loss(*[x[i : i + 1] for x in rows]) for i in range(6)]
        assert loss(*rows).shape == (6,)
        torch.testing.assert_close(loss(*rows), torch.cat(alone))

    @each_logit_loss
    def test_padding_of_zeros_weighs_nothing(self, loss):
        student_BK, teacher_BK, target_BK = (F.pad(x, (0, 0, 0, 2)) for x in logits(batch=6))
        student_BK.requires_grad_()
        weight_B = torch.tensor([1.0] * 6 + [0.0] * 2)
        weighted = (weight_B * loss(student_BK, teacher_BK, target_BK)).sum()
        (gradient_BK,) = torch.autograd.grad(weighted, student_BK)
        torch.testing.assert_close(weighted.detach(), loss(*logits(batch=6)).sum())
        assert gradient_BK[6:].tolist() == [[0] * 5] * 2

    @each_feature_loss
    def test_padding_of_zero_features_weighs_nothing(self, loss):
        student_BCHW = torch.zeros(2, 3, 4, 4, requires_grad=True)
        for teacher_BCHW in (torch.zeros(2, 3, 4, 4), torch.ones(2, 3, 4, 4)):
            (gradient_BCHW,) = torch.autograd.grad((0 * loss(student_BCHW, teacher_BCHW)).sum(), student_BCHW)
            assert not gradient_BCHW.any()

    @each_logit_loss
    def test_a_nan_stays_visible_in_its_row_alone(self, loss):
        student_BK, teacher_BK, target_BK = logits(batch=3)
        student_BK[1, 0] = math.nan
        assert loss(student_BK, teacher_BK, target_BK).isnan().tolist() == [False, True, False]

    @each_feature_loss
    def test_a_nan_feature_stays_visible_in_its_row_alone(self, loss):
        student_BCHW, teacher_BCHW = normal(3, 2, 4, 4, seed=1), normal(3, 2, 4, 4, seed=2)
        student_BCHW[1, 0, 0, 0] = math.nan
        assert loss(student_BCHW, teacher_BCHW).isnan().tolist() == [False, True, False]

    @each_logit_loss
    def test_other_numbers_of_classes_are_refused_not_broadcast(self, loss):
        student_BK, teacher_BK, target_BK = logits()
        with pytest.raises(InputError, match=r"\(6, 5\).*\(6, 1\)"):
            loss(student_BK, teacher_BK[:, :1], target_BK[:, :1])

    @each_feature_loss
    @pytest.mark.parametrize("shape", [(2, 16, 8), (2,), (2, 3, 4, 4, 4)])
    def test_tokens_and_other_shapes_are_refused_by_name(self, loss, shape):
        with pytest.raises(UsageError, match=str(shape).replace("(", r"\(").replace(")", r"\)")):
            loss(torch.zeros(2, 3, 4, 4), torch.zeros(shape))

    @each_feature_loss
    def test_other_batches_are_refused_not_broadcast(self, loss):
        with pytest.raises(InputError):
            loss(torch.zeros(1, 3, 4, 4), torch.zeros(2, 3, 4, 4))
