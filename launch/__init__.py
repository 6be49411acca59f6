"""Code that knows about hosts, queues and other processes."""
