"""How the console is to look, by the command line."""

from __future__ import annotations

from typing import NamedTuple


class Look(NamedTuple):
    """Theme: its name; None: as the user has chosen. ascii: no other characters. mouse: report it."""

    theme: str | None = None
    ascii: bool = False
    mouse: bool = False


USUAL_LOOK = Look()
