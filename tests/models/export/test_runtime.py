import torch

from models.export.runtime import OnnxNet


def test_any_number_of_images(small, small_pixels):
    net, card, content = small
    run, run_pixels = OnnxNet(content), OnnxNet(small_pixels)
    assert (run.takes_pixels, run_pixels.takes_pixels) == (False, True)
    for count in (1, 3, 65):
        images = torch.randn(count, *card.input_CHW)
        with torch.no_grad():
            assert torch.allclose(run(images), net(images), atol=1e-4)
        assert run_pixels(torch.zeros(count, 12, 12, 1, dtype=torch.uint8)).shape == (count, 4)


def test_both_kinds_are_timed_on_the_same_batch(small, small_pixels):
    for content in (small[2], small_pixels):
        contender = OnnxNet(content).contender("net", (1, 12, 12))
        (logits,) = contender.bind(torch.randn(5, 1, 12, 12))()
        assert logits.shape == (5, 4)
