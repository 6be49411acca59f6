"""The loss: named terms and their weighted sum."""
