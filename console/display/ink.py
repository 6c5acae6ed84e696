"""How a piece of text looks, without saying in which colour: terminals and themes decide that."""

from __future__ import annotations

import enum


class Ink(enum.IntEnum):
    """How a cell looks. Colour is kept for the abnormal and never comes without a word or mark."""

    PLAIN = 0
    DIM = 1  # labels, units, what is stale
    BOLD = 2  # focus, headings
    REVERSE = 3  # the selected line, the view that is open
    HIGH = 4  # alarm priorities, and values beyond a limit
    MEDIUM = 5
    LOW = 6
    MARK = 7  # a reserve or limit mark on top of a filled bar


Line = tuple[str, Ink]
