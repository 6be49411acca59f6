"""One command for a machine with a GPU: tests, comparisons and measurements, each in a process of its own."""
