"""Small networks, each with a trait that makes cutting hard. They take images of 3 x 16 x 16 to ten logits."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from timm.layers import ScaledStdConv2d
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, spectral_norm, weight_norm

SIZE = (3, 16, 16)
C = 12
Forward = Callable[["Net", Tensor], object]


class Net(nn.Module):
    """A stem, named layers, a forward given as a function of its features, and a head."""

    def __init__(self, forward: Forward, head: int = C, **layers: object) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, C, 3, 2, 1), nn.BatchNorm2d(C), nn.ReLU())
        for name, layer in layers.items():
            if isinstance(layer, Tensor):
                setattr(self, name, nn.Parameter(layer))
            else:
                setattr(self, name, layer)
        self.head = nn.Linear(head, 10)
        self.body = forward

    def forward(self, image_BCHW: Tensor) -> object:
        found = self.body(self, self.stem(image_BCHW))
        if not isinstance(found, Tensor) or (found.dim() == 2 and found.shape[1] == 10):
            return found
        return self.head(found.mean((2, 3)) if found.dim() == 4 else found.mean(1) if found.dim() == 3 else found)


def conv(inputs: int = C, outputs: int = C, kernel: int = 3, **options: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, padding=options.pop("padding", kernel // 2), **options)


def shuffled(x: Tensor, groups: int) -> Tensor:
    batch, channels, height, width = x.shape
    return x.view(batch, groups, channels // groups, height, width).transpose(1, 2).reshape(x.shape)


def tokens(x: Tensor) -> Tensor:
    return x.flatten(2).transpose(1, 2)


def attended(net: Net, x: Tensor, heads: int = 3) -> Tensor:
    seq = tokens(x)
    batch, length, _ = seq.shape
    q, k, v = net.qkv(seq).reshape(batch, length, 3, heads, -1).permute(2, 0, 3, 1, 4)
    mixed = (q @ k.transpose(-2, -1)).softmax(-1) @ v
    return seq + net.proj(mixed.transpose(1, 2).flatten(2))


def non_local(net: Net, x: Tensor) -> Tensor:
    q, k, v = (layer(x).flatten(2) for layer in (net.q, net.k, net.v))
    mixed = v @ (q.transpose(1, 2) @ k).softmax(-1)
    return x + net.out(mixed.view(x.shape[0], -1, *x.shape[2:]))


def squeezed(net: Net, x: Tensor) -> Tensor:
    return x * net.up(F.relu(net.down(x.mean((2, 3), keepdim=True)))).sigmoid()


def split_halves(net: Net, x: Tensor) -> Tensor:
    one, two = net.a(x).chunk(2, dim=1)
    return torch.cat([one, net.b(two)], 1)


def unequal_parts(net: Net, x: Tensor) -> Tensor:
    one, two = net.a(x).split([4, 8], dim=1)
    return torch.cat([net.b(one), net.c(two)], 1)


def dynamic(net: Net, x: Tensor) -> Tensor:
    return net.a(x) if float(x.detach().mean()) > 1e9 else net.b(x)


def cached(net: Net, x: Tensor) -> Tensor:
    net.last = net.a(x)
    return net.last


def cached_in_lists(net: Net, x: Tensor) -> Tensor:
    net.maps = [net.a(x)]
    net.by_name = {"a": net.maps[0]}
    return net.b(net.maps[0])


def option_a(net: Net, x: Tensor) -> Tensor:
    short = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 4, 8))
    return F.relu(net.a(x) + short)


def recurrent_head(net: Net, x: Tensor) -> Tensor:
    return net.rnn(tokens(net.a(x)))[0]


def plain_attention(net: Net, x: Tensor) -> Tensor:
    seq = tokens(net.a(x))
    mixed = net.mha(seq, seq, seq, need_weights=False)[0] + seq
    return mixed + net.down(F.gelu(net.up(mixed)))


def dense(net: Net, x: Tensor) -> Tensor:
    for layer in (net.a, net.b, net.c):
        x = torch.cat([x, layer(x)], 1)
    return net.d(x)


def selective(net: Net, x: Tensor) -> Tensor:
    paths = torch.stack([net.a(x), net.b(x)], 1)
    gate = net.up(net.down(paths.sum(1).mean((2, 3), keepdim=True)))
    gate = gate.view(gate.shape[0], 2, -1, 1, 1).softmax(1)
    return net.c((paths * gate).sum(1))


def windows(net: Net, x: Tensor) -> Tensor:
    batch, channels, height, width = x.shape
    parts = x.view(batch, channels, height // 4, 4, width // 4, 4).permute(0, 2, 4, 3, 5, 1).reshape(-1, 16, channels)
    parts = parts + net.down(F.gelu(net.up(parts)))
    whole = parts.view(batch, height // 4, width // 4, 4, 4, channels).permute(0, 5, 1, 3, 2, 4)
    return whole.reshape(batch, channels, height, width)


def low_rank(net: Net, x: Tensor) -> Tensor:
    return torch.einsum("bchw,cr,rd->bdhw", x, net.first, net.second)


def efficient_channels(net: Net, x: Tensor) -> Tensor:
    gate = net.conv1d(x.mean((2, 3)).unsqueeze(1)).squeeze(1).sigmoid()
    return net.a(x * gate[:, :, None, None])


def spatial_attention(net: Net, x: Tensor) -> Tensor:
    maps = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1)
    return net.a(x * net.gate(maps).sigmoid())


def overwritten(net: Net, x: Tensor) -> Tensor:
    x = net.a(x)
    x[:, :4] = x[:, :4] * 2
    return net.b(x)


def buffer_filled(net: Net, x: Tensor) -> Tensor:
    one, two = net.a(x), net.b(x)
    both = x.new_zeros(x.shape[0], one.shape[1] + two.shape[1], *x.shape[2:])
    both[:, : one.shape[1]] = one
    both[:, one.shape[1] :] = two
    return net.c(both)


def standardised(net: Net, x: Tensor) -> Tensor:
    weight = net.a.weight
    weight = (weight - weight.mean((1, 2, 3), keepdim=True)) / (weight.std((1, 2, 3), keepdim=True) + 1e-5)
    return net.b(F.conv2d(x, weight, net.a.bias, padding=1))


def generated(net: Net, x: Tensor) -> Tensor:
    kernel = net.make(x.mean((0, 2, 3))).view(C, C, 1, 1)
    return F.conv2d(net.a(x), kernel)


def mixed_experts(net: Net, x: Tensor) -> Tensor:
    gate = net.gate(x.mean((2, 3))).softmax(-1)
    return sum(gate[:, index, None, None, None] * expert(x) for index, expert in enumerate((net.a, net.b)))


def fourier(net: Net, x: Tensor) -> Tensor:
    return net.b(torch.fft.fft2(net.a(x)).real)


def deep_outputs(net: Net, x: Tensor) -> tuple[Tensor, Tensor]:
    logits = net.head(net.a(x).mean((2, 3)))
    return logits, logits


def named_outputs(net: Net, x: Tensor) -> dict[str, Tensor]:
    return {"logits": net.head(net.a(x).mean((2, 3)))}


def chain(*names: str, **layers: Callable[[], object]) -> Callable[[], Net]:
    """A network that runs named layers one after another."""

    def forward(net: Net, x: Tensor) -> Tensor:
        for name in names:
            x = getattr(net, name)(x)
        return x

    return lambda: Net(forward, **{name: make() for name, make in layers.items()})


def using(forward: Forward, head: int = C, **layers: Callable[[], object]) -> Callable[[], Net]:
    return lambda: Net(forward, head, **{name: make() for name, make in layers.items()})


def _reused() -> Net:
    block = nn.Sequential(conv(), nn.BatchNorm2d(C), nn.ReLU(inplace=True))
    return Net(lambda net, x: net.blocks(x), blocks=nn.Sequential(block, block, conv()))


def _tied() -> Net:
    net = Net(lambda net, x: net.c(net.b(net.a(x))), a=conv(), b=conv(), c=conv())
    net.b.weight = net.a.weight
    return net


def _frozen_half() -> Net:
    net = Net(lambda net, x: net.b(net.a(x)), a=conv(), b=conv())
    net.a.requires_grad_(False)
    return net


def linear(inputs: int = C, outputs: int = C) -> Callable[[], nn.Linear]:
    return lambda: nn.Linear(inputs, outputs)


def _attention_layers() -> dict[str, Callable[[], object]]:
    return {"qkv": linear(C, 36), "proj": linear(C, C)}


NETWORKS: Mapping[str, Callable[[], Net]] = {
    # normalisations and reparametrised weights
    "weight_norm": chain("a", "b", "c", a=lambda: weight_norm(conv()), b=conv, c=conv),
    "weight_norm parametrised": chain("a", "b", "c", a=lambda: parametrizations.weight_norm(conv()), b=conv, c=conv),
    "spectral_norm": chain("a", "b", "c", a=lambda: spectral_norm(conv()), b=conv, c=conv),
    "spectral_norm parametrised": chain(
        "a", "b", "c", a=lambda: parametrizations.spectral_norm(conv()), b=conv, c=conv
    ),
    "a gain beside the weight": chain("a", "b", a=lambda: ScaledStdConv2d(C, C, 3, padding=1), b=conv),
    "weight standardisation": using(standardised, a=conv, b=conv),
    "batch norm without affine": chain("a", "n", "b", a=conv, n=lambda: nn.BatchNorm2d(C, affine=False), b=conv),
    "batch norm without statistics": chain(
        "a", "n", "b", a=conv, n=lambda: nn.BatchNorm2d(C, track_running_stats=False), b=conv
    ),
    "instance norm": chain("a", "n", "b", a=conv, n=lambda: nn.InstanceNorm2d(C, affine=True), b=conv),
    "instance norm with statistics": chain(
        "a", "n", "b", a=conv, n=lambda: nn.InstanceNorm2d(C, affine=True, track_running_stats=True), b=conv
    ),
    "group norm": chain("a", "n", "b", a=conv, n=lambda: nn.GroupNorm(4, C), b=conv),
    "group norm of one group": chain("a", "n", "b", a=conv, n=lambda: nn.GroupNorm(1, C), b=conv),
    "group norm of single channels": chain("a", "n", "b", a=conv, n=lambda: nn.GroupNorm(C, C), b=conv),
    "group norm without affine": chain("a", "n", "b", a=conv, n=lambda: nn.GroupNorm(4, C, affine=False), b=conv),
    "layer norm over channels and sides": chain("a", "n", "b", a=conv, n=lambda: nn.LayerNorm([C, 8, 8]), b=conv),
    "layer norm on tokens": using(
        lambda net, x: net.b(net.n(tokens(net.a(x)))), a=conv, n=lambda: nn.LayerNorm(C), b=linear()
    ),
    "layer norm without affine": using(
        lambda net, x: net.b(net.n(tokens(net.a(x)))),
        a=conv,
        n=lambda: nn.LayerNorm(C, elementwise_affine=False),
        b=linear(),
    ),
    "rms norm": using(lambda net, x: net.b(net.n(tokens(net.a(x)))), a=conv, n=lambda: nn.RMSNorm(C), b=linear()),
    "local response norm": chain("a", "n", "b", a=conv, n=lambda: nn.LocalResponseNorm(3), b=conv),
    # groups, splits and shuffles
    "grouped": chain("a", "g", "b", a=conv, g=lambda: conv(groups=3), b=conv),
    "grouped and shuffled": using(
        lambda net, x: net.h(shuffled(net.g(x), 3)), g=lambda: conv(groups=3), h=lambda: conv(groups=3)
    ),
    "grouped, group norm and shuffled": using(
        lambda net, x: net.b(shuffled(net.n(net.g(x)), 2)),
        g=lambda: conv(C, 24, groups=2),
        n=lambda: nn.GroupNorm(2, 24),
        b=lambda: conv(24),
    ),
    "channel shuffle layer": chain("a", "s", "b", a=conv, s=lambda: nn.ChannelShuffle(3), b=conv),
    "split halves": using(split_halves, a=conv, b=lambda: conv(6, 6)),
    "unequal parts": using(unequal_parts, a=conv, b=lambda: conv(4, 4), c=lambda: conv(8, 8)),
    "slices": using(lambda net, x: net.b(net.a(x)[:, 3:9]), a=conv, b=lambda: conv(6, C)),
    "every other channel": using(lambda net, x: net.b(net.a(x)[:, ::2]), a=conv, b=lambda: conv(6, C)),
    "one channel taken out": using(lambda net, x: net.b(net.a(x)) * net.a(x)[:, 2:3], a=conv, b=conv),
    "channels by index": using(lambda net, x: net.b(net.a(x)[:, [0, 5, 7]]), a=conv, b=lambda: conv(3, C)),
    "depthwise": chain("a", "g", "b", a=conv, g=lambda: conv(groups=C), b=conv),
    "depthwise multiplier": chain("a", "g", "b", a=conv, g=lambda: conv(C, 36, groups=C), b=lambda: conv(36)),
    "first layer grouped": using(lambda net, x: net.b(net.a(x)), a=lambda: conv(C, 24, groups=4), b=lambda: conv(24)),
    # other convolutions
    "transposed": chain("a", "t", "b", a=conv, t=lambda: nn.ConvTranspose2d(C, 8, 2, 2), b=lambda: conv(8)),
    "transposed twice": chain(
        "t", "u", "b", t=lambda: nn.ConvTranspose2d(C, 8, 2, 2), u=lambda: nn.ConvTranspose2d(8, C, 2, 2), b=conv
    ),
    "transposed depthwise": chain("a", "t", "b", a=conv, t=lambda: nn.ConvTranspose2d(C, C, 2, 2, groups=C), b=conv),
    "transposed grouped": chain("a", "t", "b", a=conv, t=lambda: nn.ConvTranspose2d(C, C, 2, 2, groups=3), b=conv),
    "dilated": chain("a", "b", a=lambda: conv(dilation=2, padding=2), b=conv),
    "asymmetric": chain("a", "b", a=lambda: nn.Conv2d(C, C, (1, 3), padding=(0, 1)), b=lambda: nn.Conv2d(C, C, (3, 1))),
    "reflected padding": chain("a", "b", a=lambda: nn.Conv2d(C, C, 3, padding=1, padding_mode="reflect"), b=conv),
    "one dimension": using(
        lambda net, x: net.b(net.a(x.flatten(2))).unsqueeze(-1),
        a=lambda: nn.Conv1d(C, 16, 3),
        b=lambda: nn.Conv1d(16, C, 3),
    ),
    "three dimensions": using(
        lambda net, x: net.b(net.a(x.unsqueeze(2))).squeeze(2),
        a=lambda: nn.Conv3d(C, 16, (1, 3, 3)),
        b=lambda: nn.Conv3d(16, C, (1, 3, 3)),
    ),
    "a parameter as kernel": using(
        lambda net, x: F.conv2d(net.a(x), net.kernel, padding=1),
        a=conv,
        b=conv,
        kernel=lambda: torch.randn(C, C, 3, 3) / 9,
    ),
    "a generated kernel": using(generated, a=conv, make=linear(C, C * C)),
    "unfolded": using(
        lambda net, x: net.b(F.unfold(net.a(x), 3, padding=1).transpose(1, 2)), a=conv, b=linear(9 * C, C)
    ),
    "pixel shuffle": chain("a", "s", "b", a=lambda: conv(C, 32), s=lambda: nn.PixelShuffle(2), b=lambda: conv(8)),
    "pixel unshuffle": chain("a", "s", "b", a=conv, s=lambda: nn.PixelUnshuffle(2), b=lambda: conv(48, C)),
    "max out": using(lambda net, x: net.b(net.a(x).unflatten(1, (12, 2)).amax(2)), a=lambda: conv(C, 24), b=conv),
    "gated linear unit": using(lambda net, x: net.b(F.glu(net.a(x), 1)), a=lambda: conv(C, 24), b=conv),
    # attention
    "attention": using(attended, **_attention_layers()),
    "attention in plain torch": using(
        plain_attention,
        a=conv,
        mha=lambda: nn.MultiheadAttention(C, 3, batch_first=True),
        up=linear(C, 48),
        down=linear(48, C),
    ),
    "encoder layer of torch": using(
        lambda net, x: net.layer(tokens(x)), layer=lambda: nn.TransformerEncoderLayer(C, 3, 48, batch_first=True)
    ),
    "fused attention": using(
        lambda net, x: net.proj(
            F.scaled_dot_product_attention(*net.qkv(tokens(x)).unsqueeze(1).chunk(3, -1)).squeeze(1)
        ),
        qkv=linear(C, 36),
        proj=linear(C, C),
    ),
    "non-local block": using(
        non_local, q=lambda: conv(C, 6, 1), k=lambda: conv(C, 6, 1), v=lambda: conv(C, 6, 1), out=lambda: conv(6, C, 1)
    ),
    "squeeze and excitation": using(squeezed, down=lambda: conv(C, 6, 1), up=lambda: conv(6, C, 1)),
    "efficient channel attention": using(efficient_channels, a=conv, conv1d=lambda: nn.Conv1d(1, 1, 3, padding=1)),
    "spatial attention": using(spatial_attention, a=conv, gate=lambda: conv(2, 1)),
    "selective kernels": using(
        selective, a=conv, b=conv, c=conv, down=lambda: conv(C, 6, 1), up=lambda: conv(6, 24, 1)
    ),
    "windows": using(windows, up=linear(C, 48), down=linear(48, C)),
    "position embedding": using(
        lambda net, x: net.b(tokens(net.a(x)) + net.place), a=conv, b=linear(), place=lambda: torch.zeros(1, 64, C)
    ),
    "class token": using(
        lambda net, x: net.b(torch.cat([net.token.expand(len(x), -1, -1), tokens(net.a(x))], 1)),
        a=conv,
        b=linear(),
        token=lambda: torch.zeros(1, 1, C),
    ),
    "token mixing": using(
        lambda net, x: net.b(net.mix(tokens(net.a(x)).transpose(1, 2)).transpose(1, 2)),
        a=conv,
        mix=linear(64, 64),
        b=linear(),
    ),
    # wiring
    "residual": using(lambda net, x: x + net.b(net.a(x)), a=conv, b=conv),
    "shortcut padded with zeros": using(option_a, head=24, a=lambda: conv(C, 24, stride=2)),
    "dense block": using(dense, a=lambda: conv(C, 6), b=lambda: conv(18, 6), c=lambda: conv(24, 6), d=lambda: conv(30)),
    "branches joined": using(
        lambda net, x: net.c(torch.cat([net.a(x), net.b(x), x], 1)), a=conv, b=conv, c=lambda: conv(36)
    ),
    "branches multiplied": using(lambda net, x: net.c(net.a(x) * net.b(x)), a=conv, b=conv, c=conv),
    "a module used twice": _reused,
    "tied weights": _tied,
    "unused layer": using(lambda net, x: net.b(net.a(x)), a=conv, b=conv, spare=conv),
    "frozen layer": _frozen_half,
    "layer scale": using(
        lambda net, x: x + net.scale * net.b(net.a(x)), a=conv, b=conv, scale=lambda: torch.ones(C, 1, 1)
    ),
    "PReLU": chain("a", "p", "b", a=conv, p=lambda: nn.PReLU(C), b=conv),
    "in-place operations": using(lambda net, x: net.b(net.a(x).mul_(2).add_(x).relu_()), a=conv, b=conv),
    "a slice overwritten": using(overwritten, a=conv, b=conv),
    "a buffer filled": using(buffer_filled, a=conv, b=conv, c=lambda: conv(24)),
    "dynamic control flow": using(dynamic, a=conv, b=conv),
    "mixture of experts": using(mixed_experts, gate=linear(C, 2), a=conv, b=conv),
    "einsum of parameters": using(low_rank, first=lambda: torch.randn(C, 8), second=lambda: torch.randn(8, C)),
    "features cached": using(cached, a=conv),
    "features cached in lists": using(cached_in_lists, a=conv, b=conv),
    "Fourier transform": using(fourier, a=conv, b=conv),
    "flattened head": using(lambda net, x: net.b(net.a(x).flatten(1)), a=conv, b=linear(C * 64, C)),
    "a width in the code": using(lambda net, x: net.b(net.a(x).view(-1, 12, 64).transpose(1, 2)), a=conv, b=linear()),
    "LSTM head": using(recurrent_head, head=16, a=conv, rnn=lambda: nn.LSTM(C, 16, batch_first=True)),
    "GRU head": using(recurrent_head, head=32, a=conv, rnn=lambda: nn.GRU(C, 16, batch_first=True, bidirectional=True)),
    "a tuple of outputs": using(deep_outputs, a=conv),
    "a dict of outputs": using(named_outputs, a=conv),
    "bilinear": using(lambda net, x: net.b(x.mean((2, 3)), x.amax((2, 3))), b=lambda: nn.Bilinear(C, C, C)),
}
