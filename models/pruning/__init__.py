"""Pruning networks to a budget: dependencies between layers, importance, planning, and cuts."""
