"""The folder of a run: config, lock, status, checkpoints, extensions."""
