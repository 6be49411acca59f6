"""Reshape an architecture to the tensors of a pruned network, alone.

Shapes determine the channels of every layer. What they do not determine, such as the number of heads of an attention,
are numbers on the layers: `differences` finds them and `set_attributes` restores them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor, nn

from configs.errors import InputError
from models.probe import duplicate, probe

Shapes = Mapping[str, tuple[int, ...]]
Attributes = Mapping[str, Mapping[str, float]]
"""Layer -> attribute -> number; an int stays an int."""


def reshape(module: nn.Module, shapes: Shapes) -> None:
    """Cut every layer in place to its first channels, so that its tensors have `shapes`, by state-dict name.

    Weights of convolutions and linear layers are scaled up for fewer inputs, so that outputs keep their variance.
    Names that only one side has are ignored. InputError: a shape that no cut of this network could have.
    """
    new: dict[int, nn.Parameter] = {}  # by the old parameter's id, so that tied weights stay tied
    for path, layer in module.named_modules():
        for name, tensor in _own_tensors(layer):
            full = f"{path}.{name}" if path else name
            shape = shapes.get(full, tuple(tensor.shape))
            _require_cut(full, tuple(tensor.shape), shape)
            if shape == tuple(tensor.shape):
                continue
            first = _first(layer, tensor.detach(), shape)
            if isinstance(tensor, nn.Parameter):
                parameter = nn.Parameter(first, requires_grad=tensor.requires_grad)
                layer._parameters[name] = new.setdefault(id(tensor), parameter)
            else:
                layer._buffers[name] = first
        _follow(path, layer)


def differences(cut: nn.Module, rebuilt: nn.Module) -> dict[str, dict[str, float]]:
    """Return the numbers, by layer, in which a cut network differs from the reshaped architecture."""
    found: dict[str, dict[str, float]] = {}
    for path, layer in rebuilt.named_modules():
        theirs = vars(cut.get_submodule(path))
        for name, own in _numbers(layer).items():
            if name in theirs and theirs[name] != own:
                found.setdefault(path, {})[name] = type(own)(theirs[name])
    return found


def set_attributes(module: nn.Module, attributes: Attributes) -> None:
    """Restore what `differences` found. Cuts only lower counts, so a file cannot make a network larger.

    InputError: a layer or attribute that the network does not have, or a number that no cut could leave.
    """
    layers = dict(module.named_modules())
    for path, values in attributes.items():
        numbers = _numbers(layers[path]) if path in layers else {}
        for name, value in values.items():
            if name not in numbers:
                raise InputError(f"layer {path!r} has no number {name!r}")
            own = numbers[name]
            if type(value) is not type(own) or not _possible(value, own):
                raise InputError(f"{name} of layer {path!r} is {value!r}; the uncut network has {own!r}")
            setattr(layers[path], name, value)


def require_match(wanted: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
    """InputError if two state dicts differ in names, shapes or types."""
    for what, names in (("lacks", wanted.keys() - found.keys()), ("has the unknown", found.keys() - wanted.keys())):
        if names:
            raise InputError(f"it {what} {', '.join(sorted(names)[:4])} ({len(names)} in all)")
    for name, tensor in wanted.items():
        other = found[name]
        if (tensor.shape, tensor.dtype) != (other.shape, other.dtype):
            raise InputError(f"{name} is {list(other.shape)} {other.dtype}, not {list(tensor.shape)} {tensor.dtype}")


def require_forward(module: nn.Module, input_CHW: tuple[int, int, int], classes: int) -> None:
    """Check the shapes of a forward, without computing it. InputError names the layer that does not fit."""
    entered = ["its first layer"]

    def follow(twin: nn.Module, image_BCHW: Tensor) -> tuple[int, ...]:
        for path, layer in twin.named_modules():
            layer.register_forward_pre_hook(_entering(path, entered))
        with torch.no_grad():
            return tuple(twin(image_BCHW).shape)

    try:
        shape = probe(module, input_CHW, follow, purpose="its shapes cannot be followed")
    except InputError as error:
        why = str(error.__cause__ or error).partition("\n")[0]
        raise InputError(f"its layers do not fit together at or after {entered[-1]}: {why}") from error
    if shape != (1, classes):
        raise InputError(f"its last layer, {entered[-1]}, gives {list(shape)} for one image and {classes} classes")


def same_outputs(first: nn.Module, second: nn.Module, input_CHW: tuple[int, int, int]) -> bool:
    """Whether logits for two images agree on the CPU, up to rounding; the networks are not changed."""
    image_BCHW = torch.linspace(-2, 2, 2 * math.prod(input_CHW)).reshape(2, *input_CHW)
    with torch.no_grad():
        one_BK, other_BK = (duplicate(net).cpu().float().train().eval()(image_BCHW) for net in (first, second))
    # A missed attribute changes logits by their own size, another memory layout by 1e-6 of it.
    slack = 1e-3 * float(one_BK.nan_to_num().abs().max())
    return torch.allclose(one_BK, other_BK, rtol=0, atol=slack, equal_nan=True)


def _own_tensors(layer: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from list(layer.named_parameters(recurse=False))
    yield from list(layer.named_buffers(recurse=False))


def _first(layer: nn.Module, tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return a copy of the first entries along every dimension."""
    first = tensor[tuple(slice(length) for length in shape)].clone()
    summing = isinstance(layer, nn.modules.conv._ConvNd | nn.Linear) and tensor.dim() > 1
    return first.mul_(math.sqrt(tensor[0].numel() / first[0].numel())) if summing else first


