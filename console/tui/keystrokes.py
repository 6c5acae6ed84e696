"""Editing one line of text by keys, the same wherever something is typed."""

from __future__ import annotations

EDITING = frozenset({"backspace", "delete", "ctrl+u", "ctrl+w", "ctrl+h"})


def printable(character: str | None) -> bool:
    """Whether a key writes something."""
    return character is not None and character.isprintable()


def edited(text: str, key: str, character: str | None) -> str:
    """`text` after a key; a key that edits nothing leaves it as it is."""
    if key in ("backspace", "ctrl+h"):
        return text[:-1]
    if key == "ctrl+u":
        return ""
    if key == "ctrl+w":
        return text.rstrip().rpartition(" ")[0]
    return text + character if character is not None and printable(character) else text
