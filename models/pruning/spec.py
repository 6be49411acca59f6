"""Settings of pruning: the budget, and how a network is cut to it. Free of torch."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal, get_args

from configs.errors import require

ImportanceName = Literal["l1", "l2", "bn_scale", "taylor", "random"]
RankingName = Literal["global", "local", "isomorphic"]
KindName = Literal["structured", "unstructured"]
IMPORTANCES: tuple[ImportanceName, ...] = get_args(ImportanceName)
NEED_GRADIENTS: frozenset[ImportanceName] = frozenset({"taylor"})
KINDS: tuple[KindName, ...] = get_args(KindName)
RANKINGS: tuple[RankingName, ...] = get_args(RankingName)


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """Limits on the final network: parameters, multiply-accumulates, or both. Never exceeded."""

    parameters: int | None = None
    """Entries of all parameters, zero or not, BatchNorm and biases included. null: no limit."""
    macs: int | None = None
    """Multiply-accumulates of convolutions and matrix products for one image. null: no limit."""

    def __post_init__(self) -> None:
        given = [limit for limit in (self.parameters, self.macs) if limit is not None]
        require(bool(given), "budget", None, "a number of parameters, of macs, or both")
        for key in ("parameters", "macs"):
            limit = getattr(self, key)
            require(limit is None or limit >= 1, f"budget.{key}", limit, "at least 1")

    def allows(self, parameters: int, macs: int) -> bool:
        """Whether a network of this cost is within every limit."""
        pairs = ((parameters, self.parameters), (macs, self.macs))
        return all(limit is None or found <= limit for found, limit in pairs)

    def used(self, parameters: int, macs: int) -> float:
        """Return the used share of the budget: the larger one where there are two limits."""
        pairs = ((parameters, self.parameters), (macs, self.macs))
        return max(found / limit for found, limit in pairs if limit is not None)

    def next_target(self, parameters: int, macs: int, steps_left: int) -> Budget:
        """Return the target of the next cut, on a geometric series from this cost to the budget.

        The series starts from the current cost each time, so that a cut that took more than its share does not leave
        an empty one behind it.
        """

        def target(found: int, limit: int | None) -> int | None:
            if limit is None or found <= limit:
                return None if limit is None else found
            share: float = (found / limit) ** ((steps_left - 1) / steps_left)
            return round(limit * share)

        return Budget(parameters=target(parameters, self.parameters), macs=target(macs, self.macs))


@dataclass(frozen=True, kw_only=True, slots=True)
class PruneSpec:
    """How a network is cut to its budget."""

    budget: Budget
    """Limits on the final network."""
    kind: KindName = "structured"
    """structured: whole channels are removed, and the network becomes smaller. unstructured: the smallest single
    weights are held at zero; budget.parameters then counts all other entries, and is met exactly."""
    steps: int = 30
    """Number of cuts. structured: each removes the same share of the current network. unstructured: the first ones
    remove most (a cubic schedule)."""
    importance: ImportanceName = "l2"
    """How channels are scored. l1, l2: norm of all weights of a channel. bn_scale: size of its BatchNorm scales; layers
    without BatchNorm keep their width. taylor: weight times gradient. random: a baseline."""
    ranking: RankingName = "local"
    """The channels that a channel is compared with. global: all. local: those of its layer; every layer loses the same
    share. isomorphic: those of layers with the same neighbours; every such set of layers loses the same share."""
    cost_normalised: bool = False
    """Compare importance per saved cost instead of importance alone. No effect with ranking: local."""
    floor: float = 0.1
    """Share of a layer's initial width that is never cut; at least two channels always remain."""
    round_to: int = 1
    """Widths of cut layers are multiples of this (per head, in attention)."""
    ignored_layers: tuple[str, ...] = ()
    """Layers or blocks whose outputs are not cut, by name. The classifier's head never is."""
    seed: int = 0
    """Seed of the scores of importance: random."""

    def __post_init__(self) -> None:
        require(self.steps >= 1, "prune.steps", self.steps, "at least 1")
        require(self.importance in IMPORTANCES, "prune.importance", self.importance, f"one of {', '.join(IMPORTANCES)}")
        require(self.ranking in RANKINGS, "prune.ranking", self.ranking, f"one of {', '.join(RANKINGS)}")
        require(0 <= self.floor <= 1, "prune.floor", self.floor, "a share in [0, 1]")
        require(self.round_to >= 1, "prune.round_to", self.round_to, "at least 1")
        require(0 <= self.seed < 2**63, "prune.seed", self.seed, "in [0, 2^63)")
        require(self.kind in KINDS, "prune.kind", self.kind, f"one of {', '.join(KINDS)}")
        if self.kind == "unstructured":
            self._require_unstructured()

    @property
    def needs_gradients(self) -> bool:
        """Whether scores are computed from gradients, which a backward pass has to leave on the parameters first."""
        return self.importance in NEED_GRADIENTS

    def _require_unstructured(self) -> None:
        """Refuse settings without effect: single weights are always ranked by magnitude, over the whole network."""
        parameters, macs = self.budget.parameters, self.budget.macs
        require(parameters is not None, "budget.parameters", parameters, "a number, for unstructured cuts")
        require(macs is None, "budget.macs", macs, "left out of unstructured cuts, which leave the MACs as they are")
        for declared in fields(self):
            value = getattr(self, declared.name)
            idle = declared.name not in ("budget", "kind", "steps") and value != declared.default
            require(not idle, f"prune.{declared.name}", value, "left out of unstructured cuts: it has no effect there")
