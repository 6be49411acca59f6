"""Anything with a step counter."""
