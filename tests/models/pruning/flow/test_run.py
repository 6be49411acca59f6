import torch
from torch import nn

from models.pruning import carve
from models.pruning.flow.run import follow


class Failing(nn.Module):
    def __init__(self):
        super().__init__()
        self.read = nn.Linear(4, 3)
        self.spare = nn.Linear(4, 3)
        self.inner = nn.Sequential(nn.Linear(3, 5))

    def forward(self, image):
        return self.inner(self.read(image)).view(2, 4)


def test_a_failure_is_kept_with_the_layer_and_the_channels_that_it_took():
    net = Failing().eval()
    flow = follow(net, torch.zeros(2, 4), carve.tensors(net))
    assert isinstance(flow.error, RuntimeError)
    assert flow.failed_in == ""
    starts = {place: start for place, start, _ in flow.ledger.places}
    assert flow.blamed[0][1][0] == starts["inner.0.weight", 0]
    assert flow.unread == {"spare.weight", "spare.bias"}


def test_nothing_of_the_network_changes_and_the_output_stays():
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 3)).eval()
    flow = follow(net, torch.zeros(2, 1, 4, 4), carve.tensors(net))
    assert flow.error is None
    assert flow.output.shape == (2, 3)
    assert not any(layer._forward_hooks or layer._forward_pre_hooks for layer in net.modules())
    component = flow.ledger.components()
    starts = {place: start for place, start, _ in flow.ledger.places}
    assert component[starts["3.weight", 0]] == 0
    assert component[starts["0.weight", 0]] != 0


def test_a_transformer_layer_is_followed_through_its_parts_and_not_the_fused_one():
    net = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    fast = torch.backends.mha.get_fastpath_enabled()
    flow = follow(net, torch.zeros(2, 3, 8), carve.tensors(net))
    starts = {place: start for place, start, _ in flow.ledger.places}
    assert flow.ledger.components()[starts["linear1.weight", 0]] != 0
    assert torch.backends.mha.get_fastpath_enabled() == fast
