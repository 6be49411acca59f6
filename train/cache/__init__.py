"""A teacher that answers from disk: filling the cache, and reading it in training."""
