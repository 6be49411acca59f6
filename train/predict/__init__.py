"""Predictions for images without labels."""
