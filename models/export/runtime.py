"""ONNX Runtime on the CPU, with as many threads as torch has.

Shapes: B batch, C channels, H height, W width, K classes.
"""

from __future__ import annotations

import onnxruntime
import torch
from torch import Tensor

from models.export.latency import Contender, Forward
from models.export.pixel_input import quantised


class OnnxNet:
    """A graph with one input and one output."""

    def __init__(self, content: bytes) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        # Otherwise its threads spin after a run, on the cores of the network that is timed next.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        taken = self._session.get_inputs()[0]
        self._input = taken.name
        self.takes_pixels: bool = taken.type == "tensor(uint8)"
        """Whether its input is uint8 pixel_BHWC rather than float32 image_BCHW."""

    def __call__(self, images: Tensor) -> Tensor:
        """Images as the graph takes them -> logits_BK."""
        return torch.from_numpy(self._session.run(None, {self._input: images.numpy()})[0])

    def contender(self, network: str, input_CHW: tuple[int, int, int]) -> Contender:
        """Return this network for `latency.measure`."""
        return Contender(network=network, runtime="ONNX Runtime", input_CHW=input_CHW, bind=self._bind)

    def _bind(self, image_BCHW: Tensor) -> Forward:
        images = quantised(image_BCHW) if self.takes_pixels else image_BCHW
        feed = {self._input: images.numpy()}
        return lambda: self._session.run(None, feed)
