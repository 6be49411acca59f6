"""Sweep files and the points that they span."""
