"""Number of units to remove from each group: greedy by importance, then a local search that uses up the budget.

Within a group, units are removed in the order of their scores, so a state is one number per group: its level. A level
is one unit, or several with `round_to`.

Axes: G groups, B counts (parameters, then MACs).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from configs.errors import UsageError
from models.pruning.groups import Integers, Structure
from models.pruning.spec import Budget, PruneSpec

Floats = NDArray[np.float64]
FEWEST = 2
"""No layer is cut to fewer channels than this."""
REACH = 4
"""Levels by which the local search moves each of two groups at most."""
ROUNDS = 24
"""Moves of the local search at most, so that it stays near the choice by importance."""
ENOUGH = 1e-5
"""Unused share of the budget at which the local search stops."""


@dataclass(frozen=True)
class Ladder:
    """Levels of one group: at level x, removed[x] of its units are removed."""

    order: Integers
    """Units by increasing importance; equal ones by channel."""
    removed: Integers
    importance: Floats
    """Sum of the scores of the units of each level; one shorter than `removed`."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A network, its scores, and the rules of a cut."""

    structure: Structure
    spec: PruneSpec
    start: Mapping[str, int]
    """Widths before the first cut, to which floors and shares refer."""
    scores: Sequence[Floats | None]

    @cached_property
    def ladders(self) -> tuple[Ladder, ...]:
        """One per group."""
        return tuple(_ladder(self, index) for index in range(len(self.structure.groups)))

    @cached_property
    def tops(self) -> Integers:
        """Highest level of each group, at its floor."""
        return np.array([len(ladder.removed) - 1 for ladder in self.ladders])

    @cached_property
    def first_units(self) -> Integers:
        """Units of each group before any cut."""
        return np.array([self.start_units(index) for index in range(len(self.structure.groups))])

    @cached_property
    def breadth(self) -> Integers:
        """Weight tensors per unit. Scores are means over these, but savings are sums.

        Without this factor, importance per saved cost would be too low for units of a residual stream.
        """
        return np.array([sum(m.kind == "weight" for m in group.members) for group in self.structure.groups])

    def start_units(self, index: int) -> int:
        """Return the units of a group before any cut."""
        group = self.structure.groups[index]
        per_unit = self.structure.widths[group.root] // group.units
        return max(group.units, self.start.get(group.root, 0) // per_unit)

    @cached_property
    def pools(self) -> Integers:
        """Pool of each group. Groups of one pool compete; the pool that kept the largest share loses the next units."""
        if self.spec.ranking == "global":
            return np.zeros(len(self.ladders), dtype=np.int64)
        keys = [group.signature if self.spec.ranking == "isomorphic" else group.root for group in self.structure.groups]
        return np.array([keys.index(key) for key in keys])

    def removed(self, level_G: Integers) -> Integers:
        """Return the number of removed units of each group."""
        return np.array([ladder.removed[level] for ladder, level in zip(self.ladders, level_G, strict=True)])

    def count(self, level_G: Integers) -> tuple[int, int]:
        """Return parameters and MACs."""
        parameters, macs = self.structure.prices.count(self.removed(level_G)).tolist()
        return parameters, macs

    def units(self, level_G: Integers) -> dict[str, Integers]:
        """Return the removed units, by root layer, of the groups that lose any."""
        pairs = zip(self.structure.groups, self.ladders, level_G, strict=True)
        return {group.root: np.sort(ladder.order[: ladder.removed[level]]) for group, ladder, level in pairs if level}


def _ladder(problem: Problem, index: int) -> Ladder:
    units, score_U = problem.structure.groups[index].units, problem.scores[index]
    if score_U is None:
        return Ladder(np.arange(units), np.zeros(1, dtype=np.int64), np.zeros(0))
    step = problem.spec.round_to
    floor = max(FEWEST, math.ceil(problem.spec.floor * problem.start_units(index)))
    floor = math.ceil(floor / step) * step
    below = range((units - 1) // step * step, floor - 1, -step)
    removed = np.array([0, *(units - width for width in below)])
    order = np.argsort(score_U, kind="stable")
    sums = np.concatenate([[0.0], np.cumsum(score_U[order])])
    return Ladder(order, removed, np.diff(sums[removed]))


def require_reachable(problem: Problem, target: Budget) -> None:
    """UsageError if the smallest cost that floors allow is above the target."""
    smallest = problem.count(problem.tops)
    for key, least, limit in zip(("parameters", "macs"), smallest, _limits(target), strict=True):
        if least > limit:
            raise UsageError(
                f"budget.{key} is {int(limit)}, but with prune.floor {problem.spec.floor} and round_to "
                f"{problem.spec.round_to} the smallest that can be reached is {least}"
                f"{problem.structure.excuse}; raise the budget or lower those"
            )


def greedy(problem: Problem, target: Budget) -> Integers:
    """Remove one level at a time, least important first and at least one, until the network is within the target.

    UsageError: floors are above the target, or nothing is left to cut.
    """
    require_reachable(problem, target)
    level_G = np.zeros(len(problem.ladders), dtype=np.int64)
    while not (level_G.any() and target.allows(*problem.count(level_G))):
        index = _next(problem, level_G, target)
        if index is None:
            raise UsageError("prune.steps asks for one more cut, but every layer is at its floor; use fewer steps")
        level_G[index] += 1
    return level_G


def _next(problem: Problem, level_G: Integers, target: Budget) -> int | None:
    open_G = level_G < problem.tops
    if not open_G.any():
        return None
    removed_G = problem.removed(level_G)
    more_G = problem.removed(np.minimum(level_G + 1, problem.tops)) - removed_G
    pairs = zip(problem.ladders, level_G, open_G, strict=True)
    lost_G = np.array([ladder.importance[level] if is_open else np.inf for ladder, level, is_open in pairs])
    if problem.spec.cost_normalised:
        key_G = lost_G * problem.breadth / np.maximum(_relative_savings(problem, removed_G, more_G, target), 1e-12)
    else:
        key_G = lost_G / np.maximum(more_G, 1)
    key_G[~open_G | (problem.pools != _widest_pool(problem, removed_G, open_G))] = np.inf
    return int(np.argmin(key_G))


def _relative_savings(problem: Problem, removed_G: Integers, more_G: Integers, target: Budget) -> Floats:
    """Return what each group saves, as a share of the limits that are still exceeded, or of all if none is."""
    limit_B = np.array(_limits(target))
    exceeded_B = problem.structure.prices.count(removed_G) > limit_B
    weight_B = np.where(exceeded_B | ~exceeded_B.any(), 1 / limit_B, 0)
    savings_G: Floats = weight_B @ problem.structure.prices.savings(removed_G, more_G)
    return savings_G


def _widest_pool(problem: Problem, removed_G: Integers, open_G: NDArray[np.bool_]) -> int:
    units_G = np.array([group.units for group in problem.structure.groups]) - removed_G
    count = len(units_G)
    kept = np.bincount(problem.pools, weights=units_G, minlength=count)
    first = np.bincount(problem.pools, weights=problem.first_units, minlength=count)
    alive = np.bincount(problem.pools, weights=open_G, minlength=count) > 0
    return int(np.argmax(np.where(alive, kept / np.maximum(first, 1), -1)))


def fill(problem: Problem, level_G: Integers, budget: Budget) -> Integers:
    """Use up the budget, never exceeding it, by moves of two groups; at least one unit stays removed."""
    level_G = level_G.copy()
    for _ in range(ROUNDS):
        used = budget.used(*problem.count(level_G))
        if used >= 1 - ENOUGH:
            break
        better = _best_move(problem, level_G, budget, used)
        if better is None:
            break
        level_G = better
    return level_G


def _best_move(problem: Problem, level_G: Integers, budget: Budget, used: float) -> Integers | None:
    """Return the state that uses most of the budget, among those that differ in at most two groups."""
    prices, limit_B = problem.structure.prices, np.array(_limits(budget))
    removed_G, count_B = problem.removed(level_G), np.array(problem.count(level_G))
    moved = {step: _moved(problem, level_G, step) for step in range(-REACH, REACH + 1)}
    saved = {step: prices.savings(removed_G, more_G) for step, (_, more_G) in moved.items()}
    best: tuple[float, Integers] | None = None
    for first, second in _steps():
        (to_G, more_G), (other_to_G, other_more_G) = moved[first], moved[second]
        alone_BG, other_BG = saved[first], saved[second]
        both_BGG = alone_BG[:, :, None] + other_BG[:, None, :]
        both_BGG = both_BGG - prices.coupling_BGG * more_G[:, None] * other_more_G[None, :]
        after_BGG = count_B[:, None, None] - both_BGG
        use_GG = (after_BGG / limit_B[:, None, None]).max(0)
        allowed_GG = (use_GG <= 1) & (to_G >= 0)[:, None] & (other_to_G >= 0)[None, :]
        allowed_GG &= ~np.eye(len(level_G), dtype=bool)
        use_GG[~allowed_GG] = -1
        i, j = np.unravel_index(int(np.argmax(use_GG)), use_GG.shape)
        moved_G = level_G.copy()
        moved_G[[i, j]] = to_G[i], other_to_G[j]
        if use_GG[i, j] > (used if best is None else best[0]) and moved_G.any():
            best = float(use_GG[i, j]), moved_G
    return None if best is None else best[1]


def _steps() -> Iterator[tuple[int, int]]:
    reach = range(-REACH, REACH + 1)
    yield from ((first, second) for first in reach for second in reach if (first or second) and second <= first)


def _moved(problem: Problem, level_G: Integers, step: int) -> tuple[Integers, Integers]:
    """Return the level of each group after a step, -1 where it is out of range, and the units removed in addition."""
    to_G = level_G + step
    to_G = np.where((to_G >= 0) & (to_G <= problem.tops), to_G, -1)
    return to_G, problem.removed(np.maximum(to_G, 0)) - problem.removed(level_G)


def _limits(budget: Budget) -> tuple[float, float]:
    limits = (budget.parameters, budget.macs)
    return tuple(math.inf if limit is None else limit for limit in limits)  # type: ignore[return-value]
