"""Channels followed through a network's forward: which indices of which tensors can only be removed together."""
