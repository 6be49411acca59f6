"""What a data set of millions of files costs before the first step, and each epoch after it."""
