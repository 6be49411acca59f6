"""Data sets as they lie on disk, to samples."""
