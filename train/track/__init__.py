"""Measurements of a run, and their records: metrics.jsonl, wandb, TensorBoard."""
