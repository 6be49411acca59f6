"""What to cut: budgets, the settings of pruning, one cut, and a whole plan. Free of torch; plans travel as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from itertools import pairwise
from typing import Any, Literal

from configs.errors import InputError, require

ImportanceName = Literal["l1", "l2", "bn_scale", "taylor", "random"]
RankingName = Literal["global", "local", "isomorphic"]
KindName = Literal["structured", "unstructured"]
IMPORTANCES: tuple[ImportanceName, ...] = ("l1", "l2", "bn_scale", "taylor", "random")
KINDS: tuple[KindName, ...] = ("structured", "unstructured")
RANKINGS: tuple[RankingName, ...] = ("global", "local", "isomorphic")
FEWEST = 2
"""No layer is cut to fewer channels than this."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """What the network may cost when all is done: parameters, multiply-accumulates, or both. Never exceeded."""

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
        """Whether a network of this cost is within every limit that is given."""
        pairs = ((parameters, self.parameters), (macs, self.macs))
        return all(limit is None or found <= limit for found, limit in pairs)

    def used(self, parameters: int, macs: int) -> float:
        """Return the share of the budget in use; of two limits, the one that is nearer."""
        pairs = ((parameters, self.parameters), (macs, self.macs))
        return max(found / limit for found, limit in pairs if limit is not None)

    def next_target(self, parameters: int, macs: int, steps_left: int) -> Budget:
        """Return the next stop on the way from this cost to the budget: a geometric series, the last stop the budget.

        The series is drawn anew from the present cost each time, so that a cut which took more than its share does not
        leave an empty one behind it.
        """

        def stop(found: int, limit: int | None) -> int | None:
            if limit is None or found <= limit:
                return None if limit is None else found
            share: float = (found / limit) ** ((steps_left - 1) / steps_left)
            return round(limit * share)

        return Budget(parameters=stop(parameters, self.parameters), macs=stop(macs, self.macs))


@dataclass(frozen=True, kw_only=True, slots=True)
class PruneSpec:
    """How a network is cut to its budget."""

    budget: Budget
    """What the network may cost in the end."""
    kind: KindName = "structured"
    """structured: whole channels leave, and the network becomes smaller. unstructured: the smallest single weights are
    held at zero; budget.parameters then counts the entries that may be anything else, and is met exactly."""
    steps: int = 30
    """Number of cuts. structured: each takes the same share of what is there. unstructured: the first take the most
    (a cubic schedule)."""
    importance: ImportanceName = "l2"
    """How channels are scored. l1, l2: norm of all weights that a channel touches. bn_scale: size of its BatchNorm
    scales; layers without BatchNorm keep their width. taylor: weight times gradient. random: a control."""
    ranking: RankingName = "local"
    """Whom a channel competes with. global: all channels. local: those of its layer, every layer losing the same
    share. isomorphic: those of layers with the same neighbours, every such class losing the same share."""
    cost_normalised: bool = False
    """Compare importance per saved cost, instead of importance alone. Says nothing to a local ranking."""
    floor: float = 0.1
    """Share of a layer's first width that always stays; two channels stay in any case."""
    round_to: int = 1
    """Cut layers keep a multiple of this many channels (of each head's, in attention)."""
    ignored_layers: tuple[str, ...] = ()
    """Layers or blocks that keep their outputs, by name. The classifier's head always does."""
    seed: int = 0
    """Fixes the scores of importance `random`."""

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

    def _require_unstructured(self) -> None:
        """Single weights are ranked by magnitude over the whole network; no other setting would do anything."""
        parameters, macs = self.budget.parameters, self.budget.macs
        require(parameters is not None, "budget.parameters", parameters, "a number, for unstructured cuts")
        require(macs is None, "budget.macs", macs, "left out of unstructured cuts, which leave the MACs as they are")
        for declared in fields(self):
            value = getattr(self, declared.name)
            idle = declared.name not in ("budget", "kind", "steps") and value != declared.default
            require(not idle, f"prune.{declared.name}", value, "left out of unstructured cuts: it has no effect there")


