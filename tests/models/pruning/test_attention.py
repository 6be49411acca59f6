"""timm's self-attention: which entries belong to a channel of its heads, and its numbers after a cut."""

import numpy as np
import pytest
import torch
from timm.layers import Attention
from torch import nn

from models.pruning import attention, carve


class Net(nn.Module):
    """Two heads of three channels, on four features."""

    def __init__(self, **options):
        super().__init__()
        torch.manual_seed(0)
        self.attn = Attention(4, num_heads=2, attn_head_dim=3, qkv_bias=True, **options)

    def forward(self, token_BND):
        return self.attn(token_BND)


def test_a_unit_is_the_same_channel_of_each_head_in_queries_keys_and_values():
    (group,) = attention.groups(Net())
    assert (group.root, group.units) == ("attn.qkv", 3)
    owners = {member.place: member.owner_I.tolist() for member in group.members}
    heads = [0, 1, 2, 0, 1, 2]
    assert owners == {
        ("attn.qkv.weight", 0): heads * 3,
        ("attn.qkv.bias", 0): heads * 3,
        ("attn.proj.weight", 1): heads,
    }
    assert attention.places(Net()) == owners.keys()


def test_removing_a_unit_leaves_what_a_zero_channel_gives():
    net, token_BND = Net().eval(), torch.randn(2, 5, 4)
    stays = [index for index in range(18) if index % 3 != 1]
    with torch.no_grad():
        net.attn.qkv.weight[1::3] = 0
        net.attn.qkv.bias[1::3] = 0
    net.attn.fused_attn = False  # the plain kernel reads `scale`
    scale, before = net.attn.scale, net(token_BND)
    proj = np.array([index for index in range(6) if index % 3 != 1])
    carve.carve(
        net,
        {("attn.qkv.weight", 0): np.array(stays), ("attn.qkv.bias", 0): np.array(stays), ("attn.proj.weight", 1): proj},
    )
    assert (net.attn.num_heads, net.attn.head_dim, net.attn.attn_dim) == (2, 2, 4)
    assert net.attn.scale == pytest.approx(2**-0.5)
    assert not torch.allclose(net(token_BND), before, atol=1e-6)  # the scale is that of two channels
    net.attn.scale = scale
    assert torch.allclose(net(token_BND), before, atol=1e-6)


def test_macs_of_the_products_are_those_of_queries_with_keys_and_weights_with_values():
    assert attention.products(Net(), {"attn.proj": 5}, {"attn.proj": 5}) == ((("attn.proj.weight", 1), 2 * 5**2),)
    windows = attention.products(Net(), {"attn.proj": 20}, {"attn.proj": 5})
    assert windows == ((("attn.proj.weight", 1), 4 * 2 * 5**2),)


def test_attention_of_other_kinds_is_left_alone():
    assert list(attention.groups(Net(qk_norm=True, norm_layer=nn.LayerNorm))) == []
    assert list(attention.groups(nn.Sequential(nn.Linear(4, 12)))) == []
    assert attention.heads(Net()) == {"attn": 2}
