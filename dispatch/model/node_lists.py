"""Where the names of a group of compute nodes come from, as consoles show it."""

from __future__ import annotations

import msgspec


class NodeListNow(msgspec.Struct, frozen=True, kw_only=True):
    """The list of one `[[nodes]]` whose names may change. Times are POSIX seconds, of the site."""

    group: str  # in the site file, "nodes[0]"
    source: str  # in words
    nodes: int  # of the group in the snapshot: those that never change, listed ones, and those not yet removed
    read_utc_s: float | None = None  # when the names in force were listed; None: never
    leaving: tuple[str, ...] = ()  # no longer listed and not yet removed
    error: str = ""  # why it cannot be read now; the names before stay. Empty: it is read
    note: str = ""  # what a person should know of the names
    doubt: str = ""  # why what was read last is not believed yet
    changed: str = ""  # what the last change was, in words; empty: none since the start
    changed_utc_s: float | None = None
