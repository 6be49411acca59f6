"""Checks that turn silent errors of published distillation code into messages. Each runs where it costs nothing.

B samples, K classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from configs.errors import InputError, NonFiniteError
from configs.figures import percent
from configs.intervals import wilson
from data_pipes.batch import Batch
from data_pipes.sources.folders import composed

REMEDIES = (
    "what was saved is from before. Lower optim.lr, set optim.clip_norm, lengthen optim.warmup_epochs, or use another "
    "precision"
)
ROUNDING = 1e-2  # of probabilities that passed through bfloat16
TOLERANCE = 0.05  # accuracy that a teacher may lose to another resize or resolution


def require_logits(logits_BK: Tensor, who: str) -> None:
    """Refuse probabilities: cross-entropy would apply softmax twice and stick near ln K.

    InputError if every row is non-negative and sums to one.
    """
    rows = logits_BK.detach().double()  # sync: first batch only
    if bool((rows >= 0).all()) and bool(((rows.sum(dim=1) - 1).abs() < ROUNDING).all()):
        raise InputError(
            f"the {who}'s outputs are non-negative and sum to one: they are probabilities, but the losses need logits. "
            f"Remove the softmax at the end of the {who}"
        )


def require_frozen(net: nn.Module) -> None:
    """InputError unless the teacher is in eval mode and nothing of it can be trained."""
    if any(module.training for module in net.modules()):
        raise InputError("the teacher is in training mode: its BatchNorm and dropout would spoil every target")
    if any(parameter.requires_grad for parameter in net.parameters()):
        raise InputError("the teacher's parameters require gradients; freeze them")


def require_classes(known: Sequence[str], data: Sequence[str], who: str) -> None:
    """InputError unless a network and a data set have the same classes in the same order, in any Unicode form."""
    known, data = [composed(name) for name in known], [composed(name) for name in data]
    if len(known) != len(data):
        raise InputError(f"{who} knows {len(known)} classes and the data set has {len(data)}")
    if known != data:
        place = next(i for i, (a, b) in enumerate(zip(known, data, strict=True)) if a != b)
        same = "the same classes in another order" if sorted(known) == sorted(data) else "other classes"
        raise InputError(
            f"{who} was trained on {same}: its class {place} is {known[place]!r}, the data set's is {data[place]!r}"
        )


def require_accuracy(correct: int, count: int, recorded: float, split: str) -> None:
    """InputError if a teacher is far below the accuracy that its file records.

    Far: the upper end of the 99.9 % Wilson interval of what was measured is more than 5 points below.
    """
    upper = wilson(correct, count, z=3.29)[1]
    if upper < recorded - TOLERANCE:
        raise InputError(
            f"the teacher gets {percent(correct / count, 1)} of {count} {split} images right, but its file records "
            f"{percent(recorded, 1)}: wrong data, size, normalisation or weights. distill.teacher_check 0 goes on "
            "anyway"
        )


def require_defined(undefined: int, count: int, who: str) -> None:
    """InputError if a network has answered some of `count` images with NaN or infinity."""
    if undefined:
        raise InputError(
            f"{who}: its logits are NaN or infinite for {undefined:,} of {count:,} images: its weights overflow on "
            "them. Use another file, or mean and std that fit it"
        )


def require_one_architecture(hashes: Sequence[str]) -> None:
    """InputError unless all processes hold the same architecture after a cut."""
    if len(set(hashes)) > 1:
        odd = [rank for rank, own in enumerate(hashes) if own != hashes[0]]
        raise InputError(
            f"processes {', '.join(map(str, odd))} hold another architecture than process 0 after the cut: they do not "
            "see the same run folder; put run_dir on a file system that all of them share"
        )


def require_live(optimizer: Optimizer, module: nn.Module) -> None:
    """InputError unless the optimizer holds exactly the parameters that the module trains."""
    owned = {id(p) for group in optimizer.param_groups for p in group["params"]}
    live = {id(p) for p in module.parameters() if p.requires_grad}
    if owned != live:
        raise InputError(
            f"the optimizer holds {len(owned - live)} stale parameters and lacks {len(live - owned)} of the module's "
            f"{len(live)}; build a new one after pruning"
        )


def require_repeatable(first: Iterable[Batch], again: Iterable[Batch]) -> None:
    """InputError unless two passes over evaluation views begin with the same images.

    Their mean difference may be 0.02 standard deviations: two JPEG decoders of one GPU differ by that much.
    """
    for one, two in zip(first, again, strict=True):
        gap = float((one.image_BCHW.float() - two.image_BCHW.float()).abs().mean())  # sync: once a run
        if gap > 0.02 or not torch.equal(one.index_B, two.index_B):
            raise InputError("evaluation shows different images each time: its view must have nothing random in it")
        return


def require_finite_weights(net: nn.Module, step: int) -> None:
    """NonFiniteError if a weight or statistic is not finite: an update may overflow after a loss that did not."""
    values = [t for t in net.state_dict().values() if t.is_floating_point()]
    if not bool(torch.stack([t.isfinite().all() for t in values]).all()):  # sync: checkpoints only
        raise NonFiniteError(f"weights became NaN or infinite before step {step}; {REMEDIES}")


def require_finite_teacher(finite: Tensor, who: str, first_step: int, last_step: int) -> None:
    """InputError if any logit of the teacher since `first_step` was not a finite number."""
    if not bool(finite):  # sync: log steps and checkpoints only
        raise InputError(
            f"{who}: its logits became NaN or infinite between steps {first_step} and {last_step}; what was saved is "
            "from before. Use another teacher, or another precision"
        )


def require_finite(finite: Tensor, first_step: int, last_step: int) -> None:
    """NonFiniteError if any loss since `first_step` was not a finite number."""
    if not bool(finite):  # sync: log steps and checkpoints only
        raise NonFiniteError(f"the loss became NaN or infinite between steps {first_step} and {last_step}; {REMEDIES}")
