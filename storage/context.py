"""What stood at a time besides the signals: the plan, orders, prices ahead, how devices answered, ride-through.

A row holds one of these, as JSON, compressed. It is written when that changes, all of them at the first tick of a run,
and again after `AGAIN_S`, so that what stood at a time is found in a bounded span before it. What may change at every
tick is kept at most once in its `_least_s`.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from dispatch.alarms.states import Alarm, FirstOut, ShelvedAlarm
from dispatch.model.decision import Decision
from dispatch.model.equipment import DeviceHealth, DeviceIdentity, DeviceProof
from dispatch.model.islanding import RideThrough
from dispatch.model.orders import Order
from dispatch.model.plan import Plan
from dispatch.model.reasons import Reason
from dispatch.model.snapshot import Snapshot
from storage.rows import to_us

AGAIN_S = 12 * 3600.0
LINK_S = 10.0  # a device that answers now and then: at most one row of it in this time
TEXT_S = 60.0  # the same where only the text of its error changes, or figures of why load is shed
PLAN_S = 60.0
SLACK_S = 60.0  # a row may be written this much later
MOST_BYTES = 4 << 20  # of a row, unpacked
LEAST_UTC_S = 1e9  # a figure from here on is a time; no power in W is that large
PLAN, ORDERS, PRICES, LIMITS, ALARMS, RIDE, LINKS = "plan", "orders", "prices", "limits", "alarms", "ride", "links"
KINDS = frozenset({PLAN, ORDERS, PRICES, LIMITS, ALARMS, RIDE, LINKS})
LINK = "link "  # begin of the kind of a device's rows


class PlanThen(msgspec.Struct, frozen=True):
    """The plan in force; None: there was none, and why."""

    plan: Plan | None = None
    why_none: Reason | None = None


class Prices(msgspec.Struct, frozen=True):
    """Import prices of the hours to come, EUR/kWh, as (start, UTC s) pairs, changes only."""

    ahead: tuple[tuple[int, float], ...] = ()
    ends_utc_s: int | None = None
    source: str = ""
    fetched_utc_s: float | None = None


class LimitsThen(msgspec.Struct, frozen=True):
    """Which contract or peak the metering interval must not exceed; limits of import from outside, W by their word."""

    peak: Reason | None = None
    outside_w: tuple[tuple[str, float], ...] = ()


class AlarmsThen(msgspec.Struct, frozen=True):
    """The alarms that were listed or off the list. What was seen, and the time to act, is not kept."""

    listed: tuple[Alarm, ...] = ()
    shelved: tuple[ShelvedAlarm, ...] = ()
    first_out: FirstOut | None = None


class RideThen(msgspec.Struct, frozen=True):
    """The step of load shedding; the times and powers of ride-through are signals."""

    rung: int
    rungs: int
    rung_name: Reason
    lacks: tuple[Reason, ...] = ()
    why: Reason | None = None


class LinkThen(msgspec.Struct, frozen=True):
    """How a device answered. Its counters and round trips are not kept."""

    id: str
    kind: str
    online: bool
    answered_utc_s: float | None = None  # last, where it does not answer; None: never, or it answers
    error: str = ""
    identity: DeviceIdentity | None = None
    proof: DeviceProof | None = None
    battery: str = ""
    map: str = ""


class Told(msgspec.Struct, frozen=True):
    """What the gateway tells of a tick besides snapshot and decision."""

    plan: Plan | None = None
    no_plan: Reason | None = None
    orders: tuple[Order, ...] = ()
    prices: Prices = Prices()
    limits: LimitsThen = LimitsThen()
    alarms: AlarmsThen = AlarmsThen()


class Context(msgspec.Struct, frozen=True):
    """What stood at a moment, as far as it is on record: of what `kinds` lacks nothing is known."""

    kinds: frozenset[str] = frozenset()
    plan: Plan | None = None
    no_plan: Reason | None = None
    orders: tuple[Order, ...] = ()
    prices: Prices = Prices()
    limits: LimitsThen = LimitsThen()
    alarms: AlarmsThen = AlarmsThen()
    ride: RideThen | None = None
    links: tuple[LinkThen, ...] = ()


class Row(NamedTuple):
    """A row to be written."""

    utc_s: float
    kind: str
    v: bytes


class _Kept(NamedTuple):
    value: Any
    mono_s: float  # when it was written


class Changes:
    """Finds what is to be written, sample by sample."""

    def __init__(self) -> None:
        self._kept: dict[str, _Kept] = {}

    def rows(self, snapshot: Snapshot, decision: Decision | None, told: Told) -> Iterator[Row]:
        """The rows of a sample."""
        for kind, value in _standing(snapshot, decision, told):
            before = self._kept.get(kind)
            if before is None or self._due(before, value, snapshot.mono_s):
                self._kept[kind] = _Kept(value, snapshot.mono_s)
                yield Row(snapshot.utc_s, kind, encoded(value))

    @staticmethod
    def _due(before: _Kept, value: Any, mono_s: float) -> bool:
        since_s = mono_s - before.mono_s
        return since_s >= AGAIN_S or (not _same(before.value, value) and since_s >= _least_s(before.value, value))


def _standing(snapshot: Snapshot, decision: Decision | None, told: Told) -> Iterator[tuple[str, Any]]:
    yield PLAN, PlanThen(told.plan, told.no_plan if told.plan is None else None)
    yield ORDERS, told.orders
    yield PRICES, told.prices
    yield LIMITS, told.limits
    yield ALARMS, _steady(told.alarms)
    if decision is not None and decision.ride is not None:
        yield RIDE, _ride(decision.ride)
    for device in snapshot.devices:
        yield f"{LINK}{device.id}", _link(device, snapshot.utc_s)


def _steady(alarms: AlarmsThen) -> AlarmsThen:
    """Alarms without what may be another thing at each tick."""
    listed = tuple(msgspec.structs.replace(a, detail=None, act_within_s=None) for a in alarms.listed)
    return msgspec.structs.replace(alarms, listed=listed)


def _ride(ride: RideThrough) -> RideThen:
    return RideThen(ride.rung, ride.rungs, ride.rung_name, ride.lacks, ride.why)


def _link(device: DeviceHealth, utc_s: float) -> LinkThen:
    answered_s = None if device.online or device.age_s is None else utc_s - device.age_s
    return LinkThen(
        device.id,
        device.kind,
        device.online,
        answered_s,
        device.error,
        device.identity,
        device.proof,
        device.battery,
        device.map,
    )


def _same(before: Any, now: Any) -> bool:
    if isinstance(before, LinkThen):  # the age of a device that is lost counts on
        return bool(before == msgspec.structs.replace(now, answered_utc_s=before.answered_utc_s))
    return bool(before == now)


def _least_s(before: Any, now: Any) -> float:
    """How long what was written stands at least."""
    if isinstance(before, LinkThen):
        return LINK_S if before.online != now.online else TEXT_S
    if isinstance(before, RideThen):
        return TEXT_S if before.rung == now.rung else 0.0
    if isinstance(before, PlanThen):
        return PLAN_S if before.plan is not None and now.plan is not None else 0.0
    return 0.0


# ── rows ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def encoded(value: Any) -> bytes:
    """A value as a row holds it: powers to 1 W, times to 1 ms, figures below 1 to six decimals."""
    return zlib.compress(msgspec.json.encode(_rounded(msgspec.to_builtins(value))))


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        if abs(value) >= LEAST_UTC_S:
            return round(value, 3)  # an alarm has the second that list and log give it
        return round(value, 0 if abs(value) >= 1000 else 2 if abs(value) >= 1 else 6)
    if isinstance(value, dict):
        return {key: _rounded(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(one) for one in value]
    return value


_SHAPES: dict[str, Any] = {
    PLAN: msgspec.json.Decoder(PlanThen),
    ORDERS: msgspec.json.Decoder(tuple[Order, ...]),
    PRICES: msgspec.json.Decoder(Prices),
    LIMITS: msgspec.json.Decoder(LimitsThen),
    ALARMS: msgspec.json.Decoder(AlarmsThen),
    RIDE: msgspec.json.Decoder(RideThen),
    LINK: msgspec.json.Decoder(LinkThen),
}


def decoded(kind: str, v: bytes) -> Any:
    """The value of a row; None of a kind that a newer version writes. Raises those of `damage.DAMAGED`."""
    decoder = _SHAPES.get(LINK if kind.startswith(LINK) else kind)
    if decoder is None:
        return None
    unpacker = zlib.decompressobj()
    try:
        text = unpacker.decompress(v, MOST_BYTES)
    except zlib.error as error:
        raise ValueError(str(error)) from error
    if not unpacker.eof:
        raise ValueError(f"a row of {kind} that does not end")
    return decoder.decode(text)


def context_at(con: sqlite3.Connection, utc_s: float) -> Context:
    """What stood at a moment, as the newest row of each kind in its run says. Raises those of `damage.DAMAGED`."""
    at_us, sql = to_us(utc_s), "SELECT max(started_utc_us) FROM run WHERE started_utc_us <= ?"
    (begin_us,) = con.execute(sql, (at_us,)).fetchone()
    first_us = max(begin_us or 0, to_us(utc_s - AGAIN_S - SLACK_S))
    newest = "SELECT max(id) FROM context WHERE ts_utc_us BETWEEN ? AND ? GROUP BY kind"
    rows = con.execute(f"SELECT kind, v FROM context WHERE id IN ({newest}) ORDER BY id", (first_us, at_us))
    found = {kind: value for kind, v in rows if (value := decoded(kind, v)) is not None}
    links = tuple(value for value in found.values() if isinstance(value, LinkThen))
    plan = found.get(PLAN, PlanThen())
    return Context(
        kinds=frozenset(kind for kind in _SHAPES if kind in found) | ({LINKS} if links else frozenset()),
        plan=plan.plan,
        no_plan=plan.why_none,
        orders=found.get(ORDERS, ()),
        prices=found.get(PRICES, Prices()),
        limits=found.get(LIMITS, LimitsThen()),
        alarms=found.get(ALARMS, AlarmsThen()),
        ride=found.get(RIDE),
        links=links,
    )
