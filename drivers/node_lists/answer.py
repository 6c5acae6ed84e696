"""What a list of nodes answers."""

from __future__ import annotations

import msgspec


class ListNotRead(Exception):
    """The list cannot be used now; the text says where, what was found, what was expected and what to do."""


class Listed(msgspec.Struct, frozen=True):
    """The names that are listed now. `note`: what a person should know of them, such as "2 drained: gpu03, gpu07"."""

    names: tuple[str, ...]
    note: str = ""
