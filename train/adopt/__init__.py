"""Weights from elsewhere in a run: adopted into its folder, and measured on its images."""
