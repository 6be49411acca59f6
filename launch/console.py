"""The console command: `heartcut train.distill ...` is `python -m train.distill ...`. Free of torch.

It finds our packages before a folder of the same name in the working directory.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

from configs import stopping

STOPPABLE = ("train.teacher", "train.distill", "train.prune", "train.compress", "train.cache", "launch.run")
"""Those that end well when they are told to stop: signals are recorded before slower imports."""
MODULES = {
    "train.teacher": "train a network on labels",
    "train.distill": "distil a teacher into a student",
    "train.prune": "cut a trained network to a budget",
    "train.compress": "teacher, student, cuts, evaluation and export from one config",
    "train.cache": "write a teacher's logits to disk",
    "train.evaluate": "measure a saved network",
    "train.predict": "images to a CSV file, or one image to its five best classes",
    "train.table": "finished runs side by side",
    "train.report": "a run, or several, as one page",
    "data_pipes.preview": "a contact sheet of what the network will see",
    "models.adopt": "weights from elsewhere, as a file of ours",
    "models.ensemble": "several networks as one file, which answers with their mean",
    "models.planner": "the cuts that a budget takes",
    "models.export": "write a network for use elsewhere",
    "models.card": "a model card beside a network: README.md",
    "models.publish": "a network and its model card to the Hugging Face hub",
    "models.cost": "layer table, parameters, MACs, bytes",
    "launch.run": "start a training command on what is here",
    "launch.submit": "a sweep, or one run, as a Slurm job array or here",
    "launch.status": "all runs below a folder",
    "launch.sweep": "check and start a wandb sweep",
    "launch.doctor": "what this machine can do",
    "launch.bench": "how fast images are loaded and steps are taken",
}
"""What each command does."""


def main() -> None:
    """Run the command that the first word names; without one, list them all."""
    if sys.argv[1:2] and sys.argv[1] in STOPPABLE:
        stopping.install()
    from configs import reader  # after that

    reader.command(_start)


def _start() -> None:
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in ("-h", "--help"):
        rows = "\n".join(f"  {module:20}{what}" for module, what in MODULES.items())
        sys.stdout.write(f"heartcut COMMAND [OPTIONS]; heartcut COMMAND --help says more\n\n{rows}\n")
        return
    if name not in MODULES:
        from configs.errors import UsageError
        from launch.commands import suggestion

        raise UsageError(f"{name} is not a command; {suggestion(name, MODULES)}")
    sys.argv = [name, *sys.argv[2:]]
    sys.path.append(str(Path.cwd()))  # where `python -m` finds modules of the user
    runpy.run_module(name, run_name="__main__", alter_sys=True)
