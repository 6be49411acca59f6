"""All stages from one config."""
