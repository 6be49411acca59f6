"""Anything that holds weights: build, count, save, load."""
