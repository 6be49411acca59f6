"""The labels of each operation's outputs, by the name of the operation in torch's aten set.

An operation without a rule keeps every channel that enters it: what it does with them is not known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from models.pruning.flow import moves, shuffles, sums
from models.pruning.flow.calls import Call, Rule, unknown
from models.pruning.flow.labels import FIXED, UNIFORM, Labels

NAMES: dict[Rule, str] = {
    moves.same: "clone detach alias contiguous _to_copy lift_fresh lift_fresh_copy _softmax _log_softmax "
    "_safe_softmax cumsum cumprod logcumsumexp softmax log_softmax dropout fill_ zero_ to native_dropout "
    "bernoulli bernoulli_ uniform_ normal_ exponential_ tril triu requires_grad_",
    sums.copied: "copy_",
    sums.entrywise: "_prelu_kernel prelu _weight_norm_interface masked_fill masked_fill_ lerp isin celu elu gelu "
    "hardshrink hardsigmoid hardswish hardtanh leaky_relu log_sigmoid logit mish relu relu6 rrelu selu "
    "sigmoid silu softplus softshrink tanh threshold clamp celu_ elu_ gelu_ hardsigmoid_ hardswish_ "
    "hardtanh_ leaky_relu_ mish_ relu_ relu6_ selu_ sigmoid_ silu_ tanh_ threshold_ clamp_",
    moves.uniform: "zeros ones full empty new_zeros new_ones new_full new_empty scalar_tensor",
    moves.reshape: "view _unsafe_view _reshape_alias reshape flatten unflatten squeeze unsqueeze squeeze_ "
    "unsqueeze_ view_copy",
    moves.strided: "as_strided as_strided_",
    moves.expand: "expand",
    moves.permute: "permute",
    moves.transpose: "transpose transpose_",
    moves.turned: "t t_ numpy_T",
    moves.sliced: "slice",
    moves.select: "select unbind",
    moves.split: "split split_with_sizes unsafe_split unsafe_split_with_sizes chunk unsafe_chunk",
    moves.concatenate: "cat concat",
    moves.stack: "stack",
    sums.reduce: "sum mean amax amin max min var std var_mean std_mean prod logsumexp linalg_vector_norm norm "
    "argmax argmin any all median nansum",
    sums.pool: "max_pool2d_with_indices max_pool2d max_pool3d_with_indices avg_pool1d avg_pool2d avg_pool3d "
    "_adaptive_avg_pool2d adaptive_avg_pool1d adaptive_avg_pool2d _adaptive_avg_pool3d adaptive_max_pool2d "
    "upsample_nearest1d upsample_nearest2d _upsample_nearest_exact2d upsample_bilinear2d upsample_bicubic2d "
    "_upsample_bilinear2d_aa _upsample_bicubic2d_aa grid_sampler_2d max_pool1d_with_indices fractional_max_pool2d",
    moves.pad: "constant_pad_nd reflection_pad1d reflection_pad2d replication_pad1d replication_pad2d pad",
    sums.convolution: "convolution _convolution convolution_overrideable",
    sums.channel_norm: "native_batch_norm _native_batch_norm_legit _native_batch_norm_legit_no_training "
    "cudnn_batch_norm _batch_norm_no_update _batch_norm_with_update native_group_norm batch_norm",
    sums.layer_norm: "native_layer_norm _fused_rms_norm rms_norm layer_norm",
    sums.matrices("self", "mat2"): "mm bmm",
    sums.matrices("self", "mat1", "mat2"): "addmm",
    sums.matrices("self", "batch1", "batch2"): "baddbmm",
    sums.vector: "mv",
    sums.dot: "dot vdot",
    sums.linear: "linear",
    moves.embedding: "embedding",
    moves.index: "index",
    moves.picked: "index_select",
    moves.rolled: "roll flip",
    moves.repeat: "repeat",
    shuffles.unfold: "im2col",
    shuffles.pixel_shuffle: "pixel_shuffle",
    shuffles.pixel_unshuffle: "pixel_unshuffle",
    shuffles.channel_shuffle: "channel_shuffle native_channel_shuffle",
    shuffles.gated: "glu",
}
"""The operations of each rule."""


RULES: Mapping[str, Rule] = {name: rule for rule, listed in NAMES.items() for name in listed.split()}


def apply(call: Call, pointwise: bool) -> Sequence[Labels]:
    """Return the labels of each output."""
    if call.name.endswith("_like"):
        return moves.same(call)
    if not any(True for _ in call.tensors()):
        uniform = RULES.get(call.name) is moves.uniform
        return [((UNIFORM if uniform else FIXED),) * tensor.dim() for tensor in call.out]
    if call.name in RULES:
        return RULES[call.name](call)
    return sums.entrywise(call) if pointwise else unknown(call)


def is_pointwise(func: Any) -> bool:
    """Whether an operation works entry by entry."""
    return torch.Tag.pointwise in func.tags
