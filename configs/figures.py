"""Figures as they are shown everywhere: 97.93 %, 12 min."""

from __future__ import annotations


def percent(share: float, digits: int = 2) -> str:
    """Format a share of 1 in per cent, such as 97.93 %."""
    return f"{100 * share:.{digits}f} %"


def duration(seconds: float | None) -> str:
    """Format a time, such as 42 s, 12 min or 3 h 05 min; None: nothing."""
    if seconds is None:
        return ""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def counted(number: int, noun: str) -> str:
    """Format a number of things, such as 1 step or 21 steps."""
    plural = "es" if noun.endswith("s") else "s"
    return f"{number:,} {noun}{plural * (number != 1)}"