@dataclass(frozen=True, kw_only=True)
class Cut:
    """One cut: which channels leave the network as it is before this cut, and what remains."""

    input_CHW: tuple[int, int, int]
    """The image for which layers were linked and MACs counted."""
    removed: Mapping[str, tuple[int, ...]]
    """Output channels that leave, by layer. Whatever is tied to them, in other layers too, leaves with them."""
    widths: Mapping[str, int]
    """Output channels of every layer that can be cut, after this cut."""
    parameters: int
    """Parameters after this cut."""
    macs: int
    """MACs of one image after this cut."""

    def to_json(self) -> str:
        """Return one JSON object, equal for equal cuts."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Cut:
        """Read what `to_json` wrote. InputError: anything else."""
        return cls.from_fields(_object(text))

    @classmethod
    def from_fields(cls, values: Mapping[str, Any]) -> Cut:
        """Read one parsed JSON object. InputError: a field is missing, unknown or of the wrong kind."""
        _require_keys(values, [field.name for field in fields(cls)], "cut")
        removed = values["removed"]
        _check(isinstance(removed, dict) and bool(removed), "removed", removed, "layers with the channels that leave")
        return cls(
            input_CHW=_size(values["input_CHW"]),
            removed={layer: _channels(layer, channels) for layer, channels in removed.items()},
            widths=_widths(values["widths"]),
            parameters=_count("parameters", values["parameters"]),
            macs=_count("macs", values["macs"]),
        )


@dataclass(frozen=True, kw_only=True)
class PrunePlan:
    """All cuts from the whole network to its budget."""

    budget: Budget
    parameters: int
    """Of the network before any cut."""
    macs: int
    """Of one image, before any cut."""
    widths: Mapping[str, int]
    """Output channels of every layer that can be cut, before any cut."""
    cuts: tuple[Cut, ...]

    def __post_init__(self) -> None:
        sizes = [self.parameters, *(cut.parameters for cut in self.cuts)]
        _check(len(sizes) > 1, "steps", [], "one cut or more")
        _check(all(after < before for before, after in pairwise(sizes)), "steps", sizes, "smaller from cut to cut")

    @property
    def final(self) -> Cut:
        """The last cut: what the network becomes."""
        return self.cuts[-1]

    def to_json(self) -> str:
        """Return one JSON object, with final counts and widths beside the cuts for whoever reads only those."""
        return json.dumps(
            {
                "budget": self.budget.parameters,
                "macs_budget": self.budget.macs,
                "start": self.parameters,
                "start_macs": self.macs,
                "start_widths": dict(self.widths),
                "final": self.final.parameters,
                "final_macs": self.final.macs,
                "widths": dict(self.final.widths),
                "steps": [asdict(cut) for cut in self.cuts],
            }
        )

    @classmethod
    def from_json(cls, text: str) -> PrunePlan:
        """Read what `to_json` wrote. InputError: anything else, or final counts other than the last cut's."""
        values = _object(text)
        start = ("budget", "macs_budget", "start", "start_macs", "start_widths")
        _require_keys(values, [*start, "final", "final_macs", "widths", "steps"], "plan")
        _check(isinstance(values["steps"], list), "steps", values["steps"], "a list of cuts")
        limits = (values["budget"], values["macs_budget"])
        for key, limit in zip(("budget", "macs_budget"), limits, strict=True):
            _check(limit is None or _is_int(limit), key, limit, "a whole number or null")
        plan = cls(
            budget=Budget(parameters=limits[0], macs=limits[1]),
            parameters=_count("start", values["start"]),
            macs=_count("start_macs", values["start_macs"]),
            widths=_widths(values["start_widths"]),
            cuts=tuple(Cut.from_fields(_mapping(step)) for step in values["steps"]),
        )
        _check(json.loads(plan.to_json()) == values, "final", values["final"], "what the last of the steps leaves")
        return plan


def _object(text: str) -> dict[str, Any]:
    try:
        values = json.loads(text)
    except ValueError as error:
        raise InputError(f"the plan is no JSON ({error}); write it with python -m models.planner --json") from error
    return _mapping(values)


def _mapping(value: Any) -> dict[str, Any]:
    _check(isinstance(value, dict), "the plan", value, "a JSON object")
    result: dict[str, Any] = value
    return result


def _require_keys(values: Mapping[str, Any], keys: list[str], what: str) -> None:
    odd = sorted(values.keys() ^ set(keys))
    _check(not odd, f"the {what}'s keys", sorted(values), f"{', '.join(keys)} (wrong or missing: {', '.join(odd)})")


def _check(condition: bool, key: str, value: object, valid: str) -> None:
    if not condition:
        raise InputError(f"{key} is {str(value)[:200]}; it must be {valid}")


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _count(key: str, value: Any) -> int:
    _check(_is_int(value) and value >= 0, key, value, "a count")
    return int(value)


def _size(value: Any) -> tuple[int, int, int]:
    valid = isinstance(value, list) and len(value) == 3 and all(_is_int(n) and n > 0 for n in value)
    _check(valid, "input_CHW", value, "[channels, height, width]")
    return value[0], value[1], value[2]


def _channels(layer: str, value: Any) -> tuple[int, ...]:
    valid = isinstance(value, list) and value and all(_is_int(n) and n >= 0 for n in value)
    _check(bool(valid) and sorted(set(value)) == value, f"removed.{layer}", value, "channels, each once, in order")
    return tuple(value)


def _widths(value: Any) -> dict[str, int]:
    valid = isinstance(value, dict) and all(_is_int(width) and width > 0 for width in value.values())
    _check(valid, "widths", value, "channels by layer")
    return dict(value)
