"""Teacher logits as bytes: dense float32, dense float16, or the k largest of each row and what the others come to.

Also the seal of a block of rows, by which damaged and misplaced bytes are told from sound ones.

float32 keeps logits as they are: training from it repeats online training bit for bit. float16 and top_k first take
away the row's maximum, which no softmax sees and which puts the classes that matter where float16 is finest.

Mean KL(teacher || stored) over 4,096 rows of synthetic logits, normal with deviation 3 and one class raised by 6 to 12:

                                 T = 1     T = 4     T = 20
    float16, 10 classes          1e-8      4e-8      4e-9
    float16, 1,000 classes       2e-7      1e-7      6e-9
    top_k 64, 1,000 classes     0.093     0.151     0.008

NOTE: top_k at T = 1 loses what is unequal within the tail, at most P log(K - k) where the tail has probability P; at
higher temperatures it also makes the tail too heavy. Such a flat tail is hard on it; no real teacher was measured.

N samples, R rows, K classes, k of them kept (k = K in a dense store). Bytes are little-endian.
"""

from __future__ import annotations

import math
import struct
import zlib
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from configs.errors import UsageError, require

Kind = Literal["float32", "float16", "top_k"]
Floats = npt.NDArray[np.floating[Any]]

# Dense up to here: 256 classes in float16 are 512 bytes a row, 64 kept ones 260.
DENSE_CLASSES = 256
TOP_K = 64
LOWEST = -65504.0  # of float16; e to this is 0 at any temperature in use

# Raise it whenever the layout of the files of a cache, or what a codec does, changes.
FORMAT = 1
MAGIC = b"hclogits"
HEADER = struct.Struct("<8sI32sQIII")  # magic, format, key, view, block, rows, CRC-32 of what follows


class DamageError(ValueError):
    """What is wrong with a file, in a few words."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Encoded:
    """Logits of N samples as they are stored: arrays with a row per sample, to be moved to a device and indexed."""

    classes: int
    """K."""
    value_Nk: Floats
    """The kept logits; in float16 relative to the row's maximum. Dense: k = K, class after class."""
    index_Nk: npt.NDArray[np.integer[Any]] | None = None
    """The classes that `value_Nk` belongs to, largest logit first; None: dense."""
    tail_N: npt.NDArray[np.float32] | None = None
    """Log-sum-exp at T = 1 of all other logits, relative to the row's maximum; None: dense."""

    def __len__(self) -> int:
        return len(self.value_Nk)

    @property
    def arrays(self) -> tuple[npt.NDArray[Any], ...]:
        """value_Nk and, for top_k, index_Nk and tail_N: the order in which they are stored."""
        return tuple(part for part in (self.value_Nk, self.index_Nk, self.tail_N) if part is not None)

    def take(self, rows: npt.NDArray[np.int64] | slice) -> Encoded:
        """Some rows, in the order given."""
        return Encoded(classes=self.classes, **_named([array[rows] for array in self.arrays]))

    def dense(self) -> npt.NDArray[np.float32]:
        """Logits of all K classes, N x K. Of top_k, each class that was not kept gets an equal share of the tail.

        In torch, on the device, for rows of a batch:
            (tail_B - math.log(K - k))[:, None].repeat(1, K).scatter_(1, index_Bk.long(), value_Bk.float())
        """
        if self.index_Nk is None or self.tail_N is None:
            return self.value_Nk.astype(np.float32)
        share_N = self.tail_N - np.float32(math.log(self.classes - self.value_Nk.shape[1]))
        logit_NK = np.repeat(share_N[:, None], self.classes, axis=1)
        np.put_along_axis(logit_NK, self.index_Nk.astype(np.int64), self.value_Nk.astype(np.float32), axis=1)
        return logit_NK


