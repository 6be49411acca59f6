"""Partners, shares and pasted boxes: Beta as scipy has it, boxes as the paper's code draws them. N samples."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from data_pipes import mixing
from data_pipes.spec import AugmentSpec

N = 40_000


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 200), st.integers(0, 2**63), st.integers(0, 1000))
def test_matching_is_an_involution_with_at_most_one_left_over(count, seed, view):
    partner_N = mixing.matching(seed, view, count)
    assert np.array_equal(partner_N[partner_N], np.arange(count))
    assert int((partner_N == np.arange(count)).sum()) == count % 2


def test_every_partner_is_as_likely_and_views_differ():
    partners = np.stack([mixing.matching(0, view, 6) for view in range(3000)])
    counts = np.array([(partners[:, 0] == j).sum() for j in range(1, 6)])
    assert (partners[:, 0] != 0).all() and stats.chisquare(counts).pvalue > 1e-3
    assert len(np.unique(partners, axis=0)) == 15  # all matchings of six


def beta_p_value(share_N, alpha) -> float:
    """Kolmogorov-Smirnov within (0, 1), and a binomial test of the ends: shares are multiples of 2^-24."""
    end, beta = 2.0**-20, stats.beta(alpha, alpha)
    inside = share_N[(share_N > end) & (share_N < 1 - end)]
    width = beta.cdf(1 - end) - beta.cdf(end)
    shape = stats.kstest(inside, lambda x: (beta.cdf(x) - beta.cdf(end)) / width).pvalue
    return min(shape, stats.binomtest(len(inside), len(share_N), width).pvalue)


@pytest.mark.parametrize("alpha", [0.1, 0.2, 1.0, 2.0])
def test_shares_are_beta_distributed(alpha):
    share_N = mixing.beta(0, 0, np.full(20_000, alpha))
    assert share_N.min() >= 0 and share_N.max() <= 1
    assert stats.binomtest(int((share_N < 0.5).sum()), 20_000).pvalue > 1e-3
    assert beta_p_value(share_N, alpha) > 1e-3
    assert beta_p_value(share_N, alpha * 1.2) < 1e-3  # control


def test_each_row_has_its_own_alpha_and_does_not_depend_on_the_others():
    alpha_N = np.where(np.arange(2000) % 2, 0.3, 2.0)
    mixed = mixing.beta(5, 1, alpha_N)
    assert np.array_equal(mixed[1::2], mixing.beta(5, 1, np.full(2000, 0.3))[1::2])
    assert np.array_equal(mixed[:700], mixing.beta(5, 1, alpha_N[:700]))
    assert not np.array_equal(mixed, mixing.beta(5, 2, alpha_N))


def paper_box(share: float, y: int, x: int, height: int, width: int) -> list[int]:
    """rand_bbox of github.com/clovaai/CutMix-PyTorch, as (y, x, h, w)."""
    cut = np.sqrt(1.0 - share)
    cut_h, cut_w = int(height * cut), int(width * cut)
    top, bottom = np.clip(y - cut_h // 2, 0, height), np.clip(y + cut_h // 2, 0, height)
    left, right = np.clip(x - cut_w // 2, 0, width), np.clip(x + cut_w // 2, 0, width)
    return [int(top), int(left), int(bottom - top), int(right - left)]


def test_pasted_boxes_are_the_papers():
    rng = np.random.default_rng(0)
    share_N, centre_N2 = rng.random(2000), rng.random((2000, 2))
    box_N4 = mixing.paste_boxes(share_N, centre_N2, (33, 50))
    expected = [
        paper_box(share, int(y * 33), int(x * 50), 33, 50) for share, (y, x) in zip(share_N, centre_N2, strict=True)
    ]
    assert box_N4.tolist() == expected
    middle = mixing.paste_boxes(share_N, np.full((2000, 2), 0.5), (1000, 1000))
    np.testing.assert_allclose(middle[:, 2] * middle[:, 3] / 1e6, 1 - share_N, atol=0.005)


def test_members_of_a_pair_mix_alike():
    spec = AugmentSpec(mixup=0.4, cutmix=1.0, mix_probability=0.6)
    partner_N, blend_N, paste_N4 = mixing.mix(0, 0, spec, 1001, (32, 24))
    assert np.array_equal(blend_N, blend_N[partner_N]) and np.array_equal(paste_N4, paste_N4[partner_N])
    lone = partner_N == np.arange(1001)
    assert lone.sum() == 1 and blend_N[lone] == 1 and (paste_N4[lone] == 0).all()
    assert len(np.unique(blend_N)) > 100  # control: pairs do not all share one draw


def test_only_one_kind_per_pair_and_as_often_as_asked():
    spec = AugmentSpec(mixup=1.0, cutmix=1.0, mix_probability=0.6)
    partner_N, blend_N, paste_N4 = mixing.mix(0, 0, spec, N, (64, 64))
    leader = np.arange(N) < partner_N
    blended, pasted = (blend_N < 1)[leader], (paste_N4[:, 2:].min(axis=1) > 0)[leader]
    assert not (blended & pasted).any()
    margin = 4 * np.sqrt(0.3 * 0.7 / (N / 2))
    assert abs(blended.mean() - 0.3) < margin and abs(pasted.mean() - 0.3) < margin + 0.01  # boxes of no pixel
    never = mixing.mix(0, 0, AugmentSpec(mixup=1.0, mix_probability=1e-12), N, (64, 64))
    assert (never[1] == 1).all()


@pytest.mark.parametrize("alpha", [0.2, 1.0, 2.0])
def test_mixup_alone_blends_every_pair_by_beta(alpha):
    partner_N, blend_N, paste_N4 = mixing.mix(1, 0, AugmentSpec(mixup=alpha), N, (8, 8))
    leader = np.arange(N) < partner_N
    assert (paste_N4 == 0).all()
    assert beta_p_value(blend_N[leader], alpha) > 1e-3


@pytest.mark.parametrize("alpha", [0.5, 1.0])
def test_cutmix_alone_pastes_boxes_of_a_beta_share_before_they_are_cut_off(alpha):
    partner_N, blend_N, paste_N4 = mixing.mix(1, 0, AugmentSpec(cutmix=alpha), N, (512, 512))
    leader = np.arange(N) < partner_N
    y, x, h, w = paste_N4[leader].T.astype(float)
    whole = (y > 0) & (x > 0) & (y + h < 512) & (x + w < 512)
    assert (blend_N == 1).all() and (y + h <= 512).all() and (x + w <= 512).all()
    # A box's side says its share wherever it was not cut off along that side.
    uncut = (y > 0) & (y + h < 512)
    share = 1 - (h[uncut] / 512) ** 2
    expected = 1 - np.random.default_rng(0).beta(alpha, alpha, 200_000)
    side = np.floor(0.5 * np.sqrt(1 - expected) * 512)
    centre = np.floor(np.random.default_rng(1).random(200_000) * 512)
    kept = (centre - side > 0) & (centre + side < 512)
    assert stats.ks_2samp(share, (1 - (2 * side / 512) ** 2)[kept]).pvalue > 1e-3
    assert (h[whole] == w[whole]).all() and abs((y + h / 2)[whole].mean() / 512 - 0.5) < 0.01


def test_shares_and_boxes_are_independent():
    spec = AugmentSpec(mixup=1.0, cutmix=1.0)
    partner_N, blend_N, _ = mixing.mix(0, 0, spec, N, (64, 64))
    leader = np.arange(N) < partner_N
    kind = (blend_N < 1)[leader].astype(float)
    share = mixing.beta(0, 0, np.ones(N))[leader]
    assert abs(np.corrcoef(kind, share)[0, 1]) < 5 / np.sqrt(N / 2)
    other = mixing.beta(0, 1, np.ones(N))[leader]
    assert abs(np.corrcoef(other, share)[0, 1]) < 5 / np.sqrt(N / 2)
