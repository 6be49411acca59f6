import copy
from functools import partial

import pytest
import torch
import torchinfo
from torch import nn
from torch.nn.utils import prune

from configs.errors import NonFiniteError, UsageError
from models import zoo
from models.counting import measure
from models.pruning import masks as masks_module
from models.pruning.masks import Masks, cubic_schedule, prunable
from models.spec import ModelSpec
from train.optim.moving_average import MovingAverage

SIZE = (1, 28, 28)
BUDGET = 3_000


def network(seed=0):
    """A ResNet-8 of 4,300 parameters that was trained for two steps, so that no BatchNorm bias is zero any more."""
    torch.manual_seed(seed)
    net = zoo.build(ModelSpec(name="resnet_small", depth=8, widths=(6, 8, 12)), num_classes=10, input_CHW=SIZE)
    train(net, torch.optim.SGD(net.parameters(), lr=0.05), steps=2)
    return net


def train(net, optimizer, *, steps, after=lambda: None):
    torch.manual_seed(1)
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(torch.randn(20, *SIZE)), torch.arange(20) % 10).backward()
        optimizer.step()
        after()


def nonzero(net):
    return sum(int(p.count_nonzero()) for p in net.parameters())


def zeros(net):
    return {name: weight == 0 for name, weight in prunable(net).items()}


@pytest.fixture
def masked():
    net = network()
    masks = Masks.plan(net, BUDGET)
    masks.apply_(net)
    return net, masks


@pytest.mark.parametrize("budget", [1_000, 1_001, 3_000, 4_300])
def test_the_budget_is_met_exactly(budget):
    net = network()
    masks = Masks.plan(net, budget)
    assert nonzero(net) == 4_300  # planning alone changes nothing
    masks.apply_(net)
    assert nonzero(net) == masks.free_entries(net) == measure(net, SIZE).nonzero == budget


def test_what_is_cut_is_smaller_than_what_stays_wherever_it_lies(masked):
    masks = masked[1]
    original = prunable(network())
    cut = torch.cat([original[name][cut].abs() for name, cut in masks.state_dict().items()])
    least = min(float(original[name][~cut].abs().min()) for name, cut in masks.state_dict().items())
    assert float(cut.max()) <= least  # no floor is felt at this budget
    densities = {round(float((~cut).float().mean()), 2) for cut in masks.state_dict().values()}
    assert len(densities) > 3


def faint():
    """A network whose head and one inner layer are far smaller than the rest, and the fourth class most of all."""
    net = network()
    with torch.no_grad():
        net.fc.weight.mul_(1e-6)
        net.fc.weight[3].mul_(1e-6)
        net.layer2[0].conv2.weight.mul_(1e-6)
    return net


def test_no_layer_and_no_class_is_emptied(monkeypatch):
    least = floor_of(faint())
    net = faint()
    Masks.plan(net, least).apply_(net)
    assert nonzero(net) == least
    assert (net.fc.weight.count_nonzero(dim=1) == 1).all()
    assert all(int(weight.count_nonzero()) == len(weight) for weight in prunable(net).values())
    assert learned(faint(), 1_000) > 0.6
    monkeypatch.setattr(masks_module, "_floor", lambda score, **_: torch.zeros_like(score, dtype=torch.bool))
    control = faint()
    Masks.plan(control, 1_000).apply_(control)
    assert not control.fc.weight.any()
    assert not control.layer2[0].conv2.weight.any()
    assert learned(faint(), 1_000) < 0.2


def learned(net, budget):
    """Mask the network, train it on ten noisy patterns, and return its accuracy on others like them."""
    masks = Masks.plan(net, budget)
    masks.apply_(net)
    torch.manual_seed(2)
    pattern_KCHW = torch.randn(10, *SIZE)
    label_B = torch.arange(20) % 10
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.02)
    for _ in range(80):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(pattern_KCHW[label_B] + 0.3 * torch.randn(20, *SIZE)), label_B).backward()
        optimizer.step()
        masks.apply_(net)
    chosen_B = net.eval()(pattern_KCHW[label_B] + 0.3 * torch.randn(20, *SIZE)).argmax(1)
    return float((chosen_B == label_B).float().mean())


