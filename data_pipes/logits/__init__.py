"""Teacher logits on disk."""
