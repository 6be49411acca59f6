"""Cuts and trainings in turn, down to a budget: a chain of run folders that resumes wherever it was killed.

    RUN/cut-01/cut.safetensors   the network just after the cut
        cut-01/checkpoints/      begins with the optimizer's momentum, cut as the network
        cut-01/cut.json          what was cut; written last, so that it marks a cut as made
        cut-01/...               a run of train.distill from cut.safetensors
    RUN/ledger.json, ledger.png  a line per cut; metrics.jsonl has them too, and wandb
    RUN/model.safetensors, result.json, done

A cut depends only on the files before it, so that one that was killed is made again.
"""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

from accelerate import Accelerator
from accelerate.utils import gather_object

from configs import reader, records
from configs.errors import InputError
from configs.files import write_atomically
from configs.tables import PlainConsole
from data_pipes.sources import source
from models import artefact
from models.artefact import Card
from models.counting import measure
from models.pruning import surgery
from train import guards
from train.adopt import on_the_fly
from train.charts.cuts import Point
from train.config import DistillConfig
from train.evaluate.evaluation import evaluate
from train.loaders import choose_executor, evaluation_loader, load_test
from train.processes import by_main, dtype_of, require_going_on, search_algorithms, start_run
from train.prune import cut, ledger
from train.prune.carry_over import carry_over
from train.prune.config import PruneConfig
from train.prune.cut import Cutter
from train.prune.ledger import Chart, Entry
from train.run_folder import finished, own_code, readings, result
from train.run_folder.occupied import occupied, refusal_recorded
from train.run_folder.run_dir import RunDir, write_json
from train.stage.run import carry_out, summary
from train.track import wandb_start
from train.track.tensorboard_run import TensorBoardRun
from train.track.wandb_run import WandbRun

logger = logging.getLogger(__name__)


def run(config: PruneConfig) -> None:
    """Run train.prune."""
    if config.dry_run:
        own_code.register(config, RunDir.at(config.run_dir))
        PlainConsole().print(cut.preview(config))
        return
    with refusal_recorded(RunDir.at(config.run_dir), reader.dump(config)):
        accelerator = start_run(config)
    reached = carry_out_chain(config, accelerator)
    logger.info("%s", summary(reached))
    accelerator.end_training()