def _require_cut(name: str, own: tuple[int, ...], shape: tuple[int, ...]) -> None:
    fits = len(shape) == len(own) and all(1 <= found <= most for found, most in zip(shape, own, strict=True))
    if not fits:
        raise InputError(f"{name} is {list(shape)}, which no cut of {list(own)} could leave")


def _follow(path: str, layer: nn.Module) -> None:
    """Update a layer's numbers from its tensors. InputError: the tensors contradict each other."""
    # Others, such as those from which spectral_norm computes the weight, do not have one entry for each channel.
    named = ("weight", "bias", "running_mean", "running_var")
    lengths = {tensor.shape[0] for name, tensor in _own_tensors(layer) if tensor.dim() and name in named}
    if isinstance(layer, nn.modules.conv._ConvTransposeNd):
        _follow_transposed(layer)
        return  # its bias has other channels than its weight's first dimension
    if isinstance(layer, nn.modules.conv._ConvNd):
        _follow_conv(path, layer)
    elif isinstance(layer, nn.Linear):
        layer.out_features, layer.in_features = layer.weight.shape
    elif isinstance(layer, nn.modules.batchnorm._NormBase) and lengths:
        layer.num_features = min(lengths)
    elif isinstance(layer, nn.GroupNorm) and lengths:
        layer.num_channels = min(lengths)
    elif hasattr(layer, "normalized_shape") and isinstance(layer.weight, Tensor):
        vars(layer)["normalized_shape"] = tuple(layer.weight.shape)  # LayerNorm, RMSNorm and timm's own of both
    else:
        return  # loose parameters, such as ConvNeXt's gamma or a ViT's position embedding
    if len(lengths) > 1:
        raise InputError(f"the tensors of layer {path!r} have {sorted(lengths)} channels; they must agree")


def _follow_transposed(conv: nn.modules.conv._ConvTransposeNd) -> None:
    inputs, per_group = conv.weight.shape[:2]
    if conv.groups == conv.in_channels > 1:
        conv.groups = inputs
    conv.in_channels, conv.out_channels = inputs, per_group * conv.groups


def _follow_conv(path: str, conv: nn.modules.conv._ConvNd) -> None:
    out, per_group, *kernel = conv.weight.shape
    if tuple(kernel) != conv.kernel_size:
        raise InputError(f"layer {path!r} has a kernel of {kernel}, not {list(conv.kernel_size)}")
    if conv.groups == conv.in_channels > 1:  # depthwise: the groups are the channels
        conv.groups = max(1, out * conv.groups // conv.out_channels)
    elif out % conv.groups and out * conv.groups % conv.out_channels == 0:  # whole groups are gone
        conv.groups = out * conv.groups // conv.out_channels
    if out % conv.groups:
        raise InputError(f"layer {path!r} has {out} outputs, which {conv.groups} groups cannot share")
    conv.in_channels, conv.out_channels = per_group * conv.groups, out


def _possible(value: float, own: float) -> bool:
    """Whether a cut can leave this number: counts become smaller but not zero, factors may change either way."""
    return math.isfinite(value) if type(own) is float else min(1, own) <= value <= own


def _numbers(layer: nn.Module) -> dict[str, float]:
    return {name: value for name, value in vars(layer).items() if name[0] != "_" and type(value) in (int, float)}


def _entering(path: str, entered: list[str]) -> Callable[..., None]:
    return lambda *_: entered.append(path) if path else None
