"""Logits as bytes, and what is lost on the way. R rows, K classes, k of them kept."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import log_softmax, logsumexp

from configs.errors import UsageError
from data_pipes.logits import codec as logit_codec
from data_pipes.logits.codec import Codec, DamageError, Encoded, seal, unseal

FLOAT32, FLOAT16, TOP_4 = Codec("float32"), Codec("float16"), Codec("top_k", 4)
CODECS = [FLOAT32, FLOAT16, TOP_4]
TEMPERATURES = (1.0, 4.0, 20.0)


def logits_of(low: int = 5, high: int = 12, size: float = 60.0):
    """Small tables of float32 logits; few distinct values now and then, so that classes tie."""
    shapes = st.tuples(st.integers(1, 3), st.integers(low, high))
    values = st.one_of(st.floats(-size, size, width=32), st.integers(-2, 2).map(float))
    return shapes.flatmap(lambda shape: arrays(np.float32, shape, elements=values))


def synthetic(classes: int, rows: int = 4096) -> np.ndarray:
    """As the module describes them."""
    random = np.random.default_rng(0)
    logit_RK = random.normal(0, 3, (rows, classes))
    logit_RK[np.arange(rows), random.integers(0, classes, rows)] += random.uniform(6, 12, rows)
    return logit_RK.astype(np.float32)


def there_and_back(codec: Codec, logit_RK: np.ndarray) -> Encoded:
    return codec.decode(codec.encode(logit_RK), *logit_RK.shape)


def divergence(logit_RK: np.ndarray, stored_RK: np.ndarray, temperature: float) -> np.ndarray:
    """KL(p || q) of each row."""
    p, q = (log_softmax(x.astype(np.float64) / temperature, axis=1) for x in (logit_RK, stored_RK))
    return (np.exp(p) * (p - q)).sum(axis=1)


# ---- round trips


@given(arrays(np.float32, (3, 7), elements=st.floats(width=32, allow_nan=False, allow_infinity=False)))
def test_float32_gives_every_bit_back(logit_RK):
    found = there_and_back(FLOAT32, logit_RK).dense()
    assert found.dtype == np.float32 and found.tobytes() == logit_RK.tobytes()  # negative zeros included


@given(logits_of())
def test_float16_is_the_nearest_to_the_distance_from_the_maximum(logit_RK):
    found = there_and_back(FLOAT16, logit_RK).dense()
    exact = logit_RK.astype(np.float64) - logit_RK.max(axis=1, keepdims=True)
    assert found.max() == 0 and (np.abs(found - exact) <= np.abs(exact) * 2.0**-11 + 2.0**-25).all()


@given(logits_of())
def test_top_k_keeps_the_largest_and_the_sum_of_the_others(logit_RK):
    found = there_and_back(TOP_4, logit_RK)
    for row, logit_K in enumerate(logit_RK.astype(np.float64)):
        ranked = sorted(range(len(logit_K)), key=lambda c: (-logit_K[c], c))
        assert found.index_Nk[row].tolist() == ranked[:4]
        relative_K = logit_K - logit_K.max()
        assert np.allclose(found.value_Nk[row], relative_K[ranked[:4]], rtol=2.0**-10, atol=2.0**-24)
        assert found.tail_N[row] == pytest.approx(logsumexp(relative_K[ranked[4:]]), rel=1e-6, abs=1e-6)


@given(logits_of())
def test_dense_shares_the_tail_equally(logit_RK):
    encoded = there_and_back(TOP_4, logit_RK)
    dense_RK = encoded.dense()
    assert dense_RK.dtype == np.float32 and dense_RK.shape == logit_RK.shape
    for row, logit_K in enumerate(dense_RK):
        kept = encoded.index_Nk[row]
        others = np.delete(logit_K, kept)
        assert (logit_K[kept] == encoded.value_Nk[row]).all() and len(set(others.tolist())) == 1
        assert logsumexp(others.astype(np.float64)) == pytest.approx(encoded.tail_N[row], rel=1e-5, abs=1e-5)


@settings(max_examples=50)
@given(logits_of(), st.sampled_from(CODECS))
def test_equal_logits_are_equal_bytes_in_any_layout(logit_RK, codec):
    data = codec.encode(logit_RK)
    assert len(data) == len(logit_RK) * codec.row_bytes(logit_RK.shape[1])
    for same in (np.asfortranarray(logit_RK), logit_RK.astype(np.float64), np.repeat(logit_RK, 2, axis=0)[::2]):
        assert codec.encode(same) == data
    rows = [codec.decode(codec.encode(row[None]), 1, len(row)).dense() for row in logit_RK]
    assert np.array_equal(np.concatenate(rows), there_and_back(codec, logit_RK).dense()), "no row sees another"


@pytest.mark.parametrize("codec", CODECS)
def test_rows_can_be_taken_before_they_are_dense(codec):
    encoded = there_and_back(codec, synthetic(9, 20))
    rows = np.array([3, 19, 3, 0])
    assert len(encoded) == 20 and len(encoded.take(rows)) == 4
    assert np.array_equal(encoded.take(rows).dense(), encoded.dense()[rows])
    assert np.array_equal(encoded.take(slice(2, 5)).dense(), encoded.dense()[2:5])
    room = codec.empty(20, 9)
    assert [(a.dtype, a.shape) for a in room.arrays] == [(a.dtype, a.shape) for a in encoded.arrays]


@pytest.mark.parametrize("codec", CODECS)
def test_extreme_logits_stay_finite(codec):
    logit_RK = np.array([[3e38, -3e38, 0, 1, 2, -1e30], [-3e38] * 6, [0, -7e4, -65503, -1e6, 5, -2e5]], np.float32)
    encoded = there_and_back(codec, logit_RK)
    assert all(np.isfinite(array).all() for array in encoded.arrays) and np.isfinite(encoded.dense()).all()
    if codec is not FLOAT32:
        assert encoded.dense()[0].argmax() == 0 and encoded.value_Nk.min() >= -65504


def test_the_bytes_are_as_they_were():
    """A change here is a change of FORMAT."""
    logit_RK = np.array([[1, 3, 3, 0, 2, -1]], np.float32)
    assert FLOAT32.encode(logit_RK) == np.array([1, 3, 3, 0, 2, -1], "<f4").tobytes()
    assert FLOAT16.encode(logit_RK).hex() == "00c000000000" + "00c200bc00c4"
    tail = np.array([math.log(math.exp(-3) + math.exp(-4))], "<f4").tobytes().hex()
    assert TOP_4.encode(logit_RK).hex() == "0000000000bc00c0" + "0100020004000000" + tail


@pytest.mark.parametrize(("classes", "kind"), [(65_536, "<u2"), (65_537, "<i4")])
def test_the_last_of_many_classes_has_a_number(classes, kind):
    logit_RK = np.zeros((1, classes), np.float32)
    logit_RK[0, -1] = 9
    encoded = there_and_back(TOP_4, logit_RK)
    assert encoded.index_Nk.dtype == np.dtype(kind) and encoded.index_Nk.tolist() == [[classes - 1, 0, 1, 2]]


def test_torch_does_the_same_with_the_arrays():
    encoded = there_and_back(TOP_4, synthetic(30, 50))
    value_Bk, index_Bk, tail_B = (torch.from_numpy(array.copy()) for array in encoded.arrays)
    found = (tail_B - math.log(30 - 4))[:, None].repeat(1, 30).scatter_(1, index_Bk.long(), value_Bk.float())
    assert np.array_equal(found.numpy(), encoded.dense())


# ---- what is lost


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_float16_costs_next_to_nothing(temperature):
    logit_RK = synthetic(10)
    assert divergence(logit_RK, there_and_back(FLOAT16, logit_RK).dense(), temperature).mean() < 5e-8


def test_taking_the_maximum_away_is_what_makes_float16_fine():
    logit_RK = synthetic(10)
    stored = divergence(logit_RK, there_and_back(FLOAT16, logit_RK).dense(), 1.0).mean()
    assert 5 * stored < divergence(logit_RK, logit_RK.astype(np.float16), 1.0).mean()


@settings(max_examples=60)
@given(st.integers(0, 2**32), st.integers(2, 256), st.floats(0.1, 1e5), st.sampled_from(TEMPERATURES), st.booleans())
def test_no_row_in_float16_is_worse_than_rounding_can_make_it(seed, classes, size, temperature, tied):
    """KL is half the variance of the error, below 2^-22 E[u^2] at a distance of u T: 1.2e-6 at 256 classes."""
    logit_RK = np.random.default_rng(seed).uniform(-size, size, (50, classes)).astype(np.float32)
    logit_RK = np.round(logit_RK) if tied else logit_RK
    assert divergence(logit_RK, there_and_back(FLOAT16, logit_RK).dense(), temperature).max() < 2e-6


@given(logits_of(size=20))
def test_top_k_loses_at_most_the_entropy_of_the_tail(logit_RK):
    found = divergence(logit_RK, there_and_back(TOP_4, logit_RK).dense(), 1.0)
    p_RK = np.sort(np.exp(log_softmax(logit_RK.astype(np.float64), axis=1)), axis=1)
    assert (found <= p_RK[:, :-4].sum(axis=1) * math.log(logit_RK.shape[1] - 4) + 2e-6).all()


@pytest.mark.parametrize(("temperature", "bound"), [(1.0, 0.10), (4.0, 0.16), (20.0, 0.009)])
def test_top_64_of_1000_costs_what_is_documented(temperature, bound):
    logit_RK = synthetic(1000, 1024)
    found = divergence(logit_RK, there_and_back(Codec.choose(1000), logit_RK).dense(), temperature).mean()
    dropped = np.where(logit_RK >= np.sort(logit_RK, axis=1)[:, -64:-63], logit_RK, -65504)
    assert found < bound < divergence(logit_RK, dropped, temperature).mean()  # control: no tail at all


# ---- choices


def test_dense_as_long_as_that_is_small():
    assert Codec.choose(10) == Codec.choose(256) == FLOAT16
    assert Codec.choose(257) == Codec.choose(1000, "top_k") == Codec("top_k", 64)
    assert Codec.choose(1000, "float32") == FLOAT32 and Codec.choose(1000, "float16") == FLOAT16
    assert FLOAT16.row_bytes(256) == 512 and Codec("top_k", 64).row_bytes(257) == 260


def test_what_cannot_be_is_refused():
    with pytest.raises(UsageError, match="top_k keeps 64 logits of each sample, and there are 64; store float16"):
        Codec.choose(64, "top_k")
    with pytest.raises(UsageError, match="kind is 'bfloat16'; it must be float32, float16 or top_k"):
        Codec("bfloat16")
    for codec in (("top_k", 0), ("top_k", -1), ("float16", 5)):
        with pytest.raises(UsageError, match=r"k is .*positive for top_k, 0 otherwise"):
            Codec(*codec)


# ---- the seal

KEY, PAYLOAD = bytes(range(32)), bytes(range(100, 112))


def test_what_was_sealed_is_unsealed():
    data = seal(PAYLOAD, KEY, 3, 12, 4)
    assert len(data) == 64 + 12 and data.startswith(b"hclogits\x01\0\0\0" + KEY)
    assert unseal(data, 12, KEY, 3, 12, 4) == PAYLOAD


@pytest.mark.parametrize("at", range(64 + len(PAYLOAD)))
def test_every_wrong_bit_is_found(at):
    for bit in range(8):
        data = bytearray(seal(PAYLOAD, KEY, 3, 12, 4))
        data[at] ^= 1 << bit
        with pytest.raises(DamageError):
            unseal(bytes(data), 12, KEY, 3, 12, 4)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "0 bytes instead of 76"),
        (seal(PAYLOAD, KEY, 3, 12, 4)[:63], "63 bytes instead of 76"),
        (seal(PAYLOAD, KEY, 3, 12, 4)[:75], "75 bytes instead of 76"),
        (seal(PAYLOAD, KEY, 3, 12, 4) + b"\0", "77 bytes instead of 76"),
        (seal(PAYLOAD + b"\0", KEY, 3, 12, 4), "77 bytes instead of 76"),
        (bytes(76), "not a block of format 1"),
        (seal(PAYLOAD, KEY[::-1], 3, 12, 4), "a block of another cache"),
        (seal(PAYLOAD, KEY, 12, 3, 4), "block 3 of view 12, with 4 rows"),
        (seal(PAYLOAD, KEY, 3, 12, 5), "block 12 of view 3, with 5 rows"),
        (seal(PAYLOAD, KEY, 3, 12, 4)[:-1] + b"\0", "the checksum differs"),
    ],
)
def test_why_it_is_not_the_block_that_is_wanted(data, reason):
    with pytest.raises(DamageError, match=f"^{reason}$"):
        unseal(data, 12, KEY, 3, 12, 4)


def test_another_format_is_another_block(monkeypatch):
    data = seal(PAYLOAD, KEY, 3, 12, 4)
    monkeypatch.setattr(logit_codec, "FORMAT", 2)
    with pytest.raises(DamageError, match="not a block of format 2"):
        unseal(data, 12, KEY, 3, 12, 4)
