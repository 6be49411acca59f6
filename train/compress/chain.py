"""Teacher, student, cuts, evaluation, ONNX: a chain of run folders. Finished stages are skipped.

RUN/teacher, RUN/student, RUN/cut   as train.teacher, train.distill and train.prune leave them
RUN/model.safetensors, model.onnx   the student after the last cut
RUN/evaluation-SPLIT.json           its scores, by class
RUN/export.json                     parity, counts and latency beside the teacher
RUN/README.md                       a model card, if asked for
RUN/result.json, done
"""

from __future__ import annotations

import importlib.util
import logging
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Literal

from accelerate import Accelerator

from configs import reader
from configs.errors import InputError, UsageError
from configs.files import write_atomically
from configs.shown import command
from configs.tables import PlainConsole
from models.card import readme
from models.spec import ModelSpec
from train import table
from train.adopt import on_the_fly
from train.adopt.names import foreign, foreign_network
from train.compress import preflight, stages
from train.compress.config import CompressConfig
from train.evaluate import score_sheet
from train.evaluate.config import EvaluateConfig
from train.processes import by_main, require_going_on, start_run
from train.prune.chain import carry_out_chain
from train.run_folder import finished, own_code, readings, result
from train.run_folder.occupied import occupied, refusal_recorded
from train.run_folder.run_dir import RunDir, write_json
from train.stage.run import carry_out
from train.track import wandb_start
from train.track.wandb_run import WandbRun

logger = logging.getLogger(__name__)
EXTRA = ("onnx", "onnxscript", "onnxruntime")
ROUNDS = 20


def run(config: CompressConfig) -> None:
    """Run train.compress."""
    folder = RunDir.at(config.run_dir)
    with refusal_recorded(folder, reader.dump(config)):
        _require_extra(config)
        if config.card:
            readme.require_free(folder.path / readme.NAME)
        accelerator = start_run(config)
    with occupied(accelerator, folder, reader.dump(config)), _tracked(config, accelerator, folder) as run:
        own_code.keep(config, folder, accelerator)
        config = _adopted(config, accelerator, folder)
        by_main(accelerator, lambda: preflight.require_possible(config))
        trained = _train(config, accelerator)
        if folder.done.exists():
            finished.announce(accelerator, folder)
        else:
            require_going_on(accelerator)
            _finish(config, accelerator, folder)
        if config.card and accelerator.is_main_process and not (folder.path / readme.NAME).exists():
            readme.write(folder.weights, folder.path)
        if run is not None:
            run.finish(result.read(folder.path))
    if accelerator.is_main_process:
        console = PlainConsole(width=table.WIDTH)
        console.print(table.build([table.load(stage) for stage in trained]))
        names = ["model.safetensors", *["model.onnx"] * config.onnx, *[readme.NAME] * config.card]
        text = f"Everything is in {folder.path}: {', '.join(names)}."
        console.print(text)
        console.print(f"As one page: {command('python', '-m', 'train.report', folder.path)}", soft_wrap=True)
    accelerator.end_training()


def _require_extra(config: CompressConfig) -> None:
    missing = [name for name in EXTRA if importlib.util.find_spec(name) is None]
    if config.onnx and missing:
        raise UsageError(f"onnx is true, but {', '.join(missing)} not installed: pip install {' '.join(missing)}")


def _tracked(
    config: CompressConfig, accelerator: Accelerator, folder: RunDir
) -> AbstractContextManager[WandbRun | None]:
    """Begin the chain's run in wandb, beside those of its stages; none if the chain is finished."""
    main = accelerator.is_main_process and not folder.done.exists()
    return wandb_start.chain(config.track, folder.path, config=reader.flat(config), stage="compress", main=main)


def _adopted(config: CompressConfig, accelerator: Accelerator, folder: RunDir) -> CompressConfig:
    """Return a config that names our own files in place of weights from elsewhere, for all stages."""
    teacher, model = config.teacher, config.student.model
    if foreign_network(model):
        path = by_main(accelerator, lambda: on_the_fly.student(model, config.data, folder, seed=config.seed))
        config = replace(config, student=replace(config.student, model=ModelSpec(name=path)))
    if teacher is not None and foreign(teacher):
        check = config.student.distill.teacher_check > 0
        made = on_the_fly.adopted_teacher(teacher, config.data, accelerator, folder, check=check)
        config = replace(config, teacher=made)
    return config


def _train(config: CompressConfig, accelerator: Accelerator) -> list[Path]:
    """Train the teacher, the student and after the cuts; return their folders in order."""
    teaching, distillation, cuts = config.training(), config.distillation(), config.cutting()
    unfinished = not RunDir.at(cuts.run_dir).done.exists()
    for line in stages.plan(config):
        logger.info("%s", line)
    if teaching is not None:
        logger.info("teacher: %s", teaching.run_dir)
        carry_out(teaching, "teacher", accelerator, chained=unfinished)
        accelerator.free_memory()
    logger.info("student: %s", distillation.run_dir)
    carry_out(distillation, "distill", accelerator, chained=unfinished)
    accelerator.free_memory()
    logger.info("cut: %s", cuts.run_dir)
    carry_out_chain(cuts, accelerator)
    return [Path(stage.run_dir) for stage in (teaching, distillation, cuts) if stage is not None]


def _finish(config: CompressConfig, accelerator: Accelerator, folder: RunDir) -> None:
    """Evaluate and export the network after the last cut."""
    last = RunDir.at(config.cutting().run_dir)
    if accelerator.is_main_process:
        write_atomically(folder.weights, last.weights.read_bytes())
    accelerator.wait_for_everyone()
    split: Literal["auto", "validation"] = "auto" if config.test else "validation"
    evaluation = EvaluateConfig(
        run_dir=config.run_dir,
        network=config.network,
        data=config.data,
        teacher=config.teacher_weights,
        teacher_size=config.cutting().distill.teacher_size,
        split=split,
    )
    score_sheet.carry_out(evaluation, accelerator)
    if accelerator.is_main_process:
        if config.onnx:
            _export(folder, config.teacher_weights, accelerator.device.type)
        if config.card:
            readme.write(folder.weights, folder.path)
        reads = readings.read(folder.path).of_run.number
        write_json(folder.result, result.read(last.path) | {"test_reads": reads})
        write_atomically(folder.done, "")
    accelerator.wait_for_everyone()


def _export(folder: RunDir, teacher: str, device: str) -> None:
    from models.export import side_by_side  # needs the extra

    output = str(folder.path / "model.onnx")
    try:
        report = side_by_side.run(str(folder.weights), output, against=teacher, device=device, rounds=ROUNDS)
    except InputError as error:
        raise InputError(
            f"{error}. All is trained; the same command with --onnx false ends without the file"
        ) from error
    write_json(folder.path / "export.json", report.as_json())
    report.write(as_json=False)
