"""How fast images reach the network here, against what is usual and against what is possible."""
