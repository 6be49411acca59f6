"""Probabilities averaged over an image and its mirror image."""

import torch
from torch import nn

from models.networks.mirrored import Mirrored


def test_its_softmax_is_the_mean_of_both_probabilities():
    torch.manual_seed(0)
    net, image_BCHW = nn.Sequential(nn.Flatten(), nn.Linear(2 * 3 * 4, 5)), torch.randn(6, 2, 3, 4)
    with torch.no_grad():
        seen, mirror = (
            net(image).softmax(dim=1) for image in (image_BCHW, torch.from_numpy(image_BCHW.numpy()[..., ::-1].copy()))
        )
        found = Mirrored(net)(image_BCHW).softmax(dim=1)
    assert (seen - mirror).abs().max() > 0.1, "an image like its mirror image proves nothing"
    torch.testing.assert_close(found, (seen + mirror) / 2)


def test_a_class_that_is_out_of_the_question_both_times_stays_finite():
    net = nn.Linear(1, 2, bias=False)
    nn.init.constant_(net.weight, 0.0)
    with torch.no_grad():
        net.weight[0] = 1e4
        logits_BK = Mirrored(nn.Sequential(nn.Flatten(), net))(torch.ones(1, 1, 1, 1))
    assert logits_BK.isfinite().all() and logits_BK[0, 0] == 0
