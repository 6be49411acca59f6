"""Cuts to a budget with training in between."""
