"""Cutting networks to a budget: what may be cut, in what order, and how it is carried out."""
