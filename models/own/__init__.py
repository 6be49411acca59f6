"""Networks of the user's own code: its files, which of them were named, and the networks that they define."""
