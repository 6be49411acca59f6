"""What this machine can do, and which executor each config would get."""
