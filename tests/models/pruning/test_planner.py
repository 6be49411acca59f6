"""From a budget to cuts that meet it, on real networks."""

import copy
from itertools import pairwise

import pytest
import torch

from configs.errors import InputError, UsageError
from models import counting
from models.networks.resnet import resnet_small
from models.pruning import planner, surgery
from models.pruning.spec import Budget, PruneSpec

MNIST = (1, 28, 28)


def net_of(widths=(16, 32, 64), depth=20, seed=0):
    torch.manual_seed(seed)
    return resnet_small(num_classes=10, input_CHW=MNIST, widths=widths, depth=depth)


def require_sound(plan):
    sizes = [plan.parameters, *(cut.parameters for cut in plan.cuts)]
    assert all(after < before for before, after in pairwise(sizes))
    assert all(cut.removed for cut in plan.cuts)
    assert plan.budget.allows(plan.final.parameters, plan.final.macs)


@pytest.mark.parametrize("widths", [(16, 32, 64), (32, 64, 128), (64, 128, 256)])
@pytest.mark.parametrize("ranking", ["local", "isomorphic", "global"])
def test_thirty_cuts_use_the_budget_up_and_never_exceed_it(widths, ranking):
    """To a third of the smallest, and a fiftieth of the largest."""
    spec = PruneSpec(budget=Budget(parameters=26_000), steps=30, ranking=ranking)
    plan = planner.plan(net_of(widths, depth=8), MNIST, spec)
    require_sound(plan)
    assert len(plan.cuts) == 30
    assert 25_896 <= plan.final.parameters <= 26_000


@pytest.mark.parametrize("ranking", ["local", "isomorphic", "global"])
def test_importance_per_saved_cost_uses_the_budget_up_as_well(ranking):
    spec = PruneSpec(budget=Budget(parameters=60_000), steps=10, ranking=ranking, cost_normalised=True)
    plan = planner.plan(net_of(), MNIST, spec)
    require_sound(plan)
    assert plan.final.parameters >= 59_760


def test_a_budget_of_macs():
    plan = planner.plan(net_of(), MNIST, PruneSpec(budget=Budget(macs=10_000_000), steps=12))
    require_sound(plan)
    assert plan.final.macs >= 9_960_000


def test_two_budgets_are_both_kept_and_one_is_used_up():
    budget = Budget(parameters=100_000, macs=9_000_000)
    plan = planner.plan(net_of(), MNIST, PruneSpec(budget=budget, steps=12))
    require_sound(plan)
    assert budget.used(plan.final.parameters, plan.final.macs) >= 0.996
    one = planner.plan(net_of(), MNIST, PruneSpec(budget=Budget(parameters=100_000), steps=12))
    assert not budget.allows(one.final.parameters, one.final.macs)  # control


def test_each_cut_takes_its_share():
    plan = planner.plan(net_of(), MNIST, PruneSpec(budget=Budget(parameters=100_000), steps=6))
    sizes = [plan.parameters, *(cut.parameters for cut in plan.cuts)]
    share = (100_000 / plan.parameters) ** (1 / 6)
    assert all(after / before == pytest.approx(share, abs=0.02) for before, after in pairwise(sizes))


def test_a_share_of_channels_is_not_that_share_of_parameters():
    plan = planner.plan(net_of(), MNIST, PruneSpec(budget=Budget(parameters=136_093), steps=1))
    channels = sum(plan.final.widths.values()) / sum(plan.widths.values())
    assert plan.final.parameters / plan.parameters == pytest.approx(0.5, abs=0.002)
    assert channels == pytest.approx(0.5**0.5, abs=0.03)


def test_equal_weights_give_equal_plans_and_other_weights_others():
    spec = PruneSpec(budget=Budget(parameters=100_000), steps=3, ranking="global")
    first, again, other = (planner.plan(net_of(seed=seed), MNIST, spec) for seed in (0, 0, 1))
    assert first.to_json() == again.to_json()
    assert first.to_json() != other.to_json()


def test_equal_scores_are_cut_in_the_order_of_layers_and_channels():
    spec = PruneSpec(budget=Budget(parameters=270_000), steps=1, importance="bn_scale", ranking="global")
    cut = planner.plan_cut(net_of(), MNIST, Budget(parameters=271_900), spec)
    assert list(cut.removed.items()) == [("conv1", (0,))]


