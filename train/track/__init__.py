"""Where measurements go: metrics.jsonl, and wandb."""