def carry_out_chain(config: PruneConfig, accelerator: Accelerator) -> dict[str, Any]:
    """Make all cuts that are not made yet; return the result of the last."""
    folder = RunDir.at(config.run_dir)
    with occupied(accelerator, folder, reader.dump(config)):
        own_code.keep(config, folder, accelerator)
        if folder.done.exists():
            finished.announce(accelerator, folder)
        else:
            Chain(on_the_fly.adopted(config, accelerator, folder), accelerator, folder).run()
    if accelerator.is_main_process:
        PlainConsole(stderr=True).print(ledger.table(ledger.read(folder.path)))
    return result.read(folder.path)


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain of cuts. Every process runs it; the main one writes files."""

    config: PruneConfig
    accelerator: Accelerator
    folder: RunDir

    def run(self) -> None:
        """Make all cuts; those that are made already stay as they are."""
        if not self._run_folder(1).path.exists():
            by_main(self.accelerator, lambda: cut.require_possible(self.config))
        if self.config.test:
            # Bad files are named now, not before the last cut's training.
            load_test(self.accelerator, source.Source(self.config.data))
        self.accelerator.wait_for_everyone()
        with self._tracked() as run:
            self._make_cuts(run)
        self.accelerator.wait_for_everyone()

    def _make_cuts(self, run: WandbRun | None) -> None:
        entries: list[Entry] = []
        epochs, passes, seconds = 0, 0.0, 0.0
        cutter = Cutter(self.config, self.accelerator)
        for number in range(1, self.config.prune.steps + 1):
            here = self._run_folder(number)
            if not here.done.exists():
                require_going_on(self.accelerator)
                search_algorithms(0)  # a cut is over before a search pays
                self._cut(number, cutter)
                self._measure(number)
            reached = carry_out(self._training(number), "prune", self.accelerator, chained=True)
            self.accelerator.free_memory()
            epochs, seconds = epochs + reached["epochs"], seconds + reached["seconds"]
            passes += result.passes(reached)
            entries.append(self._entry(number, reached))
            logger.info("cut %d/%d: %s", number, self.config.prune.steps, entries[-1].summary)
            if self.accelerator.is_main_process:
                ledger.write(self.folder.path, entries)
                if self.config.track.pictures:
                    ledger.draw(self.folder.path, entries, self._chart())
                if run is not None:
                    run.log({"train/step": number, **entries[-1].numbers})
        if self.accelerator.is_main_process:
            write_atomically(self.folder.weights, here.weights.read_bytes())
            reads = readings.read(self.folder.path).of_run.number
            sums = {"epochs": epochs, "passes": round(passes, 6), "seconds": seconds}
            write_json(self.folder.result, {**reached, "cuts": len(entries), **sums, "test_reads": reads})
            board = TensorBoardRun.start(self.folder.path, wanted=self.config.track.tensorboard)
            ledger.track(self.folder, entries, run, board)
            write_atomically(self.folder.done, "")

    def _chart(self) -> Chart:
        """What ledger.png shows beside the cuts: the network before them, the budget, the images of validation."""
        card = artefact.read_card(self.config.student.name)
        score, samples = card.scores.get("validation"), records.from_json(self._run_folder(1).path / "before.json")
        dense = None
        if score is not None:
            dense = Point(nonzero=card.cost.nonzero, accuracy=score.accuracy, samples=score.total)
        budget = self.config.prune.budget.parameters
        return Chart(title=f"Cuts: {self.folder.path}", dense=dense, budget=budget, samples=samples.get("samples"))

    def _tracked(self) -> AbstractContextManager[WandbRun | None]:
        """Begin the chain's own run in wandb, beside those of its trainings."""
        flat, main = reader.flat(self.config), self.accelerator.is_main_process
        return wandb_start.chain(self.config.track, self.folder.path, config=flat, stage="prune", main=main)

    def _run_folder(self, number: int) -> RunDir:
        return RunDir(self.folder.path / f"cut-{number:02d}")

    def _training(self, number: int) -> DistillConfig:
        here = self._run_folder(number)
        return self.config.after_cut(number, run_dir=str(here.path), student=str(here.path / "cut.safetensors"))

    def _source(self, number: int) -> str:
        return self.config.student.name if number == 1 else str(self._run_folder(number - 1).weights)

    def _cut(self, number: int, cutter: Cutter) -> None:
        """Make a cut unless cut.json says that it is made."""
        here = self._run_folder(number).path
        if not (here / "cut.json").exists():
            net, card = artefact.load(self._source(number))
            cutter.add_gradients(net)
            if self.accelerator.is_main_process:
                kept, record = cutter.cut(number, net)
                pruned = card.pruned or self.config.prune.kind == "structured"
                lineage = dict(card.lineage) | {"cut_from": artefact.sha256(self._source(number))}
                cost = measure(net, card.input_CHW)
                after = replace(card, pruned=pruned, attributes={}, scores={}, cost=cost, lineage=lineage)
                here.mkdir(parents=True, exist_ok=True)
                artefact.save(here / "cut.safetensors", net, after)
                if number > 1:
                    layers = self.config.distill.adapted_layers
                    before = self._run_folder(number - 1).checkpoints
                    into, shape = self._run_folder(number).checkpoints, card.input_CHW
                    carry_over(before, into, net, kept, layers, input_CHW=shape, seed=self.config.seed)
                write_atomically(here / "cut.json", record)
        self.accelerator.wait_for_everyone()
        own, card = artefact.load(here / "cut.safetensors")
        self._require_source(number, card)
        guards.require_one_architecture(gather_object([surgery.architecture_hash(own)]))

    def _require_source(self, number: int, card: Card) -> None:
        """InputError if a cut that was made before was made of another file than the one that is there now."""
        file, known = self._source(number), card.lineage.get("cut_from")
        if known is not None and artefact.sha256(file) != known:
            raise InputError(
                f"cut {number} in {self.folder.path} was made of another file than {file} is now: put that one back, "
                "or choose another --run_dir"
            )

    def _measure(self, number: int) -> None:
        """Measure accuracy on validation just after the cut."""
        here, data = self._run_folder(number).path, self.config.data
        net, _ = artefact.load(here / "cut.safetensors", device=self.accelerator.device)
        samples = source.load(data, "validation")
        chosen, dtype = choose_executor(self.accelerator, data, samples), dtype_of(self.config.precision)
        loader = evaluation_loader(self.accelerator, samples, data, chosen, dtype)
        net.to(dtype)
        scores = evaluate(self.accelerator, net, loader.epoch(0), len(samples.classes))
        loader.close()
        if self.accelerator.is_main_process:
            write_json(here / "before.json", {"accuracy": scores.accuracy, "samples": scores.count})
        self.accelerator.wait_for_everyone()

    def _entry(self, number: int, reached: dict[str, Any]) -> Entry:
        here = self._run_folder(number)
        net, card = artefact.load(here.weights)
        before = here.path / "before.json"
        return Entry(
            cut=number,
            parameters=card.cost.parameters,
            nonzero=card.cost.nonzero,
            macs=card.cost.macs,
            before=records.typed(before, records.from_json(before), {"accuracy": float})["accuracy"],
            after=reached["validation_accuracy"],
            architecture=surgery.architecture_hash(net),
            sha256=artefact.sha256(here.weights),
        )
