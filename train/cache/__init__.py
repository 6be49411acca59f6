"""Cached teacher logits: filling the cache, and reading it in training."""
