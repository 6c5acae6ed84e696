"""How the console looks on this terminal: theme, characters, mouse."""

from __future__ import annotations

import sys
from collections.abc import Mapping

import msgspec

from console.tui import terminal_kind, theme
from console.tui.theme import Theme


class Appearance(msgspec.Struct, frozen=True):
    """What the user or the terminal asks for."""

    theme: Theme
    ascii: bool = False  # only ASCII characters
    mouse: bool = False  # report the mouse, which takes the terminal's own selection away


def appearance(
    environment: Mapping[str, str], theme_name: str | None = None, ascii: bool = False, mouse: bool = False
) -> Appearance:
    """By the options of the command line and the environment. Raises ThemeError."""
    chosen = theme.chosen(theme_name, environment, terminal_kind.theme_for(environment))
    plain = ascii or terminal_kind.needs_ascii(environment, bool(sys.flags.utf8_mode))
    return Appearance(chosen, plain, mouse)
