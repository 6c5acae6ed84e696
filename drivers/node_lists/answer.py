"""What a list of nodes answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from dispatch.wording.formatting import some


class ListNotRead(Exception):
    """The list cannot be used now; the text says where, what was found, what was expected and what to do."""


class Listed(msgspec.Struct, frozen=True):
    """The names that are listed now. `note`: what a person should know of them, such as "2 drained: gpu03, gpu07"."""

    names: tuple[str, ...]
    note: str = ""


def note_of(states: Mapping[str, Sequence[str]], most: int) -> str:
    """A note on the nodes in each state, of each the first `most` names; empty: no node is in any of them."""
    return "; ".join(f"{len(names)} {state}: {some(names, most)}" for state, names in states.items() if names)
