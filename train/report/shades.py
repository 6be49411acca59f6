"""Shades of cells by day and in the dark, each with the ink that is read on it. Free of torch."""

from __future__ import annotations

INK, PALE = "#1b1f24", "#ffffff"
LIGHT, DEEP = "#e8eaed", "#15181c"
BY_DAY = (
    *(("#eaf2fb", INK), ("#d2e4f7", INK), ("#bad5f2", INK), ("#a2c6ee", INK), ("#8ab8ea", INK), ("#6fa2da", INK)),
    *(("#548cc9", INK), ("#3875b8", PALE), ("#1d5fa8", PALE)),
)
IN_THE_DARK = (
    *(("#1d2a38", LIGHT), ("#20364f", LIGHT), ("#244366", LIGHT), ("#27507d", LIGHT), ("#2a5c94", LIGHT)),
    *(("#3868a2", LIGHT), ("#588ac2", DEEP), ("#6fa2d9", DEEP), ("#86b9f0", DEEP)),
)
"""Background and ink, from a small share to the whole; the contrast of each pair is at least 4.5:1."""