def test_cut_by_cut_is_the_whole_plan():
    """What a driver does between fine-tunings, here without any."""
    net, spec = net_of(depth=8), PruneSpec(budget=Budget(parameters=30_000), steps=4)
    plan = planner.plan(net, MNIST, spec)
    start = planner.widths(net, MNIST, spec)
    for left, expected in zip(range(4, 0, -1), plan.cuts, strict=True):
        cost = counting.measure(net, MNIST)
        target = spec.budget.next_target(cost.parameters, cost.macs, left)
        cut = planner.plan_cut(net, MNIST, target, spec, start=start)
        assert cut == expected
        surgery.apply(net, cut)
    assert counting.measure(net, MNIST).parameters == plan.final.parameters


def test_the_network_is_not_touched():
    net = net_of(depth=8)
    before = copy.deepcopy(net.state_dict())
    planner.plan(net, MNIST, PruneSpec(budget=Budget(parameters=30_000), steps=2))
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert net.training


def test_floors_multiples_and_ignored_layers_hold():
    spec = PruneSpec(
        budget=Budget(parameters=100_000), steps=5, floor=0.5, round_to=4, ignored_layers=("layer1",), ranking="global"
    )
    plan = planner.plan(net_of(), MNIST, spec)
    require_sound(plan)
    assert not any(layer.startswith(("layer1", "conv1")) for layer in plan.widths)
    for layer, width in plan.final.widths.items():
        assert width >= plan.widths[layer] / 2
        assert width % 4 == 0
    free = planner.plan(net_of(), MNIST, PruneSpec(budget=Budget(parameters=100_000), steps=5, ranking="global"))
    assert any(width % 4 or width < free.widths[layer] / 2 for layer, width in free.final.widths.items())  # control


def test_a_floor_refers_to_the_first_width_through_all_cuts():
    plan = planner.plan(net_of(), MNIST, PruneSpec(budget=Budget(parameters=18_000), steps=8, floor=0.25))
    assert all(width >= plan.widths[layer] / 4 for layer, width in plan.final.widths.items())


def test_isomorphic_layers_compete_and_lose_the_same_share():
    net = net_of()
    with torch.no_grad():
        net.layer3[1].conv1.weight[:40] *= 0.01
    inner = ["layer1.1.conv1", "layer2.1.conv1", "layer3.1.conv1", "layer3.2.conv1"]
    spec = PruneSpec(budget=Budget(parameters=180_000), steps=1, ranking="isomorphic")
    widths = planner.plan(net, MNIST, spec).final.widths
    assert widths["layer3.1.conv1"] < widths["layer3.2.conv1"]
    local = planner.plan(net, MNIST, PruneSpec(budget=Budget(parameters=180_000), steps=1)).final.widths
    assert abs(local["layer3.1.conv1"] - local["layer3.2.conv1"]) <= 5  # control
    assert set(inner) <= set(widths)


def test_taylor_plans_from_gradients():
    net = net_of(depth=8)
    spec = PruneSpec(budget=Budget(parameters=30_000), steps=2, importance="taylor")
    with pytest.raises(UsageError, match="has no gradient"):
        planner.plan(net, MNIST, spec)
    net(torch.randn(4, *MNIST)).square().sum().backward()
    require_sound(planner.plan(net, MNIST, spec))


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        (Budget(parameters=272_186), r"budget\.parameters is 272186, but the network has only 272186"),
        (Budget(parameters=100_000, macs=10**12), r"budget\.macs is 1000000000000, but the network has only"),
        (Budget(parameters=3_000), r"budget\.parameters is 3000, but .* smallest that can be reached is 3781"),
        (Budget(macs=1_000), r"budget\.macs is 1000, but .* smallest that can be reached is \d+"),
    ],
)
def test_a_budget_out_of_reach_is_refused(budget, message):
    with pytest.raises(UsageError, match=message):
        planner.plan(net_of(), MNIST, PruneSpec(budget=budget))


def test_the_smallest_that_is_named_can_be_reached():
    plan = planner.plan(net_of(), MNIST, PruneSpec(budget=Budget(parameters=3_781), steps=3))
    assert plan.final.parameters == 3_781


def test_more_cuts_than_there_are_channels_are_refused():
    with pytest.raises(UsageError, match=r"prune\.steps asks for one more cut"):
        planner.plan(net_of((8, 8, 8), 8), MNIST, PruneSpec(budget=Budget(parameters=3_000), steps=40, floor=0.75))


def test_an_unknown_layer_and_a_wrong_image_are_refused():
    with pytest.raises(UsageError, match=r"ignored_layers names 'layer4'"):
        planner.plan(net_of(), MNIST, PruneSpec(budget=Budget(parameters=1_000), ignored_layers=("layer4",)))
    with pytest.raises(InputError, match="does not take an image"):
        planner.plan(net_of(), (3, 28, 28), PruneSpec(budget=Budget(parameters=1_000)))
