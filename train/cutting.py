"""Cut, train, cut, train, ... down to a budget: a chain of run folders that goes on wherever it was killed.

    RUN/cut-01/cut.safetensors   the network just after the cut
        cut-01/checkpoints/      begins with the optimizer's momentum, cut along
        cut-01/cut.json          what was cut; written last: from here on the cut is done
        cut-01/...               an ordinary run of train.distill from cut.safetensors
    RUN/ledger.json, ledger.png  a line per cut
    RUN/model.safetensors, result.json, done

Every part of a cut is a function of the files before it, so that a cut that was killed is simply made again.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np
from accelerate import Accelerator
from accelerate.utils import gather_object
from rich.console import Console
from torch import nn
from torch.nn import functional as F

from configs import reader
from configs.files import write_atomically
from data_pipes import source
from data_pipes.batch import Batch
from data_pipes.samples import Samples
from models import artefact, planner, surgery
from models.artefact import Card
from models.counting import measure
from models.cuts import Cut
from train import guards, ledger
from train.carry_over import carry_over
from train.config import PruneConfig
from train.evaluation import evaluate
from train.ledger import Entry
from train.outcome import carry_out, summary
from train.progress import start_logging
from train.run_dir import RunDir, write_json
from train.world import dtype_of, evaluation_loader, make_accelerator

logger = logging.getLogger(__name__)
TAYLOR_BATCHES = 8


def run(config: PruneConfig) -> None:
    """The whole of train.prune."""
    if config.dry_run:
        net, card = artefact.load(config.student.name)
        Console().print(planner.table(planner.plan(net, card.input_CHW, config.prune)), highlight=False, markup=False)
        return
    accelerator = make_accelerator(config.precision)
    start_logging(accelerator.is_main_process)
    folder = RunDir.at(config.run_dir)
    if accelerator.is_main_process:
        folder.open(reader.dump(config))
    accelerator.wait_for_everyone()
    if not folder.done.exists():
        Chain(config, accelerator, folder).run()
    if accelerator.is_main_process:
        entries = [Entry(**entry) for entry in json.loads((folder.path / "ledger.json").read_text())]
        Console(stderr=True).print(ledger.table(entries))
        logger.info("%s", summary(json.loads(folder.result.read_text())))
    accelerator.end_training()


@dataclass(frozen=True, slots=True)
class Chain:
    """Cuts and trainings in turn, on every process; files are written by the main one."""

    config: PruneConfig
    accelerator: Accelerator
    folder: RunDir

    def run(self) -> None:
        """All of it; what is there already is left as it is."""
        entries: list[Entry] = []
        if self.accelerator.is_main_process and not self._home(1).path.exists():
            # A budget that cannot be had is refused now, and not after the last training but one.
            net, card = artefact.load(self.config.student.name)
            ranked = "l2" if self.config.prune.importance == "taylor" else self.config.prune.importance
            planner.plan(net, card.input_CHW, replace(self.config.prune, importance=ranked))
        self.accelerator.wait_for_everyone()
        for number in range(1, self.config.prune.steps + 1):
            here = self._home(number)
            if not here.done.exists():
                self._cut(number)
                self._measure(number)
            result = carry_out(self._training(number), "prune", self.accelerator)
            self.accelerator.free_memory()
            entries.append(self._entry(number, result))
            logger.info(
                "cut %d/%d: %s parameters, validation %.2f %% just after the cut, %.2f %% once trained",
                *(number, self.config.prune.steps, f"{entries[-1].parameters:,}"),
                *(100 * entries[-1].before, 100 * entries[-1].after),
            )
            if self.accelerator.is_main_process:
                ledger.write(self.folder.path, entries)
        if self.accelerator.is_main_process:
            write_atomically(self.folder.weights, here.weights.read_bytes())
            write_json(self.folder.result, result | {"cuts": len(entries)})
            write_atomically(self.folder.done, "")
        self.accelerator.wait_for_everyone()

    def _home(self, number: int) -> RunDir:
        return RunDir(self.folder.path / f"cut-{number:02d}")

    def _training(self, number: int) -> Any:
        here = self._home(number)
        return self.config.after_cut(number, run_dir=str(here.path), student=str(here.path / "cut.safetensors"))

    def _source(self, number: int) -> str:
        return self.config.student.name if number == 1 else str(self._home(number - 1).weights)

    def _cut(self, number: int) -> None:
        """Make a cut, unless it is made; it is, once cut.json is there."""
        here = self._home(number).path
        made = here / "cut.json"
        if not made.exists():
            net, card = artefact.load(self._source(number))
            if self.config.prune.importance == "taylor":
                self._add_gradients(net)
            if self.accelerator.is_main_process:
                here.mkdir(parents=True, exist_ok=True)
                self._write_cut(number, net, card)
        self.accelerator.wait_for_everyone()
        hashes = gather_object([surgery.architecture_hash(artefact.load(here / "cut.safetensors")[0])])
        guards.require_one_architecture(hashes)

    def _write_cut(self, number: int, net: nn.Module, card: Card) -> None:
        here, cut = self._home(number), self._plan(number, net, card)
        kept = surgery.apply(net, cut)
        if self.config.recalibration:
            with self._images(self.config.recalibration * self.config.batch_size, alone=True) as batches:
                surgery.recalibrate(net, (batch.image_BCHW.float().cpu() for batch in batches))
        lineage = dict(card.lineage) | {"cut_from": artefact.sha256(self._source(number))}
        cost = measure(net, card.input_CHW)
        card = replace(card, pruned=True, attributes={}, scores={}, cost=cost, lineage=lineage)
        artefact.save(here.path / "cut.safetensors", net, card)
        if number > 1:
            layers = self.config.distill.student_layers if self.config.distill.hint else ()
            carry_over(self._home(number - 1).checkpoints, here.checkpoints, net, kept, layers)
        write_atomically(here.path / "cut.json", cut.to_json())

    def _plan(self, number: int, net: nn.Module, card: Card) -> Cut:
        spec = self.config.prune
        first, _ = artefact.load(self.config.student.name)
        cost, left = measure(net, card.input_CHW), spec.steps - number + 1
        target = spec.budget.next_target(cost.parameters, cost.macs, left)
        start = planner.widths(first, card.input_CHW, spec)
        return planner.plan_cut(net, card.input_CHW, target, spec, start=start)

    def _add_gradients(self, net: nn.Module) -> None:
        """Of the cross-entropy, over training images of all processes: every process then scores channels alike."""
        with self._images(TAYLOR_BATCHES * self.config.batch_size, alone=False) as batches:
            for batch in batches:
                loss = F.cross_entropy(net(batch.image_BCHW.float().cpu()), batch.label_B.cpu())
                loss.backward()  # type: ignore[no-untyped-call]
        for parameter in net.parameters():
            if parameter.grad is not None:
                summed = self.accelerator.reduce(parameter.grad.to(self.accelerator.device), reduction="mean")
                parameter.grad = summed.cpu()

    @contextmanager
    def _images(self, count: int, *, alone: bool) -> Iterator[Iterator[Batch]]:
        """Evaluation views of some training images, spread over the split, for this process or shared by all."""
        train = source.load(self.config.data, "train")
        rows = np.unique(np.linspace(0, len(train) - 1, min(count, len(train))).astype(np.int64))
        some: Samples = train.select(rows)
        data = replace(self.config.data, executor="host")
        world = 1 if alone else self.accelerator.num_processes
        loader = evaluation_loader(
            self.accelerator, some, data, batch_size=self.config.batch_size // world, alone=alone
        )
        try:
            yield islice(loader.epoch(0), len(loader))
        finally:
            loader.close()

    def _measure(self, number: int) -> None:
        """Accuracy on validation just after the cut."""
        here, data = self._home(number).path, self.config.data
        net, _ = artefact.load(here / "cut.safetensors", device=self.accelerator.device)
        samples = source.load(data, "validation")
        loader = evaluation_loader(self.accelerator, samples, data, dtype_of(self.config.precision))
        net.to(dtype_of(self.config.precision))
        scores = evaluate(self.accelerator, net, loader.epoch(0), len(samples.classes))
        loader.close()
        if self.accelerator.is_main_process:
            write_json(here / "before.json", {"accuracy": scores.accuracy, "samples": scores.count})
        self.accelerator.wait_for_everyone()

    def _entry(self, number: int, result: dict[str, Any]) -> Entry:
        here = self._home(number)
        net, card = artefact.load(here.weights)
        return Entry(
            cut=number,
            parameters=card.cost.parameters,
            macs=card.cost.macs,
            before=json.loads((here.path / "before.json").read_text())["accuracy"],
            after=result["validation_accuracy"],
            architecture=surgery.architecture_hash(net),
            sha256=artefact.sha256(here.weights),
        )
