"""A training run that writes down what every process was shown: run by test_two_processes.py under a launcher.

usage: recorder.py RECORD_DIR [train.distill arguments]
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import torch

from configs import reader
from data_pipes.batch import Batch
from train.config import DistillConfig
from train.processes import make_accelerator
from train.run_folder.run_dir import RunDir
from train.stage import outcome
from train.stage.assembly import assemble
from train.step import Step
from train.student import Signals


class Recorder:
    """Stands before the step and notes each micro-batch: step, slot, rows, views, pixels, targets."""

    def __init__(self, step: Step) -> None:
        self.step, self.model, self.teacher, self.clock = step, step.model, step.teacher, step.clock
        self.lines: list[str] = []

    def __call__(self, batch: Batch, step: int, slot: int) -> tuple[dict[str, torch.Tensor], Signals]:
        pixels = hashlib.sha256(batch.image_BCHW.contiguous().numpy().tobytes()).hexdigest()
        real = (batch.weight_B > 0).tolist()
        record = (step, slot, batch.view, batch.index_B.tolist(), real, pixels, batch.target_BK.tolist())
        self.lines.append(json.dumps(record))
        return self.step(batch, step, slot)


def main() -> None:
    folder = Path(sys.argv[1])
    config = reader.read(DistillConfig, sys.argv[2:], prog="recorder", description="")
    accelerator = make_accelerator(config.precision)
    run_dir = RunDir.at(config.run_dir)
    if accelerator.is_main_process:
        run_dir.open(reader.dump(config))
    accelerator.wait_for_everyone()
    loop = assemble(config, accelerator, run_dir, "distill")
    recorder = Recorder(loop.step)
    loop.step = recorder  # type: ignore[assignment]
    loop.fit()
    rank, world = accelerator.process_index, accelerator.num_processes
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{rank}-of-{world}.jsonl").write_text("\n".join(recorder.lines))
    outcome.finish(loop)
    accelerator.end_training()


if __name__ == "__main__":
    main()
