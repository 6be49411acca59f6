"""Exact metrics of a saved network."""
