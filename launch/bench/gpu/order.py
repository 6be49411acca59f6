"""The parts in the order in which they run, with the time that each may take. Free of torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """One part, which runs in a process of its own."""

    name: str
    """Also its name on the command line."""
    module: str
    """Module in launch/bench/gpu/parts that defines `run`."""
    seconds: int
    """Time limit."""
    title: str
    unseen: str
    """What a trial on a CPU leaves out."""
    text: str
    """What is done and how to read the figures, for the document."""


PARTS = (
    Part(
        name="exif",
        module="exif",
        seconds=45,
        title="Photographs turned by EXIF",
        unseen="DALI's mixed decoder",
        text="One photograph per EXIF orientation, whole and cropped, by every executor, against the executor host on "
        "the CPU. An image that is turned or cropped wrongly is dozens of levels away.",
    ),
    Part(
        name="tests",
        module="suite",
        seconds=240,
        title="Tests that need a GPU",
        unseen="all of them",
        text="`pytest -m gpu`, on the files of tests that have such tests.",
    ),
    Part(
        name="pixels",
        module="pixels",
        seconds=100,
        title="Pixels of every executor",
        unseen="DALI's mixed decoder, hardware JPEG decoding, canvases in device memory",
        text="The same views of the same photographs, against the executor host on the CPU, in levels of 255. "
        "*Same again* says whether a second pass in batches of another size gave the same bits.",
    ),
    Part(
        name="decoder",
        module="decoder",
        seconds=60,
        title="Ways to decode",
        unseen="hardware decoding: without a GPU the share has no effect",
        text="Images per second of DALI from files with several values of `data.dali.hw_decoder_load`, and with whole "
        "images decoded (`fancy_upsampling`) or the crops alone; medians over rounds in which they take turns.",
    ),
    Part(
        name="loader",
        module="benches",
        seconds=170,
        title="Loading",
        unseen="most variants, the GPU's decoder, copies to the device",
        text="`launch.bench loader`: images per second of every way to load a batch.",
    ),
    Part(
        name="step",
        module="benches",
        seconds=200,
        title="A training step with its loader",
        unseen="the GPU's step, hints, DALI from the canvas",
        text="`launch.bench step`: a training step fed by each executor, against the same step on one batch.",
    ),
    Part(
        name="teacher",
        module="benches",
        seconds=120,
        title="The cost of a teacher",
        unseen="the GPU's step",
        text="`launch.bench teacher`: a training step without a teacher, with its logits from disk, and with the "
        "teacher itself.",
    ),
    Part(
        name="resume",
        module="resume",
        seconds=200,
        title="Killed and resumed",
        unseen="the bits of a GPU",
        text="A run that is killed by SIGKILL and started again, and a second whole run, against a whole run.",
    ),
    Part(
        name="probe",
        module="probe",
        seconds=130,
        title="What a training step does",
        unseen="host syncs, kernels, copies, busy time",
        text="Host syncs, kernels, copies and the share of the time in which the GPU is busy, per optimizer step, of a "
        "new run and of one that was resumed from a checkpoint. Blocking copies are those from pageable memory.",
    ),
    Part(
        name="rates",
        module="rates",
        seconds=170,
        title="Training from end to end",
        unseen="bf16, hints, and rates that mean anything",
        text="Training commands as a user starts them: images per second over whole epochs, with validation and "
        "checkpoints, from the end of the first epoch to the end of the last.",
    ),
)
NAMES = tuple(part.name for part in PARTS)
