"""Learns how long a cap on a node takes from its order until the node's power shows it.

The time includes the command that sets the cap, and how often the node's power is measured. Only a cap that the node
drew more than is counted: one above its power shows nothing.
"""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Mapping

import msgspec

from dispatch.model.power_caps import NodeCap, exceeds
from dispatch.model.readings import MISSING, Reading
from dispatch.model.snapshot import Snapshot

KEPT = 9  # caps of each node
LONGEST_S = 600.0  # one that has not shown by then is not counted: it is not followed


class _Order(msgspec.Struct):
    cap_w: float
    since_s: float
    waits: bool  # its effect is to be seen
    measured: bool = False  # the node's power was measured since the order


class CapLatencies:
    """Steps once per tick."""

    def __init__(self) -> None:
        self._orders: dict[str, _Order] = {}
        self._found_s: dict[str, deque[float]] = {}

    def update(self, now: Snapshot, caps_w: Mapping[str, float]) -> tuple[NodeCap, ...]:
        """Take in the caps that are to hold; each of them with what has been learnt of its node."""
        if not caps_w and not self._orders:
            return ()
        drawn_w = {node.id: node.w for node in now.nodes if node.id in caps_w}
        self._orders = {id: order for id, order in self._orders.items() if id in caps_w}
        for id, cap_w in caps_w.items():
            self._see(id, cap_w, drawn_w.get(id, MISSING), now.mono_s)
        return tuple(self._cap(id, cap_w) for id, cap_w in caps_w.items())

    @property
    def measured(self) -> frozenset[str]:
        """The nodes whose power was measured since their cap was ordered: some sources do so every 30 s."""
        return frozenset(id for id, order in self._orders.items() if order.measured)

    def _see(self, id: str, cap_w: float, drawn: Reading, mono_s: float) -> None:
        order, w = self._orders.get(id), drawn.good
        if order is None or order.cap_w != cap_w:
            deeper = order is None or cap_w < order.cap_w
            self._orders[id] = _Order(cap_w, mono_s, deeper and w is not None and exceeds(w, cap_w))
            return
        waited_s = mono_s - order.since_s
        order.measured = order.measured or (w is not None and (drawn.age_s or 0.0) < waited_s)
        if not order.waits or w is None:
            return
        if waited_s > LONGEST_S:
            order.waits = False
        elif not exceeds(w, cap_w):
            order.waits = False
            self._found_s.setdefault(id, deque(maxlen=KEPT)).append(waited_s)

    def _cap(self, id: str, cap_w: float) -> NodeCap:
        found_s = self._found_s.get(id, ())
        typical_s, longest_s = (statistics.median(found_s), max(found_s)) if found_s else (None, None)
        return NodeCap(id, cap_w, typical_s, longest_s, len(found_s))
