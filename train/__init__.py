"""Training: loop, losses, stages, run folders, and the commands built from them."""
