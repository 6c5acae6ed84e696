"""Notices that several BMCs tell of one chassis: nodes of an enclosure that share its power supplies."""

from __future__ import annotations

import asyncio


class Enclosures:
    """Which nodes say that they are in a chassis of a serial number. What a node says lapses when it is not read."""

    def __init__(self) -> None:
        # by serial number and node: its system, and until when on the event loop's clock
        self._members: dict[str, dict[str, tuple[str, float]]] = {}

    def others(self, serial: str, node_id: str, system: str, for_s: float) -> tuple[str, ...]:
        """Take it that this node is in that chassis. The nodes in it that are other systems."""
        now_s, members = asyncio.get_running_loop().time(), self._members.setdefault(serial, {})
        members[node_id] = system, now_s + for_s
        return tuple(sorted(id for id, (other, until_s) in members.items() if other != system and until_s > now_s))
