"""wandb sweeps: checked without an account, created, started."""
