"""Prefixes of wrappers are found, however many there are."""

import torch

from models.adopt.prefixes import roots

ONE = torch.ones(1)


def prefixes(*names):
    return [root.prefix for root in roots(dict.fromkeys(names, ONE))]


def test_everything_comes_first_and_then_the_largest_parts():
    found = prefixes("net.a.weight", "net.a.bias", "net.b.weight", "loss.weight")
    assert found == ["", "net.", "net.a."]


def test_names_below_a_prefix_are_given_without_it_and_the_others_named():
    parts = roots({"module.model.fc.weight": ONE, "module.model.fc.bias": ONE, "loss": ONE})
    inner = next(root for root in parts if root.prefix == "module.model.")
    assert set(inner.tensors) == {"fc.weight", "fc.bias"} and inner.outside == ("loss",)


def test_the_mark_of_torch_compile_is_taken_out_everywhere():
    whole = roots({"_orig_mod.layer._orig_mod.weight": ONE, "_orig_mod.layer.bias": ONE})[0]
    assert set(whole.tensors) == {"layer.weight", "layer.bias"}
