"""Model cards: README.md beside a file, filled from its header."""
