"""The version of Heartcut."""

from __future__ import annotations

from importlib import metadata


def version() -> str:
    """Return the version that is installed; unknown where Heartcut is used without having been installed."""
    try:
        return metadata.version("heartcut")
    except metadata.PackageNotFoundError:
        return "unknown"