def floor_of(net):
    weights = prunable(net)
    always = sum(p.numel() for p in net.parameters()) - sum(w.numel() for w in weights.values())
    return always + sum(len(weight) for weight in weights.values())


def test_a_budget_that_cannot_be_had_is_refused_with_the_range():
    net = network()
    least, most = floor_of(net), sum(p.numel() for p in net.parameters())
    for budget in (least - 1, most + 1, 0, -5):
        with pytest.raises(UsageError, match=rf"cannot be had; this network takes {least:,} to {most:,} \(1\d\d are"):
            Masks.plan(net, budget)
    assert Masks.plan(net, most).free_entries(net) == most


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_cannot_be_ranked_are_refused(bad):
    net = network()
    with torch.no_grad():
        net.conv1.weight[0] = bad
    with pytest.raises(NonFiniteError, match=r"conv1\.weight has a weight that is NaN or infinite"):
        Masks.plan(net, BUDGET)


def test_of_equal_weights_the_first_stay():
    net = nn.Sequential(nn.Linear(8, 4, bias=False), nn.Linear(4, 2, bias=False))
    for weight in net.parameters():
        nn.init.ones_(weight)
    masks = Masks.plan(net, 10).state_dict()
    assert (~masks["0.weight"]).view(-1).tolist() == [True] * 8 + [False] * 24
    assert (~masks["1.weight"]).tolist() == [[True, False, False, False]] * 2


def test_the_same_network_gives_the_same_masks():
    one, other = (Masks.plan(network(), BUDGET).state_dict() for _ in range(2))
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=5e-4, nesterov=True),
        lambda p: torch.optim.AdamW(p, lr=1e-2, weight_decay=0.05),
    ],
    ids=["sgd", "adamw"],
)
def test_nothing_grows_back(optimizer):
    net = network()
    trained = optimizer(net.parameters())
    train(net, trained, steps=3)  # momentum that remembers the weights to be cut
    masks = Masks.plan(net, BUDGET)
    masks.apply_(net)
    control, before = copy.deepcopy(net), zeros(net)
    momenta = copy.deepcopy(trained.state_dict())
    train(net, trained, steps=10, after=lambda: masks.apply_(net))
    assert all(torch.equal(zero, before[name]) for name, zero in zeros(net).items())
    assert nonzero(net) == BUDGET
    assert not any(bool(w.signbit()[before[name]].any()) for name, w in prunable(net).items())
    unmasked = optimizer(control.parameters())
    unmasked.load_state_dict(momenta)
    train(control, unmasked, steps=1)
    assert nonzero(control) == 4_300


def test_gradients_of_cut_weights_do_not_count_in_the_clipped_norm(masked):
    net, masks = masked
    nn.functional.cross_entropy(net(torch.randn(20, *SIZE)), torch.arange(20) % 10).backward()
    whole = nn.utils.get_total_norm([p.grad for p in net.parameters()])
    held = masks.on(net)
    held.zero_gradients_()
    assert nn.utils.get_total_norm([p.grad for p in net.parameters()]) < 0.95 * whole
    for name, weight in prunable(net).items():
        assert not weight.grad[masks.state_dict()[name]].any()
    net.conv1.weight.grad = None  # frozen
    held.zero_gradients_()


def test_deep_copies_and_an_ema_are_plain_networks(masked):
    net, masks = masked
    assert set(net.state_dict()) == set(network().state_dict())
    assert nonzero(copy.deepcopy(net)) == BUDGET
    ema = MovingAverage(net, 0.9)
    train(
        net, torch.optim.AdamW(net.parameters()), steps=3, after=lambda: (masks.apply_(net), ema.update(net, step=1000))
    )
    assert nonzero(ema.module) == nonzero(net) == BUDGET


