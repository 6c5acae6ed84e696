"""Watches when each battery was last full for as long as its BMS needs to balance the cells and to set its SoC right.

A battery is full at `balance_soc_pct` of the site file, or above `soc_max_pct` where its BMS takes no more power, by
the marks of `dispatch.islanding.soc_correction`. It must stay so for `balance_hold_s` on end; a missing SoC ends that.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from dispatch.config.battery_ratings import full_soc_pct
from dispatch.config.schema import BatteryConfig, DispatchConfig
from dispatch.islanding.soc_correction import FULL_SHARE, MARGIN_K
from dispatch.model.balancing import BalanceDue, BalanceMemory, marks_kwh
from dispatch.model.equipment import Battery
from dispatch.model.islanding import IslandState
from dispatch.model.plan import PlanStep
from dispatch.model.snapshot import Snapshot
from dispatch.orders.book import Standing

NEAR_PCT = 0.5  # below the mark: within the resolution of a BMS and the taper of charging
FIRST_S = 86400.0  # after watching began: by then a battery that was never seen full is to be
AHEAD_S = 30 * 3600.0  # before it is due, a plan may already choose its hours: a night lies in it
AHEAD_LEAST_S = 6 * 3600.0  # or half the period where that is less, but no less than this
DAY_S = 86400.0
ABOVE_PCT = 0.2  # of the plan's SoC, above soc_max, or half of what the mark is above it
TRIED_S, AGAIN_S = DAY_S, 3 * DAY_S  # overdue: so long at a time, so often, or a BMS that fails binds it


class BalanceWatch:
    """Keeps for each battery that the site file wants balanced when it was full last."""

    def __init__(self, config: DispatchConfig) -> None:
        self._config = config
        self._batteries = {b.id: b for b in config.batteries if b.balance_every_days > 0}
        self._kept: dict[str, BalanceMemory] = {}
        self._full_since_s: dict[str, float] = {}  # mono_s

    def update(self, snapshot: Snapshot) -> None:
        """Take in one snapshot."""
        if not self._batteries or not snapshot.utc_known:
            return
        found = {b.id: b for b in snapshot.batteries}
        for id, terms in self._batteries.items():
            kept = self._kept.get(id)
            if kept is None or kept.since_utc_s > snapshot.utc_s + DAY_S:  # the clock was wrong then
                self._kept[id] = BalanceMemory(snapshot.utc_s, False)
            if not _full(terms, found.get(id) or Battery(id), self._rated_w(id)):
                self._full_since_s.pop(id, None)
                continue
            since_s = self._full_since_s.setdefault(id, snapshot.mono_s)
            if snapshot.mono_s - since_s >= terms.balance_hold_s:
                self._kept[id] = BalanceMemory(snapshot.utc_s, True)

    def states(self) -> tuple[BalanceDue, ...]:
        """When each is due."""
        return tuple(self._state(id, kept) for id, kept in self._kept.items())

    def wanted(self, utc_s: float) -> tuple[BalanceDue, ...]:
        """Those that a plan made now may charge: due within `AHEAD_S`, or overdue and to be tried now."""
        return tuple(s for s in self.states() if utc_s >= s.due_utc_s - self._ahead_s(s.battery) and tried(s, utc_s))

    def in_step(self, step: PlanStep | None, utc_s: float, state: IslandState, orders: Standing) -> DispatchConfig:
        """The site file; in a step that the plan ends above soc_max, with the full mark for it of those wanted.

        On the grid, and while no order has the batteries.
        """
        config = self._config
        if not self._batteries or step is None or step.order or orders.battery is not None:
            return config
        wanted = self.wanted(utc_s)
        if state is not IslandState.GRID_TIED or not wanted:
            return config
        top_pct, mark_pct = full_soc_pct(config), 100 * marks_kwh(config, wanted)[0] / config.energy_kwh
        if step.soc_pct <= top_pct + min(ABOVE_PCT, (mark_pct - top_pct) / 2):
            return config
        ids = {due.battery for due in wanted}
        raised = [
            replace(b, soc_max_pct=max(b.soc_max_pct, b.balance_soc_pct)) if b.id in ids else b
            for b in config.batteries
        ]
        return replace(config, batteries=tuple(raised))

    def memory(self) -> dict[str, BalanceMemory]:
        """What to keep for a restart."""
        return dict(self._kept)

    def restore(self, memory: Mapping[str, BalanceMemory]) -> None:
        """Take over what was kept; of what is known already, the later one counts."""
        for id in self._batteries:
            kept, now = memory.get(id), self._kept.get(id)
            if kept is not None and (now is None or not now.seen or kept.since_utc_s > now.since_utc_s):
                self._kept[id] = kept

    def _ahead_s(self, id: str) -> float:
        return min(AHEAD_S, max(AHEAD_LEAST_S, DAY_S * self._batteries[id].balance_every_days / 2))

    def _rated_w(self, id: str) -> float:
        return sum(p.charge_w for p in self._config.pcs if p.battery == id)

    def _state(self, id: str, kept: BalanceMemory) -> BalanceDue:
        terms = self._batteries[id]
        if not kept.seen:
            return BalanceDue(id, kept.since_utc_s + min(FIRST_S, DAY_S * terms.balance_every_days), None)
        return BalanceDue(id, kept.since_utc_s + DAY_S * terms.balance_every_days, kept.since_utc_s)


def tried(state: BalanceDue, utc_s: float) -> bool:
    """False on days of rest: it is overdue, and has been tried in vain for a day."""
    late_s = utc_s - state.due_utc_s
    return late_s < TRIED_S or late_s % AGAIN_S < TRIED_S


def _full(terms: BatteryConfig, battery: Battery, rated_w: float) -> bool:
    soc_pct = battery.soc_pct.good
    if soc_pct is None:
        return False
    if soc_pct >= terms.balance_soc_pct - NEAR_PCT:
        return True
    limit_w, temp_c = battery.charge_limit_w.good, battery.temp_c.good
    if limit_w is None or temp_c is None or battery.tripped:
        return False
    low_c, high_c = terms.charge_window_c
    temperate = low_c + MARGIN_K <= temp_c <= high_c - MARGIN_K
    return temperate and soc_pct > terms.soc_max_pct and limit_w <= FULL_SHARE * rated_w
