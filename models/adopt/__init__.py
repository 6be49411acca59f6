"""Weights from elsewhere, read safely, recognised, and made one of our files."""
