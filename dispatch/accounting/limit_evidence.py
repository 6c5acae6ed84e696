"""What the site did while somebody limited it: each begin, metering interval and end, with the limited power.

The figures are those of grid meter, PCS and PV inverters as the controller believes them. A mean is over the time in
which the power was known; the rest is stated as unknown.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Set

import msgspec

from dispatch.model.contacts import ContactView
from dispatch.model.islanding import WITHOUT_GRID, IslandState
from dispatch.model.signals import Quantity, Signal, Sort
from dispatch.model.snapshot import Snapshot

NEAR_W, NEAR_SHARE = 500.0, 0.02  # above a limit by no more than the larger of both it counts as kept
TOLD_S = 30.0  # above it for so long is a shortfall, and below it for so long its end
LONGEST_GAP_S = 10.0  # between two samples; beyond it what happened is unknown


class LimitInForce(msgspec.Struct, frozen=True):
    """One limit, of a contact or a signal."""

    by: str  # the id of the contact; sender and id of the signal
    whose: str  # the id of the contact or sender
    sort: Sort
    quantity: Quantity
    limit_w: float


class Entry(msgspec.Struct, frozen=True):
    """One line of the evidence. `what`: begin, interval, end, shortfall, met; rest: it stands, and does not count until
    its next begin. Powers W, None: never known.
    """

    what: str
    limit: LimitInForce
    from_utc_s: float
    to_utc_s: float
    min_w: float | None = None
    max_w: float | None = None
    mean_w: float | None = None
    unknown_s: float = 0.0
    over_s: float = 0.0  # above the limit, by any figure


def limits_of(contacts: Iterable[ContactView], signals: Iterable[Signal]) -> tuple[LimitInForce, ...]:
    """Every limit in force."""
    found: list[LimitInForce] = []
    for contact in contacts:
        for quantity, limit_w in (
            (Quantity.IMPORT, contact.import_limit_w),
            (Quantity.EXPORT, contact.export_limit_w),
            (Quantity.CHARGE, contact.charge_limit_w),
            (Quantity.PRODUCTION, contact.production_limit_w),
        ):
            if limit_w is not None:
                found.append(LimitInForce(contact.id, contact.id, Sort.OBLIGATION, quantity, limit_w))
    found += [LimitInForce(f"{s.sender} {s.id}", s.sender, s.sort, s.quantity, s.limit_w) for s in signals]
    return tuple(found)


def resting(limits: Iterable[LimitInForce], state: IslandState) -> frozenset[LimitInForce]:
    """Those that the rules do not keep in this state: off the grid all, on a generator obligations."""
    if state in WITHOUT_GRID:
        return frozenset(limits)
    return frozenset(one for one in limits if state is IslandState.GENSET and one.sort is Sort.OBLIGATION)


def powers(snapshot: Snapshot) -> dict[Quantity, float | None]:
    """What can be limited, as measured, W >= 0; None: not known.

    Charging from the grid is what the batteries take, but no more than the import: PV beyond the load is not counted.
    """
    grid_w, pcs_w = snapshot.grid.w.good, snapshot.pcs_w
    charge_w = None if grid_w is None or pcs_w is None else min(max(-pcs_w, 0.0), max(grid_w, 0.0))
    return {
        Quantity.IMPORT: None if grid_w is None else max(grid_w, 0.0),
        Quantity.EXPORT: None if grid_w is None else max(-grid_w, 0.0),
        Quantity.CHARGE: charge_w,
        Quantity.PRODUCTION: snapshot.pv_w,
    }


class LimitEvidence:
    """Fed once per tick. `interval_s`: of the utility meter."""

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._running: dict[LimitInForce, _Running] = {}

    def update(
        self,
        utc_s: float,
        mono_s: float,
        limits: Iterable[LimitInForce],
        values: Mapping[Quantity, float | None],
        rest: Set[LimitInForce] = frozenset(),
    ) -> list[Entry]:
        """What is to be put on record now. `rest`: those of the limits that do not count."""
        now, entries = set(limits) - rest, list[Entry]()
        for limit in [limit for limit in self._running if limit not in now]:
            entries.append(self._running.pop(limit).entry("rest" if limit in rest else "end", utc_s))
        for limit in now:
            running = self._running.get(limit)
            if running is None:
                self._running[limit] = _Running(limit, utc_s, mono_s)
                entries.append(Entry("begin", limit, utc_s, utc_s))
                continue
            running.add(mono_s, values[limit.quantity])
            if (what := running.changed(mono_s, values[limit.quantity])) is not None:
                entries.append(running.entry(what, utc_s))
            if utc_s // self._interval_s != running.from_utc_s // self._interval_s:
                entries.append(running.entry("interval", utc_s))
                running.restart(utc_s)
        return entries

    def close(self, utc_s: float) -> list[Entry]:
        """What was measured in the intervals that run, as the gateway stops."""
        running, self._running = self._running, {}
        return [one.entry("interval", utc_s) for one in running.values()]


class _Running:
    """What was measured under one limit since its begin, or since the last interval."""

    def __init__(self, limit: LimitInForce, utc_s: float, mono_s: float) -> None:
        self.limit, self.from_utc_s, self._last_s = limit, utc_s, mono_s
        self._short, self._other_since_s = False, math.inf
        self.restart(utc_s)

    def restart(self, utc_s: float) -> None:
        """Begin anew to measure."""
        self.from_utc_s = utc_s
        self._min_w, self._max_w, self._energy_ws = math.inf, -math.inf, 0.0
        self._known_s = self._unknown_s = self._over_s = 0.0

    def add(self, mono_s: float, value_w: float | None) -> None:
        """One sample, which stands for the time since the one before."""
        passed_s, self._last_s = max(mono_s - self._last_s, 0.0), mono_s
        if value_w is None or passed_s > LONGEST_GAP_S:
            self._unknown_s += passed_s
            return
        self._min_w, self._max_w = min(self._min_w, value_w), max(self._max_w, value_w)
        self._energy_ws += value_w * passed_s
        self._known_s += passed_s
        self._over_s += passed_s if value_w > self.limit.limit_w else 0.0

    def changed(self, mono_s: float, value_w: float | None) -> str | None:
        """`shortfall` or `met` once that has been so for `TOLD_S`; None: as before, or not known."""
        if value_w is None:
            return None
        limit_w = self.limit.limit_w
        short = value_w > limit_w + max(NEAR_W, NEAR_SHARE * limit_w)
        if short == self._short:
            self._other_since_s = math.inf
            return None
        self._other_since_s = min(self._other_since_s, mono_s)
        if mono_s - self._other_since_s < TOLD_S:
            return None
        self._short, self._other_since_s = short, math.inf
        return "shortfall" if short else "met"

    def entry(self, what: str, utc_s: float) -> Entry:
        """What was measured since `from_utc_s`."""
        known = self._known_s > 0
        return Entry(
            what,
            self.limit,
            self.from_utc_s,
            utc_s,
            self._min_w if known else None,
            self._max_w if known else None,
            self._energy_ws / self._known_s if known else None,
            self._unknown_s,
            self._over_s,
        )
