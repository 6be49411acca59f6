"""What follows a gradient: optimizers, learning-rate schedules and the moving average of weights."""
