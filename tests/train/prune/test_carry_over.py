"""What a run takes over from the one before a cut: each tensor cut as its parameter, found by name."""

import copy

import torch
from torch import nn

from models.counting import measure
from models.networks.resnet import resnet_small
from models.pruning import planner, surgery
from models.pruning.spec import Budget, PruneSpec
from train.config import OptimSpec
from train.loss.adapters import Adapters
from train.optim.moving_average import MovingAverage
from train.optim.optimizer import build_optimizer, named_state
from train.prune.carry_over import carry_over
from train.state import Progress, SavedState, TrainState
from train.student import Student

INPUT_CHW = (1, 16, 16)
LAYERS = ("layer2", "layer3")


def state(net, spec: OptimSpec, channels, layers=LAYERS) -> TrainState:
    student = Student(net, layers, Adapters(channels))
    optimizer = build_optimizer(spec, student)
    return TrainState(student=student, optimizer=optimizer, ema=MovingAverage(net, 0.9), scaler=None)


def cut_once(net) -> tuple[nn.Module, surgery.Kept]:
    """Return a copy with at most 600 parameters, and what was kept."""
    cut = copy.deepcopy(net)
    spec = PruneSpec(budget=Budget(parameters=600), steps=1)
    cost = measure(cut, INPUT_CHW)
    target = spec.budget.next_target(cost.parameters, cost.macs, 1)
    plan = planner.plan_cut(cut, INPUT_CHW, target, spec, start=planner.widths(net, INPUT_CHW, spec))
    return cut, surgery.apply(cut, plan)


def test_moments_and_adapters_are_cut_as_the_network_was(tmp_path):
    """A weight's moment is made a copy of the weight, so that after the cut it must equal the weight that is left."""
    torch.manual_seed(0)
    net = resnet_small(num_classes=3, input_CHW=INPUT_CHW, widths=(4, 8, 8), depth=8)
    before = state(net, OptimSpec(), [(8, 5), (8, 6)])
    before.progress = Progress(epoch=2, total_steps=7)
    for parameter in before.student.parameters():
        parameter.grad = torch.zeros_like(parameter)
    before.optimizer.step()
    for parameter, values in before.optimizer.state.items():
        values["exp_avg"].copy_(parameter.detach())
        values["exp_avg_sq"].copy_(2 * parameter.detach())
    before.save(tmp_path / "before")
    adapters = [weight.detach().clone() for weight in before.student.adapters.parameters()]

    cut, kept = cut_once(net)
    carry_over(tmp_path / "before", tmp_path / "after", cut, kept, LAYERS, input_CHW=INPUT_CHW, seed=0)

    saved = SavedState.newest(tmp_path / "after")
    assert saved.progress == Progress() and saved.best == {}
    widths = [cut.get_submodule(layer)[-1].conv2.out_channels for layer in LAYERS]
    after = state(cut, OptimSpec(), list(zip(widths, (5, 6), strict=True)))
    assert after.resume(tmp_path / "after")
    assert sum(p.numel() for p in cut.parameters()) < sum(p.numel() for p in net.parameters())
    found, parameters = named_state(after.optimizer, after.student), dict(after.student.named_parameters())
    assert found.keys() == parameters.keys()
    for name, values in found.items():
        assert torch.equal(values["exp_avg"], parameters[name]), name
        assert torch.equal(values["exp_avg_sq"], 2 * parameters[name]) and float(values["step"]) == 1
    for old, new in zip(adapters, after.student.adapters.parameters(), strict=True):
        assert new.shape[1] <= old.shape[1] and new.shape[0] == old.shape[0]


def test_an_adapter_of_a_layer_without_tensors_begins_anew(tmp_path, caplog):
    torch.manual_seed(0)
    net, layers = resnet_small(num_classes=3, input_CHW=INPUT_CHW, widths=(4, 8, 8), depth=8), ("relu", "layer3")
    before = state(net, OptimSpec(), [(4, 5), (8, 6)], layers)
    for parameter in before.student.parameters():
        parameter.grad = torch.zeros_like(parameter)
    before.optimizer.step()
    before.progress = Progress(total_steps=1)
    before.save(tmp_path / "before")
    cut, kept = cut_once(net)
    found = []
    for name in ("after", "again"):
        with caplog.at_level("INFO"):
            carry_over(tmp_path / "before", tmp_path / name, cut, kept, layers, input_CHW=INPUT_CHW, seed=3)
        found.append(SavedState.newest(tmp_path / name))
    channels = [(cut.conv1.out_channels, 5), (cut.layer3[-1].conv2.out_channels, 6)]
    assert channels[0][0] < 4 and "adapter of layer relu begins anew" in caplog.text and "layer3" not in caplog.text
    after = state(cut, OptimSpec(), channels, layers)
    assert after.resume(tmp_path / "after")
    new, kept_one = map(Student.adapter_weight, range(2))
    assert new not in found[0].optimizer and kept_one in found[0].optimizer
    assert torch.equal(found[0].student[new], found[1].student[new]) and found[0].student[new].std() > 0


def test_without_a_checkpoint_nothing_is_written(tmp_path):
    net = resnet_small(num_classes=3, input_CHW=INPUT_CHW, widths=(2, 4, 8), depth=8)
    kept = surgery.Kept({}, {})
    carry_over(tmp_path / "before", tmp_path / "after", net, kept, (), input_CHW=INPUT_CHW, seed=0)
    assert not (tmp_path / "after").exists()
