"""Run folders seen from outside, as one table."""
