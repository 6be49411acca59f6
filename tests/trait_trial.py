"""Cut a network of any class to half of its parameters in three cuts, save its tensors and rebuild it from them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from models import rebuild, state_dicts
from models.pruning import planner, surgery
from models.pruning.spec import Budget, PruneSpec

CUTS = 3


def cut_to_half(make: Callable[[], nn.Module], input_CHW: tuple[int, int, int], share: float = 0.5) -> nn.Module:
    """Return the rebuilt network; the outputs are those of the network that was cut. UserError: it is refused."""
    torch.manual_seed(0)
    net = make()
    budget = Budget(parameters=int(sum(p.numel() for p in net.parameters()) * share))
    spec = PruneSpec(budget=budget, steps=CUTS)
    for cut in planner.plan(net, input_CHW, spec).cuts:
        surgery.apply(net, cut)
    assert sum(p.numel() for p in net.parameters()) <= (budget.parameters or 0)
    tensors = {name: tensor.detach().clone() for name, tensor in net.state_dict().items()}
    again = rebuilt(make, net, tensors)
    image_BCHW = torch.randn(4, *input_CHW)
    with torch.no_grad():
        assert torch.equal(again.eval()(image_BCHW), net.eval()(image_BCHW))
    nn.functional.cross_entropy(again.train()(image_BCHW), torch.arange(4)).backward()
    return again


def rebuilt(make: Callable[[], nn.Module], net: nn.Module, tensors: dict[str, Tensor]) -> nn.Module:
    """Return a new network of the class in the shapes of these tensors, as loading a file does."""
    again = make()
    rebuild.reshape(again, {name: tuple(tensor.shape) for name, tensor in tensors.items()})
    rebuild.set_attributes(again, rebuild.differences(net, again))
    state_dicts.load(again, tensors)
    return again
