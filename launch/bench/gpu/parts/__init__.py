"""The parts of the command, each with a function `run` that returns a result, and what they share."""