@dataclass(frozen=True, slots=True)
class Codec:
    """How rows of logits become bytes. UsageError for what cannot be."""

    kind: Kind
    k: int = 0
    """Classes kept by top_k; 0 for the dense kinds."""

    def __post_init__(self) -> None:
        require(self.kind in ("float32", "float16", "top_k"), "kind", self.kind, "float32, float16 or top_k")
        require(self.k > 0 if self.kind == "top_k" else self.k == 0, "k", self.k, "positive for top_k, 0 otherwise")

    @classmethod
    def choose(cls, classes: int, store: Kind | Literal["auto"] = "auto") -> Codec:
        """The codec for a store; `auto` is float16 up to 256 classes and the 64 largest logits above."""
        kind = store if store != "auto" else "float16" if classes <= DENSE_CLASSES else "top_k"
        if kind == "top_k" and classes <= TOP_K:
            raise UsageError(
                f"top_k keeps {TOP_K} logits of each sample, and there are {classes}; store float16 instead"
            )
        return cls(kind, TOP_K if kind == "top_k" else 0)

    def encode(self, logit_RK: Floats) -> bytes:
        """Finite logits as bytes; equal logits give equal bytes."""
        logit_RK = logit_RK.astype(np.float32)
        parts: tuple[npt.NDArray[Any], ...] = (logit_RK,)
        if self.kind != "float32":
            relative_RK = logit_RK.astype(np.float64) - logit_RK.max(axis=1, keepdims=True)
            relative_RK = np.maximum(relative_RK, LOWEST)
            parts = self._largest(logit_RK, relative_RK) if self.kind == "top_k" else (relative_RK,)
        layout = self._layout(*logit_RK.shape)
        return b"".join(part.astype(dtype).tobytes() for part, (dtype, _) in zip(parts, layout, strict=True))

    def _largest(self, logit_RK: Floats, relative_RK: Floats) -> tuple[npt.NDArray[Any], ...]:
        """Values and classes of the k largest, the lower class first among equals; log-sum-exp of the others."""
        # 0.2 s for 4,096 rows of 1,000; a partition would be faster and leave open which of equal classes is kept.
        index_RK = np.argsort(-logit_RK, axis=1, kind="stable")
        sorted_RK = np.take_along_axis(relative_RK, index_RK, axis=1)
        other_RK = sorted_RK[:, self.k :]
        peak_R1 = other_RK[:, :1]  # NOTE: taken out of the sum, which would otherwise be log 0 for a sure teacher
        tail_R = peak_R1[:, 0] + np.log(np.exp(other_RK - peak_R1).sum(axis=1))
        return sorted_RK[:, : self.k], index_RK[:, : self.k], tail_R

    def decode(self, data: bytes | memoryview, rows: int, classes: int) -> Encoded:
        """The rows in `data`, without a copy and therefore read-only."""
        assert len(data) == rows * self.row_bytes(classes)
        arrays, start = [], 0
        for dtype, shape in self._layout(rows, classes):
            arrays.append(np.frombuffer(data, dtype, math.prod(shape), start).reshape(shape))
            start += arrays[-1].nbytes
        return Encoded(classes=classes, **_named(arrays))

    def empty(self, rows: int, classes: int) -> Encoded:
        """Room for so many rows."""
        return Encoded(
            classes=classes, **_named([np.empty(shape, dtype) for dtype, shape in self._layout(rows, classes)])
        )

    def row_bytes(self, classes: int) -> int:
        """Bytes of one sample."""
        return sum(np.dtype(dtype).itemsize * math.prod(shape) for dtype, shape in self._layout(1, classes))

    def _layout(self, rows: int, classes: int) -> list[tuple[str, tuple[int, ...]]]:
        """Type and shape of the arrays of a block, which lie one after the other."""
        if self.kind != "top_k":
            return [("<f4" if self.kind == "float32" else "<f2", (rows, classes))]
        index = "<u2" if classes <= 1 << 16 else "<i4"
        return [("<f2", (rows, self.k)), (index, (rows, self.k)), ("<f4", (rows,))]


def _named(arrays: list[npt.NDArray[Any]]) -> dict[str, Any]:
    return dict(zip(("value_Nk", "index_Nk", "tail_N"), arrays, strict=False))


def seal(payload: bytes, key: bytes, view: int, block: int, rows: int) -> bytes:
    """A block as it is stored: 64 bytes that say which block of which cache this is, then the payload."""
    return HEADER.pack(MAGIC, FORMAT, key, view, block, rows, zlib.crc32(payload)) + payload


def unseal(data: bytes, size: int, key: bytes, view: int, block: int, rows: int) -> memoryview:
    """The payload of `size` bytes, without a copy. DamageError says why `data` is not the block that is wanted."""
    if len(data) < HEADER.size:
        raise DamageError(f"{len(data)} bytes instead of {HEADER.size + size}")
    magic, form, owner, *place, crc = HEADER.unpack_from(data)
    if (magic, form) != (MAGIC, FORMAT):
        raise DamageError(f"not a block of format {FORMAT}")
    if owner != key:
        raise DamageError("a block of another cache")
    if place != [view, block, rows]:
        raise DamageError("block {1} of view {0}, with {2} rows".format(*place))
    if len(data) != HEADER.size + size:
        raise DamageError(f"{len(data)} bytes instead of {HEADER.size + size}")
    payload = memoryview(data)[HEADER.size :]
    if zlib.crc32(payload) != crc:
        raise DamageError("the checksum differs")
    return payload
