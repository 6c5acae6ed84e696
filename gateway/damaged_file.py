"""Sets a damaged file of the state directory aside."""

from __future__ import annotations

from pathlib import Path


def set_aside(path: Path, damage: str, unknown: str) -> str:
    """Keep a damaged file as `*.corrupt`; what the log should say. `unknown`: what is not known without it."""
    aside = path.with_name(f"{path.name}.corrupt")
    try:
        path.replace(aside)
    except OSError as error:
        return f"{path} is damaged ({damage}) and cannot be set aside: {error.strerror}; {unknown}"
    return f"{path} was damaged ({damage}), kept as {aside.name}; {unknown}"
