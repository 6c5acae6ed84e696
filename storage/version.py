"""Says which Skerry this is."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def installed() -> str:
    """The version that is installed; empty for a source tree that is not."""
    try:
        return version("skerry")
    except PackageNotFoundError:
        return ""
