"""One cut of a chain: gradients for scores, the cut itself, BatchNorm's new statistics."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice

from accelerate import Accelerator
from rich.table import Table
from torch import nn
from torch.nn import functional as F

from configs.errors import InputError
from configs.resources import working_alone
from configs.tables import plain_table
from data_pipes.batch import Batch
from data_pipes.sources import source
from models import artefact, state_dicts
from models.artefact import Card
from models.counting import measure
from models.networks import checks
from models.pruning import planner, surgery
from models.pruning.masks import Masks, cubic_schedule, prunable
from models.pruning.plan import Cut
from models.pruning.spec import PruneSpec
from models.pruning.surgery import Kept
from train import guards, live_teacher
from train.live_teacher import LiveTeacher
from train.loaders import EVAL_BATCH, FEW_IMAGES, evaluation_loader
from train.processes import refusing_other_operators
from train.prune.config import PruneConfig

TAYLOR_BATCHES = 8


# No slots: cached_property stores what it found in the instance's __dict__.
@dataclass(frozen=True)
class Cutter:
    """Cuts the networks of a chain. Every process calls its methods, unless one says otherwise."""

    config: PruneConfig
    accelerator: Accelerator

    @cached_property
    def _first(self) -> tuple[nn.Module, Card]:
        """The network before all cuts."""
        return artefact.load(self.config.student.name)

    @cached_property
    def _first_widths(self) -> Mapping[str, int]:
        net, card = self._first
        return planner.widths(net, card.input_CHW, self.config.prune)

    def add_gradients(self, net: nn.Module) -> None:
        """Add gradients of the cross-entropy over training images of all processes, for scores that need them."""
        if not self.config.prune.needs_gradients:
            return
        size = self.config.micro_batch_size or self.config.batch_size
        size = min(size, self.config.batch_size // self.accelerator.num_processes)
        count = TAYLOR_BATCHES * self.config.batch_size
        images = self._images(count, size, alone=False)
        with refusing_other_operators(), self._on_device(net), images as batches:
            for batch in batches:
                loss = F.cross_entropy(net(batch.image_BCHW.float()), batch.label_B)
                loss.backward()  # type: ignore[no-untyped-call]
            for parameter in net.parameters():
                if parameter.grad is not None:
                    parameter.grad = self.accelerator.reduce(parameter.grad, reduction="mean")

    def cut(self, number: int, net: nn.Module) -> tuple[Kept, str]:
        """Make cut `number` in place, on one process; return the kept indices and a record of the cut as JSON."""
        if self.config.prune.kind == "unstructured":
            kept, record = self._zero(number, net)
        else:
            cut = self._plan(number, net)
            kept, record = surgery.apply(net, cut), cut.to_json()
        if self.config.recalibration:
            size = min(
                self.config.batch_size, EVAL_BATCH
            )  # one device has room for it: validation is done with as many
            count = self.config.recalibration * self.config.batch_size
            with self._on_device(net), self._images(count, size, alone=True) as batches:
                surgery.recalibrate(net, (batch.image_BCHW.float() for batch in batches))
        return kept, record

    @contextmanager
    def _on_device(self, net: nn.Module) -> Iterator[None]:
        """Keep a network on the device, with its gradients, and put it back on the CPU afterwards."""
        net.to(self.accelerator.device)
        try:
            yield
        finally:
            net.cpu()

    def _plan(self, number: int, net: nn.Module) -> Cut:
        spec, input_CHW = self.config.prune, self._first[1].input_CHW
        cost, left = measure(net, input_CHW), spec.steps - number + 1
        target = spec.budget.next_target(cost.parameters, cost.macs, left)
        return planner.plan_cut(net, input_CHW, target, spec, start=self._first_widths)

    def _zero(self, number: int, net: nn.Module) -> tuple[Kept, str]:
        nonzero = _schedule(self.config, self._first[0])[number - 1]
        masks = Masks.plan(net, nonzero, within=Masks.of(net))
        masks.apply_(net)
        free = {name: int((~cut).sum()) for name, cut in masks.state_dict().items()}
        shapes = {name: tuple(tensor.shape) for name, tensor in net.state_dict().items()}
        return Kept(shapes, {}), json.dumps({"nonzero": masks.free_entries(net), "free": free})

    @contextmanager
    def _images(self, count: int, size: int, *, alone: bool) -> Iterator[Iterator[Batch]]:
        """Load evaluation views of training images spread over the split, `size` at a time.

        alone: for this process, which has all cores of the machine; by default they are shared out over all processes.
        """
        train = source.load(self.config.data, "train")
        few, data = train.select(train.spread(count)), self.config.data
        with working_alone() if alone else nullcontext():
            loader = evaluation_loader(self.accelerator, few, data, FEW_IMAGES, batch_size=size, alone=alone)
        try:
            yield islice(loader.epoch(0), len(loader))
        finally:
            loader.close()


def require_possible(config: PruneConfig) -> None:
    """Refuse a chain that cannot be completed, before anything is cut.

    InputError: student, teacher and data do not fit together. UsageError: the budget cannot be met.
    """
    net, card = artefact.load(config.student.name)
    state_dicts.require_finite(net, config.student.name)
    checks.require_takes(net, card.input_CHW, (card.input_CHW[0], *config.data.image_size), config.student.name)
    if config.teacher_file is not None:
        live_teacher.require_fit(config.teacher_file, config.data, config.distill.teacher_size)
    _require_fit(config, card)
    if config.prune.kind == "unstructured":
        _masks(config, net)
        return
    planner.plan(net, card.input_CHW, _without_gradients(config.prune))


def require_reachable(config: PruneConfig, net: nn.Module, input_CHW: tuple[int, int, int]) -> None:
    """Refuse a budget that no weights of a network could meet. Errors as for `require_possible`."""
    if config.prune.kind == "unstructured":
        _schedule(config, net)
        _masks(config, net)
    else:
        planner.require_reachable(net, input_CHW, _without_gradients(config.prune))


def _without_gradients(spec: PruneSpec) -> PruneSpec:
    return replace(spec, importance="l2") if spec.needs_gradients else spec


def _require_fit(config: PruneConfig, card: Card) -> None:
    classes = source.load(config.data, "train").classes
    guards.require_classes(card.classes, classes, f"the student {config.student.name}")
    if card.input_CHW[0] != config.data.channels:
        raise InputError(f"the student takes {card.input_CHW[0]} channels and data.mean has {config.data.channels}")
    if config.teacher_file is not None:
        layers, size = config.distill.teacher_layers, config.distill.teacher_size
        LiveTeacher.load(config.teacher_file, config.data, classes, layers=layers, size=size)


def preview(config: PruneConfig) -> Table | str:
    """Return a table of all cuts that the present weights would get. UsageError: the budget cannot be met."""
    net, card = artefact.load(config.student.name)
    if config.prune.kind == "structured":
        return planner.plan(net, card.input_CHW, config.prune).table()
    masks, weights = _masks(config, net), prunable(net)
    steps = ", ".join(f"{count:,}" for count in _schedule(config, net))
    shown = plain_table(f"parameters that may be non-zero after each cut: {steps}")
    for column in ("layer", "weights", "free", "%"):
        shown.add_column(column, justify="left" if column == "layer" else "right", no_wrap=True)
    for name, cut in masks.state_dict().items():
        free = int((~cut).sum())
        shown.add_row(name, f"{weights[name].numel():,}", f"{free:,}", f"{100 * free / weights[name].numel():.1f}")
    return shown


def _schedule(config: PruneConfig, first: nn.Module) -> tuple[int, ...]:
    budget = config.prune.budget.parameters
    assert budget is not None, "an unstructured budget is one of parameters"
    return cubic_schedule(Masks.of(first).free_entries(first), budget, config.prune.steps)


def _masks(config: PruneConfig, net: nn.Module) -> Masks:
    """Return the masks of the whole budget at once."""
    assert config.prune.budget.parameters is not None, "an unstructured budget is one of parameters"
    return Masks.plan(net, config.prune.budget.parameters, within=Masks.of(net))
