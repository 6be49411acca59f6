"""What leaves a network in one cut, and in all cuts down to its budget. Free of torch; both are written as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise

from configs.figures import percent
from models.pruning.spec import Budget


@dataclass(frozen=True, kw_only=True)
class Cut:
    """One cut: which channels leave the network as it is before this cut, and what remains."""

    input_CHW: tuple[int, int, int]
    """The image for which layers were linked and MACs counted."""
    removed: Mapping[str, tuple[int, ...]]
    """Output channels that leave, by layer. Whatever is tied to them, in other layers too, leaves with them."""
    widths_before: Mapping[str, int]
    """Output channels of every layer that can be cut, before this cut."""
    widths: Mapping[str, int]
    """The same after this cut."""
    parameters: int
    """Parameters after this cut."""
    macs: int
    """MACs of one image after this cut."""

    def to_json(self) -> str:
        """Return one JSON object, equal for equal cuts."""
        return json.dumps(asdict(self))


@dataclass(frozen=True, kw_only=True)
class PrunePlan:
    """All cuts from the whole network to its budget."""

    budget: Budget
    parameters: int
    """Parameters before any cut."""
    macs: int
    """MACs of one image before any cut."""
    widths: Mapping[str, int]
    """Output channels of every layer that can be cut, before any cut."""
    cuts: tuple[Cut, ...]

    def __post_init__(self) -> None:
        sizes = [self.parameters, *(cut.parameters for cut in self.cuts)]
        assert len(sizes) > 1, "a plan has at least one cut"
        assert all(after < before for before, after in pairwise(sizes)), f"cuts must shrink the network, not {sizes}"

    @property
    def final(self) -> Cut:
        """The last cut: what the network becomes."""
        return self.cuts[-1]

    def to_json(self) -> str:
        """Return one JSON object: the cuts, with the final counts and widths beside them."""
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

    def table(self) -> str:
        """Return the cuts, one to a line, then the widths of every layer before and after."""
        lines = [f"{'cut':>5} {'parameters':>15} {'MACs':>17} {'of the budget':>14}"]
        rows = [(0, self.parameters, self.macs), *((i, c.parameters, c.macs) for i, c in enumerate(self.cuts, start=1))]
        for number, parameters, macs in rows:
            lines.append(f"{number:>5} {parameters:>15,} {macs:>17,} {percent(self.budget.used(parameters, macs)):>13}")
        longest = max(map(len, self.widths))
        lines += ["", f"{'layer':<{longest}} {'before':>8} {'after':>8}"]
        lines += [
            f"{layer:<{longest}} {width:>8} {self.final.widths[layer]:>8}" for layer, width in self.widths.items()
        ]
        return "\n".join(lines)
