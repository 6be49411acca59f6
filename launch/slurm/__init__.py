"""Slurm: clusters, batch scripts, the queue."""
