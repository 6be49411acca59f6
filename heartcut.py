"""A saved network in three lines of Python:

    import heartcut
    net = heartcut.load("model.safetensors")
    net.predict(["rose.jpg", "tulip.jpg"])  # [("rose", 0.93), ("tulip", 0.88)]

Our packages are found before folders of the same names in the working directory, such as a `models/` of yours; a script
that needs both runs them in two processes.

N images, C channels, H x W pixels, K classes.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor, nn

HOME = Path(__file__).resolve().parent
for name in ("configs", "data_pipes", "models"):
    other = getattr(sys.modules.get(name), "__path__", None)
    if other is not None and not any(Path(folder).resolve() == HOME / name for folder in other):
        raise ImportError(
            f"{next(iter(other))} is imported already, and heartcut has a package {name}, too: use two processes"
        )
sys.path.insert(0, str(HOME))

from configs.home import expand
from data_pipes.executors import single
from data_pipes.sources.given import Given, several
from data_pipes.spec import DataSpec
from models import artefact, state_dicts
from models.adopt import hub
from models.artefact import Card
from models.own import registry

sys.path.remove(str(HOME))

__all__ = ["Predictor", "load"]
BATCH = 64  # images of one forward pass


def load(file: str | os.PathLike[str], *, device: str | torch.device = "cpu", network: str | None = None) -> Predictor:
    """Load a .safetensors file, or hf-hub:OWNER/NAME, which models.publish has sent to the Hugging Face hub.

    network: your own code that the file needs, PATH/my_net.py:StudentNet, which is executed as it is now.
    InputError: the file is missing, damaged or foreign, needs such code, or a weight is not a finite number.
    """
    path = hub.download(str(file)) if hub.is_remote(str(file)) else expand(Path(file))
    registry.register(() if network is None else network, again=True)
    net, card = artefact.load(path)
    state_dicts.require_finite(net, path)
    return Predictor(net, card, device=device)


class Predictor:
    """A network that takes images as they come, and knows its classes.

    An image is a path, a PIL image, a uint8 NumPy array (H x W or H x W x 3, RGB) or a uint8 torch tensor (H x W or
    3 x H x W). Every method takes one image, several, or a batch as an array N x H x W x 3 or a tensor N x 3 x H x W;
    results have a row for each. Files are turned upright, grey and colour are converted as the network needs them.
    InputError: an image cannot be read; the message names it.
    """

    def __init__(self, net: nn.Module, card: Card, *, device: str | torch.device = "cpu") -> None:
        self.net = net.to(device).eval()
        """The network, as plain PyTorch: normalised N x C x H x W to logits N x K."""
        self.card = card
        """What the file says of it: scores, costs, lineage, ..."""
        self.device = torch.device(device)
        self._spec = DataSpec(
            source="folder",
            image_size=card.input_CHW[1:],
            mean=card.mean,
            std=card.std,
            eval_crop=card.eval_crop,
        )

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the K classes, in the order of the logits."""
        return self.card.classes

    @property
    def input_size(self) -> tuple[int, int, int]:
        """Channels, height and width that the network takes, in pixels."""
        return self.card.input_CHW

    def preprocess(self, images: Given | Iterable[Given]) -> Tensor:
        """Crop, resize and normalise: float32 N x C x H x W on the device, the pixels that train.predict sees."""
        return single.views(several(images), self._spec).to(self.device)

    @torch.no_grad()
    def logits(self, images: Given | Iterable[Given]) -> Tensor:
        """Return logits N x K on the CPU."""
        given = several(images)
        parts = [self.net(self.preprocess(given[i : i + BATCH])).cpu() for i in range(0, len(given), BATCH)]
        return torch.cat(parts) if parts else torch.empty(0, len(self.classes))

    def probabilities(self, images: Given | Iterable[Given]) -> Tensor:
        """Return probabilities N x K on the CPU; rows sum to one."""
        return self.logits(images).softmax(dim=1)

    def predict(self, images: Given | Iterable[Given]) -> list[tuple[str, float]]:
        """Return the best class of each image and its probability."""
        return [best[0] for best in self.top(images, 1)]

    def top(self, images: Given | Iterable[Given], count: int = 5) -> list[list[tuple[str, float]]]:
        """Return the best classes of each image and their probabilities, best first."""
        best = self.probabilities(images).topk(min(count, len(self.classes)), dim=1)
        rows = zip(best.values.tolist(), best.indices.tolist(), strict=True)
        return [[(self.classes[k], value) for value, k in zip(*row, strict=True)] for row in rows]
