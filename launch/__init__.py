"""Anything that knows a host, a queue or another process."""