def test_an_ema_from_before_the_cut_is_masked_once():
    net = network()
    ema = MovingAverage(net, 0.9)
    masks = Masks.plan(net, BUDGET)
    masks.apply_(net)
    ema.update(net, step=1000)
    assert nonzero(ema.module) > BUDGET  # the control: what was cut fades, and is never zero
    masks.apply_(ema.module)
    for _ in range(3):
        ema.update(net, step=1000)
    assert nonzero(ema.module) == BUDGET


def test_masks_find_the_live_parameters(masked):
    net, masks = masked
    whole = {name: torch.ones_like(tensor) for name, tensor in net.state_dict().items()}
    net.load_state_dict(whole, assign=True)  # replaces every tensor
    net.conv1.weight = nn.Parameter(torch.ones_like(net.conv1.weight))
    masks.apply_(net)
    assert nonzero(net) == BUDGET


def test_a_nan_in_a_cut_weight_becomes_zero(masked):
    net, masks = masked
    with torch.no_grad():
        for name, cut in masks.state_dict().items():
            net.get_parameter(name)[cut] = float("nan")
    masks.apply_(net)
    assert nonzero(net) == BUDGET
    assert all(p.isfinite().all() for p in net.parameters())


def test_masks_of_another_network_are_refused(masked):
    masks = masked[1]
    with pytest.raises(UsageError, match=r"mask of conv1\.weight is \[6, 1, 3, 3\], but the parameter is not there"):
        masks.apply_(nn.Sequential(masked[0]))
    wide = zoo.build(ModelSpec(name="resnet_small", depth=8, widths=(7, 8, 12)), num_classes=10, input_CHW=SIZE)
    with pytest.raises(UsageError, match=r"but the parameter is \[7, 1, 3, 3\]; plan again"):
        masks.apply_(wide)


def test_masks_are_read_off_a_network_that_was_masked(masked):
    net, masks = masked
    found = Masks.of(net).state_dict()
    assert all(torch.equal(found[name], cut) for name, cut in masks.state_dict().items())


def test_what_is_cut_stays_cut_in_the_next_step(masked):
    net, masks = masked
    with torch.no_grad():  # a network that is not masked at the moment: without `within` all may come back
        for weight in prunable(net).values():
            weight.copy_(torch.randn_like(weight))
    free, bound = Masks.plan(net, 2_000), Masks.plan(net, 2_000, within=masks)
    regrown = {True: 0, False: 0}
    for name, cut in masks.state_dict().items():
        regrown[True] += int((cut & ~bound.state_dict()[name]).sum())
        regrown[False] += int((cut & ~free.state_dict()[name]).sum())
    assert regrown[True] == 0 < regrown[False]
    assert bound.free_entries(net) == 2_000
    with pytest.raises(UsageError, match=rf"takes 254 to {BUDGET:,}"):
        Masks.plan(net, BUDGET + 1, within=masks)


def test_the_cubic_schedule():
    assert cubic_schedule(1_000, 200, 4) == (537, 300, 212, 200)  # 200 + 800 (1 - t/4)^3
    assert cubic_schedule(1_000, 200, 1) == (200,)
    steps = cubic_schedule(11_172_810, 100_000, 30)
    assert steps[-1] == 100_000
    assert all(before > after for before, after in zip((11_172_810, *steps), steps, strict=False))
    for wrong in ((1_000, 1_001, 3), (1_000, 0, 3), (1_000, 10, 0)):
        with pytest.raises(UsageError, match="are no schedule"):
            cubic_schedule(*wrong)


def test_a_schedule_ends_at_the_budget_and_never_turns_back():
    net = network()
    masks, before = None, None
    for budget in cubic_schedule(sum(p.numel() for p in net.parameters()), 1_500, 6):
        masks = Masks.plan(net, budget, within=masks)
        masks.apply_(net)
        assert nonzero(net) == budget
        assert before is None or all(bool((zeros(net)[name] | ~zero).all()) for name, zero in before.items())
        before = zeros(net)
        train(net, torch.optim.SGD(net.parameters(), lr=0.05), steps=1, after=partial(masks.apply_, net))
    assert nonzero(net) == 1_500


