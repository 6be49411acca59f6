import torch
from torch import nn

from models.pruning.flow import soundness
from models.pruning.tracing import trace

SIZE = (3, 8, 8)


class Block(nn.Module):
    def __init__(self, written):
        super().__init__()
        self.one, self.two = nn.Conv2d(8, 12, 1), nn.Conv2d(12, 8, 1)
        self.written = written

    def forward(self, x):
        found = self.one(x)
        found = found.view(-1, 12, 64) if self.written else found.flatten(2)
        return x + self.two(found.unflatten(2, (8, 8)))


def stack(*written):
    return nn.Sequential(
        nn.Conv2d(3, 8, 1), *(Block(flag) for flag in written), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)
    )


def test_a_layer_with_its_width_in_the_code_stays_and_the_others_are_cut(monkeypatch):
    tried = []
    blamed = soundness.Trial._blamed
    monkeypatch.setattr(soundness.Trial, "_blamed", lambda self, groups: tried.append(1) or blamed(self, groups))
    structure = trace(stack(*[True, False] * 6), SIZE)
    names = {group.root for group in structure.groups}
    assert names == {"0", *(f"{index}.one" for index in range(2, 13, 2))}
    assert structure.whole["1.one"] == "a forward has its width in the code"
    assert len(tried) < 40


def test_a_cut_that_shifts_other_channels_is_noticed_although_the_network_runs():
    class Shifting(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.other = nn.Conv2d(3, 12, 1), nn.Conv2d(4, 6, 1)
            self.left, self.right = nn.Conv2d(12, 7, 1), nn.Conv2d(6, 7, 1)
            self.head = nn.Linear(7, 4)

        def forward(self, image):
            x = self.conv(image)
            parts = x[:, :4], x[:, 4:8]  # of which the second moves when the first is cut
            return self.head((self.left(x) + self.right(self.other(parts[0] + parts[1]))).mean((2, 3)))

    structure = trace(Shifting(), SIZE)
    assert "conv" not in {group.root for group in structure.groups} or all(
        min(member.owner_I[:8].max() for member in group.members if member.tensor == "conv.weight") < 0
        for group in structure.groups
        if group.root == "conv"
    )
    assert {"other", "left"} <= {group.root for group in structure.groups}


def test_groups_of_the_smallest_size_are_left_alone():
    structure = trace(nn.Sequential(nn.Conv2d(3, 2, 1), nn.Conv2d(2, 6, 1), nn.Flatten(), nn.Linear(384, 4)), SIZE)
    assert [group.units for group in structure.groups] == [2, 6]


def test_test_cuts_remove_other_numbers_from_neighbours():
    structure = trace(stack(False, False), SIZE)
    some = [soundness._some(group, index) for index, group in enumerate(structure.groups)]
    assert len({len(units) for units in some}) > 1
    assert all(torch.tensor(units).max() < group.units for units, group in zip(some, structure.groups, strict=True))
