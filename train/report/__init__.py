"""Run folders as one page: what they hold, charts of it, and where every number comes from."""