def annotated(net, masks):
    """A copy that torchinfo counts as masked: with the masks of torch.nn.utils.prune."""
    twin = copy.deepcopy(net)
    for name, cut in masks.state_dict().items():
        prune.custom_from_mask(twin.get_submodule(name.removesuffix(".weight")), "weight", ~cut)
    return twin


def test_torchinfo_counts_the_budget(masked):
    net, masks = masked
    assert torchinfo.summary(net, verbose=0).total_params > BUDGET  # the control: it sees no zeros
    twin = annotated(net, masks)
    assert torchinfo.summary(twin, input_size=(1, *SIZE), verbose=0, device="cpu").total_params == BUDGET
    image_BCHW = torch.randn(2, *SIZE)
    assert torch.equal(twin.eval()(image_BCHW), net.eval()(image_BCHW))


def test_a_free_entry_that_happens_to_be_zero_counts_in_the_budget():
    net = zoo.build(ModelSpec(name="resnet_small", depth=8, widths=(6, 8, 12)), num_classes=10, input_CHW=SIZE)
    biases = sum(layer.num_features for layer in net.modules() if isinstance(layer, nn.BatchNorm2d))
    masks = Masks.plan(net, BUDGET)
    masks.apply_(net)
    assert masks.free_entries(net) == BUDGET
    assert nonzero(net) == BUDGET - biases  # untrained BatchNorm biases
    train(net, torch.optim.SGD(net.parameters(), lr=0.05), steps=2, after=lambda: masks.apply_(net))
    assert nonzero(net) == BUDGET


@pytest.mark.parametrize("name", ["nin", "timm/convnext_atto", "timm/vit_tiny_patch16_224", "torchvision/mobilenet_v2"])
def test_other_families_are_masked_exactly(name):
    net = zoo.build(ModelSpec(name=name), num_classes=10, input_CHW=SIZE)
    budget = sum(p.numel() for p in net.parameters()) // 5
    masks = Masks.plan(net, budget)
    masks.apply_(net)
    total = torchinfo.summary(annotated(net, masks), verbose=0).total_params
    assert masks.free_entries(net) == total == budget
    assert net.eval()(torch.randn(2, *SIZE)).isfinite().all()


def test_masks_move_to_the_device_of_the_network(masked):
    net, masks = masked
    masks.apply_(copy.deepcopy(net).to("meta"))
    assert {cut.device.type for _, cut in masks._pairs(copy.deepcopy(net).to("meta"))} == {"meta"}


@pytest.mark.gpu
def test_masks_follow_the_network_to_the_gpu(masked, cuda):
    net, masks = masked
    before = zeros(net)
    net.to(cuda)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.fill_(1)
    masks.apply_(net)
    assert nonzero(net) == masks.free_entries(net) == BUDGET
    assert all(torch.equal(zero.cpu(), before[name]) for name, zero in zeros(net).items())
    assert all(cut.device.type == "cpu" for cut in masks.state_dict().values())
    assert torch.equal(Masks.plan(net, BUDGET, within=masks).state_dict()["conv1.weight"], before["conv1.weight"])


class Tied(nn.Module):
    def __init__(self, how):
        super().__init__()
        self.first = nn.Conv2d(1, 4, 3)
        self.second = nn.Conv2d(4, 4, 3, bias=False)
        self.third = self.second if how == "module" else nn.Conv2d(4, 4, 3, bias=False)
        self.third.weight = self.second.weight
        if how == "loose":
            self.shared = self.second.weight
        self.head = nn.Linear(4, 10)

    def forward(self, x):
        return self.head(self.third(self.second(self.first(x))).mean((2, 3)))


@pytest.mark.parametrize("how", ["module", "weight", "loose"])
def test_tied_weights_count_once_and_are_cut_whatever_else_holds_them(how):
    net = Tied(how)
    assert list(prunable(net)) == ["first.weight", "second.weight", "head.weight"]
    masks = Masks.plan(net, 140)
    masks.apply_(net)
    assert masks.free_entries(net) == nonzero(net) == Masks.of(net).free_entries(net) == 140
    assert torch.equal(net.third.weight, net.second.weight) and int((net.second.weight == 0).sum()) > 0
