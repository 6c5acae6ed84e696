"""Monitors whether each PV inverter keeps to the limit that it was given.

It is compared with the highest limit of the last `FOLLOW_S`: a lower one may still be on its way, and an inverter may
go there by a ramp. One whose power still falls is on its way, too.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable

from dispatch.config.schema import DispatchConfig
from dispatch.model.decision import PvLimit, PvOver
from dispatch.model.equipment import Pv
from dispatch.model.snapshot import Snapshot

FOLLOW_S = 30.0  # a refused write is tried again within 10 s; inverters of VDE-AR-N 4105 take 0.33 % of rating a second
MARGIN, MARGIN_W = 0.05, 200.0  # of the rating: meters and inverters differ by so much; PV of a few kW has a floor
FALLING = 0.02  # of the rating in FOLLOW_S: less is no ramp


class PvLimitMonitor:
    """Fed once per tick with what PV gives and may give from now on."""

    def __init__(self, config: DispatchConfig) -> None:
        self._rated_w = {pv.id: pv.most_w for pv in config.pv if pv.curtail}
        self._given: dict[str, deque[tuple[float, float]]] = {}  # from when, W; inf: no limit
        self._over: dict[str, tuple[float, float]] = {}  # since when above, W then
        self._told: set[str] = set()  # does not follow: that its power falls later on, with the sun, changes nothing

    def update(self, snapshot: Snapshot, limits: Iterable[PvLimit]) -> tuple[PvOver, ...]:
        """The inverters that have been above all limits of `FOLLOW_S` for as long, by readings that are confirmed."""
        now = {limit.device_id: math.inf if limit.w is None else limit.w for limit in limits}
        found = []
        for pv in snapshot.pv:
            if pv.id not in self._rated_w:
                continue
            if (over := self._judge(pv, snapshot.mono_s - (pv.w.age_s or 0.0))) is not None:
                found.append(over)
            if pv.id in now:
                self._note(pv.id, now[pv.id], snapshot.mono_s)
        return tuple(found)

    def _note(self, pv_id: str, limit_w: float, mono_s: float) -> None:
        given = self._given.setdefault(pv_id, deque())
        if not given or given[-1][1] != limit_w:
            given.append((mono_s, limit_w))
        while len(given) > 1 and given[1][0] <= mono_s - FOLLOW_S:
            given.popleft()

    def _judge(self, pv: Pv, at_s: float) -> PvOver | None:
        """An unconfirmed reading says nothing and ends nothing; it is over as soon as a confirmed one is within.

        `at_s`: when it was measured. One that is read seldom has not had its time while the same sample is shown.
        """
        w, given, rated_w = pv.w.confirmed, self._given.get(pv.id), self._rated_w[pv.id]
        if not given or (w is None and not pv.asleep):
            return None
        limit_w = max(limit_w for _, limit_w in given)
        if w is None or w <= limit_w + max(MARGIN * rated_w, MARGIN_W):
            self._over.pop(pv.id, None)
            self._told.discard(pv.id)
            return None
        since_s, then_w = self._over.setdefault(pv.id, (at_s, w))
        if at_s - since_s >= FOLLOW_S:
            if w < then_w - FALLING * rated_w:
                self._over[pv.id] = at_s, w
            else:
                self._told.add(pv.id)
        return PvOver(pv.id, w, limit_w) if pv.id in self._told else None
