"""Records of measurements: metrics.jsonl and wandb."""
