"""Check a wandb sweep file, create the sweep, and start its agents: python -m launch.sweep configs/sweep/digits_kd.yaml

    python -m launch.sweep FILE --check                       look only: needs no account and no network
    python -m launch.sweep FILE --agents 4                    here; the GPUs and cores of this machine are shared out
    python -m launch.sweep FILE --cluster configs/slurm/one_gpu.yaml --count 50
    python -m launch.sweep FILE --cluster ... --join ENTITY/PROJECT/SWEEP

On a cluster, every element of the array is one agent with one trial; launch.agent explains what happens when it is
stopped. On Ctrl-C the trials save, wandb queues them again, and --join resumes them. launch.submit runs grids and
random sweeps without wandb.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from configs.arguments import Parser
from configs.errors import UsageError, require
from configs.files import write_script
from configs.shown import command, printable
from launch import trial
from launch.agent import Agents, agent_words
from launch.run import look_around
from launch.shares import shares
from launch.slurm import cluster, queue, sbatch
from launch.slurm.cluster import Cluster
from launch.slurm.sbatch import Array, Element, Job
from launch.sweep import check
from launch.sweep.check import Checked
from launch.sweep_folder import SweepFolder


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = Parser(
        prog="python -m launch.sweep", description="Create a wandb sweep and start agents.", allow_abbrev=False
    )
    made.add_argument("file", metavar="FILE", help="a sweep file, as in configs/sweep")
    made.add_argument("--check", action="store_true", help="only say whether it would work")
    made.add_argument("--join", metavar="ENTITY/PROJECT/SWEEP", help="start agents of a sweep that is there already")
    made.add_argument("--agents", type=int, metavar="N", help="agents here (1); 0: create the sweep, and no more")
    made.add_argument("--cluster", metavar="FILE", help="agents in a Slurm array, as configs/slurm/one_gpu.yaml says")
    made.add_argument("--count", type=int, metavar="N", help="elements of that array (as many as there are trials)")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Check the file, then create the sweep and start agents."""
    options = parser().parse_args(argv)
    site = cluster.read(options.cluster) if options.cluster else None
    _check_options(options, site)
    checked = check.check(options.file)
    say(checked)
    count = _count(options, checked) if site else 0
    if options.check:
        return 0
    if site is not None:
        _require_submittable(checked, count)
    from launch.sweep import server  # wandb takes a second

    server.require_login()
    sweep = options.join or server.create(checked.config)
    place = [] if site is None else ["--cluster", options.cluster, "--count", str(count)]
    print(command("python", "-m", "launch.sweep", options.file, *place, "--join", sweep), flush=True)
    if site is not None:
        submit(checked, sweep, site, count)
        return 0
    return run_here(sweep, 1 if options.agents is None else options.agents)


def say(checked: Checked) -> None:
    """Print a summary of the file."""
    sweep, trials = checked.sweep, "any number of" if checked.trials is None else f"{checked.trials:,}"
    metric = f", {sweep.metric.goal} {sweep.metric.name}" if sweep.metric else ""
    print(printable(f"{sweep.path}: {trials} trials of {sweep.command}, {sweep.method}{metric}"))
    print(f"  {checked.tried:,} combinations of {', '.join(sweep.places)} make a config")
    for text in checked.notes:
        print(printable(f"  {text}"))


def submit(checked: Checked, sweep: str, site: Cluster, count: int) -> None:
    """Submit an array of agents. SlurmError: it was refused."""
    folder = trial.sweep_folder(checked.sweep.base_words, sweep.rpartition("/")[2])
    jobs = SweepFolder(folder).new_job_folder()
    logs = folder / "logs"
    logs.mkdir(exist_ok=True)
    for index in range(count):
        own = jobs / f"agent-{index:04d}"
        words = ("launch.agent", sweep, str(own), str(site.shutdown_seconds))
        element = sbatch.element_text(Element(words=words))
        write_script(jobs / sbatch.element_name(index), element)
    write_script(jobs / "job.sbatch", batch_text(sweep, site, count, jobs, logs))
    number = queue.submit(jobs / "job.sbatch")
    print(printable(f"job {number}: {count:,} agents of {sweep}; {jobs / 'job.sbatch'}"))
    print(command("python", "-m", "launch.status", folder))


def batch_text(sweep: str, site: Cluster, count: int, jobs: Path, logs: Path) -> str:
    """The batch script: one agent per element, whose trial uses all GPUs of the element."""
    array = Array(folder=str(jobs.absolute()), indices=tuple(range(count)))
    name = f"sweep-{sweep.rpartition('/')[2]}"
    job = Job(name=name, logs=str(logs.absolute()), directory=str(Path.cwd()), work=array)
    return sbatch.text(site, job)


def run_here(sweep: str, count: int) -> int:
    """Start agents here, and wait for them."""
    divided = shares(count, "--agents", look_around)
    agents = Agents()
    for share in divided:
        agents.start(agent_words(sweep), {**os.environ, **share})
    codes = agents.wait()
    return 0 if agents.told else next((abs(code) for code in codes if code), 0)


def _check_options(options: argparse.Namespace, site: Cluster | None) -> None:
    require(options.agents is None or options.agents >= 0, "--agents", options.agents, "at least 0")
    require(options.count is None or options.count >= 1, "--count", options.count, "at least 1")
    if site is None and options.count is not None:
        raise UsageError("--count is the number of agents in a job array: give --cluster too")
    if site is not None and options.agents is not None:
        raise UsageError("--agents are started here; with --cluster, --count says how many the array has")
    if site is not None and site.nodes > 1:
        raise UsageError(f"{options.cluster}: nodes is {site.nodes}; an agent starts its trial on one node")
    if site is not None and site.processes != max(site.gpus, 1):
        raise UsageError(
            f"{options.cluster}: processes_per_node is {site.processes_per_node}; a trial has one process for each "
            "GPU, or one: leave it out"
        )


def _require_submittable(checked: Checked, count: int) -> None:
    """Refuse what Slurm would refuse, before there is a sweep on the server.

    Raises:
        UsageError: The folder of the trials cannot stand in a batch script, or an array cannot have so many elements.
        SlurmError: There is no sbatch here, or Slurm does not answer.
    """
    folder = trial.sweep_folder(checked.sweep.base_words, "SWEEP").absolute()
    sbatch.require_plain("the folder of the trials", str(folder))
    queue.require_sbatch()
    most = queue.largest_array()
    if most is not None:
        require(count <= most, "--count", count, f"at most {most:,}, which this Slurm takes in an array")


def _count(options: argparse.Namespace, checked: Checked) -> int:
    count = options.count or checked.trials
    if count is None:
        raise UsageError(f"{options.file}: how many trials, neither --count nor run_cap says")
    return int(count)
