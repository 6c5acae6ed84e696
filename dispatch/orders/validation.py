"""Checks whether an order may be given now: the range allowed and its reason, or the rule and figure that forbid it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

import msgspec

from dispatch.config.battery_ratings import full_soc_pct, lowest_soc_pct, reserve_soc_pct
from dispatch.config.schema import DispatchConfig
from dispatch.model.battery_bank import BatteryBank
from dispatch.model.decision import Decision, RuleTrace
from dispatch.model.equipment import DeviceHealth
from dispatch.model.islanding import JOINED, IslandState
from dispatch.model.orders import (
    BATTERY,
    IN_PERCENT,
    IN_WATTS,
    REASON_MAX,
    REASON_MIN,
    Order,
    OrderKind,
    Preview,
    Wanted,
    slot,
)
from dispatch.model.reasons import Reason
from dispatch.model.rule_chain import LIMITS
from dispatch.model.snapshot import Snapshot
from dispatch.orders.book import asked, soc_power_w
from dispatch.orders.refusal import OrderRefused

NODE_CAP_MAX_W = 65_534.0  # what a 16-bit register of a node holds


def preview(
    wanted: Wanted,
    config: DispatchConfig,
    snapshot: Snapshot,
    decision: Decision,
    active: tuple[Order, ...],
    cappable: frozenset[str] = frozenset(),
) -> Preview:
    """Check an order against ratings, site file and the moment. `cappable`: nodes that take a cap.

    Beyond what the rules allow only at this moment an order is taken, and the note says what holds it back.
    Raises OrderRefused.
    """
    _check_words(wanted)
    for_s = _duration(wanted, config, snapshot.utc_s)
    _check_place(wanted, config, snapshot, decision, cappable)
    moment = _Moment(wanted, config, snapshot, decision)
    now = _range(moment)
    _check_value(wanted, config, snapshot, for_s)
    where = slot(wanted.kind, wanted.target)
    before = next((o for o in active if o.slot == where), None)
    return Preview(
        kind=wanted.kind,
        old=_old(wanted, config, snapshot, decision, before),
        new=asked(wanted.kind, wanted.value, wanted.target),
        unit="W" if wanted.kind in IN_WATTS else "%" if wanted.kind in IN_PERCENT else "",
        low=now.low,
        high=now.high,
        low_why=now.low_why,
        high_why=now.high_why,
        for_s=for_s,
        standing=before,
        notes=tuple(_notes(moment, now)),
    )


class _Moment(msgspec.Struct, frozen=True):
    """An order and the site that it is for."""

    wanted: Wanted
    config: DispatchConfig
    snapshot: Snapshot
    decision: Decision


class _Range(msgspec.Struct, frozen=True):
    """What is allowed now, in the order's unit, and what sets each end. None: no figure."""

    low: float | None = None
    high: float | None = None
    low_why: Reason | None = None
    high_why: Reason | None = None


def conflict(before: Order, mono_s: float) -> OrderRefused:
    """The refusal of a second order that does not say it means to replace the first."""
    what, left_s = asked(before.kind, before.value, before.target), before.left_s(mono_s)
    if not before.reason:
        return OrderRefused(
            Reason(
                "refused.one_at_a_time",
                {"who": before.who, "slot": before.slot, "order": before.id, "asked": what, "left_s": left_s},
            )
        )
    return OrderRefused(
        Reason(
            "refused.one_at_a_time_why",
            {
                "who": before.who,
                "slot": before.slot,
                "order": before.id,
                "asked": what,
                "left_s": left_s,
                "reason": before.reason,
            },
        )
    )


def _check_words(wanted: Wanted) -> None:
    reason = wanted.reason.strip()
    if wanted.kind is not OrderKind.HOLD and len(reason) < REASON_MIN:
        raise OrderRefused(Reason("refused.no_reason", {"least": REASON_MIN}))
    if len(reason) > REASON_MAX:
        raise OrderRefused(Reason("refused.long_reason", {"characters": len(reason), "most": REASON_MAX}))
    if not reason.isprintable():
        raise OrderRefused(Reason("refused.unprintable_reason"))
    if not math.isfinite(wanted.value):
        raise OrderRefused(Reason("refused.no_number", {"field": "value", "value": str(wanted.value)}))


def _duration(wanted: Wanted, config: DispatchConfig, now_utc_s: float) -> float:
    """How long the order would last, s. Raises OrderRefused."""
    orders = config.orders
    if wanted.kind is OrderKind.SOC_TARGET:
        if wanted.by_utc_s is None:
            raise OrderRefused(Reason("refused.no_time"))
        for_s, key, most_s = wanted.by_utc_s - now_utc_s, "soc_target_max_s", orders.soc_target_max_s
        if not for_s > 0:
            raise OrderRefused(Reason("refused.past_time", {"ago_s": -for_s}))
    else:
        for_s = orders.default_s if wanted.for_s is None else wanted.for_s
        key, most_s = "max_s", orders.max_s
        if wanted.for_s is None:
            for_s = min(for_s, most_s)
        if not for_s > 0:
            raise OrderRefused(Reason("refused.past_duration", {"for_s": for_s}))
    if for_s > most_s:
        raise OrderRefused(Reason("refused.too_long", {"key": f"orders.{key}", "for_s": for_s, "most_s": most_s}))
    return for_s


def _check_place(
    wanted: Wanted, config: DispatchConfig, snapshot: Snapshot, decision: Decision, cappable: frozenset[str]
) -> None:
    """Whether what the order is for exists, answers, and takes orders."""
    health = {d.id: d for d in snapshot.devices}
    if wanted.kind is OrderKind.NODE_CAP:
        _check_node(wanted.target, [n.id for n in snapshot.nodes], cappable)
        _check_online([wanted.target], health)
        return
    ids = [p.id for p in config.pcs]
    if wanted.kind is OrderKind.DISABLE:
        if wanted.target not in ids:
            expected = ", ".join(ids) or Reason("found.none_here")
            raise OrderRefused(Reason("refused.no_such_pcs", {"device": repr(wanted.target), "pcs": expected}))
        return
    if not ids:
        raise OrderRefused(Reason("refused.no_pcs"))
    if wanted.kind in BATTERY and wanted.kind is not OrderKind.HOLD:
        if decision.island not in JOINED:
            raise OrderRefused(Reason("refused.off_grid", {"state": decision.island.value}))
        _check_online(ids, health)


def _check_node(node: str, nodes: list[str], cappable: frozenset[str]) -> None:
    """Refuse a node that is not there or takes no cap."""
    if node not in nodes:
        expected = ", ".join(nodes) or Reason("found.none_here")
        raise OrderRefused(Reason("refused.no_such_node", {"node": repr(node), "nodes": expected}))
    if node not in cappable:
        there = ", ".join(n for n in nodes if n in cappable) or Reason("found.no_node_here")
        raise OrderRefused(Reason("refused.no_cap", {"node": node, "nodes": there}))


def _check_online(ids: list[str], health: dict[str, DeviceHealth]) -> None:
    """Refuse when every one of these devices is offline."""
    known = [health[i] for i in ids if i in health]
    if known and not any(d.online for d in known):
        devices = [Reason("refused.silence", {"device": d.id, "silence": _silence(d)}) for d in known]
        raise OrderRefused(Reason("refused.offline", {"devices": list(devices)}))


def _check_value(wanted: Wanted, config: DispatchConfig, snapshot: Snapshot, for_s: float) -> None:
    """Whether ratings and site file allow the value at all."""
    low, high = ratings(wanted.kind, config)
    if not low <= wanted.value <= high:
        raise OrderRefused(_beyond(wanted, low, high))
    if wanted.kind is OrderKind.SOC_TARGET and (soc_pct := BatteryBank(config, snapshot).soc_pct) is not None:
        w = soc_power_w(config, soc_pct, wanted.value, for_s)
        rated_w = config.discharge_w if w > 0 else config.charge_w
        if abs(w) > rated_w:
            raise OrderRefused(
                Reason(
                    "refused.soc_too_fast",
                    {
                        "soc_pct": soc_pct,
                        "target_pct": wanted.value,
                        "for_s": for_s,
                        "battery_w": w,
                        "rated_w": rated_w,
                        "least_s": for_s * abs(w) / rated_w,
                    },
                )
            )


def _beyond(wanted: Wanted, low: float, high: float) -> Reason:
    """That the value is outside what ratings and site file allow."""
    what = asked(wanted.kind, wanted.value, wanted.target)
    match wanted.kind:
        case OrderKind.SETPOINT:
            return Reason("refused.setpoint", {"asked": what, "charge_w": -low, "discharge_w": high})
        case OrderKind.IMPORT_TARGET:
            return Reason("refused.import", {"asked": what, "export_w": -low, "fuse_w": high})
        case OrderKind.NODE_CAP:
            return Reason("refused.node_cap", {"asked": what, "least_w": low, "most_w": high})
    return Reason("refused.soc", {"asked": what, "least_pct": low, "most_pct": high})


def ratings(kind: OrderKind, config: DispatchConfig) -> tuple[float, float]:
    """Smallest and largest value that ratings and site file allow, in the order's unit; (0, 0) without a value."""
    match kind:
        case OrderKind.SETPOINT:
            return -config.charge_w, config.discharge_w
        case OrderKind.IMPORT_TARGET:
            return -config.grid.export_limit_w, config.grid.fuse_w
        case OrderKind.SOC_TARGET | OrderKind.RESERVE_LEVEL:
            return lowest_soc_pct(config), full_soc_pct(config)
        case OrderKind.NODE_CAP:
            return 1.0, NODE_CAP_MAX_W
    return 0.0, 0.0


def _range(m: _Moment) -> _Range:
    """The range now and what sets each end of it."""
    kind, net_w = m.wanted.kind, m.decision.net_load_w
    if kind in (OrderKind.HOLD, OrderKind.DISABLE):
        return _Range()
    low, high = ratings(kind, m.config)
    limits = [t for t in m.decision.chain if t.rule in LIMITS]
    if kind is OrderKind.SETPOINT and limits:
        low, high = limits[-1].low_w, limits[-1].high_w
        return _Range(low, high, _first(limits, low, "low_w"), _first(limits, high, "high_w"))
    if kind is OrderKind.IMPORT_TARGET and limits and net_w is not None:
        low, high = limits[-1].low_w, limits[-1].high_w
        return _Range(net_w - high, net_w - low, _first(limits, high, "high_w"), _first(limits, low, "low_w"))
    if kind is OrderKind.NODE_CAP:
        return _Range(low, high, Reason("range.node_least"), Reason("range.node_most"))
    return _Range(low, high, Reason("range.soc_min"), Reason("range.soc_max"))


def _first(limits: list[RuleTrace], edge_w: float, side: Literal["low_w", "high_w"]) -> Reason:
    """The first rule that left the range with this edge; before the first, what the PCS are rated for."""
    trace = next((t for t in limits if getattr(t, side) == edge_w), limits[-1])
    if trace is limits[0]:
        return Reason("range.ratings")
    return Reason("range.rule", {"rule": trace.rule.value, "reason": trace.reason})


def critical_nodes(config: DispatchConfig, snapshot: Snapshot) -> set[str]:
    """The nodes that the site file, or their own reading, calls critical."""
    declared = {n.id for n in config.nodes if n.critical}
    return declared | {n.id for n in snapshot.nodes if n.critical}


def _old(
    wanted: Wanted, config: DispatchConfig, snapshot: Snapshot, decision: Decision, before: Order | None
) -> Reason:
    """What holds before the order."""
    match wanted.kind:
        case OrderKind.SETPOINT | OrderKind.HOLD:
            w = decision.battery_w
            return Reason("now.no_setpoint") if w is None else asked(OrderKind.SETPOINT, w, "")
        case OrderKind.IMPORT_TARGET:
            import_w = snapshot.grid.w.good
            return Reason("now.import_unknown") if import_w is None else Reason("now.import", {"import_w": import_w})
        case OrderKind.SOC_TARGET:
            soc_pct = BatteryBank(config, snapshot).soc_pct
            return Reason("now.soc_unknown") if soc_pct is None else Reason("now.soc", {"soc_pct": soc_pct})
        case OrderKind.RESERVE_LEVEL:
            return Reason("now.reserve", {"soc_pct": reserve_soc_pct(config) if before is None else before.value})
        case OrderKind.NODE_CAP:
            if before is None:
                return Reason("now.uncapped", {"node": wanted.target})
            return asked(before.kind, before.value, before.target)
        case OrderKind.DISABLE:
            if before is None:
                return Reason("now.enabled", {"pcs": wanted.target})
            return asked(OrderKind.DISABLE, 0.0, wanted.target)


def _notes(m: _Moment, now: _Range) -> Iterator[Reason]:
    """What a person should know before confirming."""
    yield from _held_back(m.wanted, now)
    yield from _above_peak(m)
    match m.wanted.kind:
        case OrderKind.RESERVE_LEVEL if m.wanted.value < reserve_soc_pct(m.config):
            yield Reason("note.below_reserve", {"reserve_pct": reserve_soc_pct(m.config)})
        case OrderKind.HOLD if m.decision.island not in JOINED:
            yield Reason("note.no_setpoint_anyway", {"state": m.decision.island.value})
        case OrderKind.NODE_CAP:
            yield from _of_node(m)
        case OrderKind.DISABLE:
            others = [p.id for p in m.config.pcs if p.id != m.wanted.target]
            yield Reason("note.others_carry_on", {"pcs": ", ".join(others)}) if others else Reason("note.no_pcs_left")
    if m.wanted.kind in BATTERY:
        for device in m.snapshot.devices:
            if device.kind == "pcs" and not device.online:
                yield Reason("note.takes_no_part", {"device": device.id, "silence": _silence(device)})


def _held_back(wanted: Wanted, now: _Range) -> Iterator[Reason]:
    """Notes that the value is outside the range that the rules allow now; the battery then stays at the edge."""
    if wanted.kind not in (OrderKind.SETPOINT, OrderKind.IMPORT_TARGET) or now.low is None or now.high is None:
        return
    if wanted.value > now.high:
        yield Reason("note.held_to", {"asked": asked(wanted.kind, now.high, ""), "why": now.high_why})
    elif wanted.value < now.low:
        yield Reason("note.held_to", {"asked": asked(wanted.kind, now.low, ""), "why": now.low_why})


def _above_peak(m: _Moment) -> Iterator[Reason]:
    """A note if the order makes the site import more than the contracted peak."""
    if m.decision.island is IslandState.GENSET:  # its power counts in no metering interval
        return
    import_w = m.wanted.value if m.wanted.kind is OrderKind.IMPORT_TARGET else None
    if m.wanted.kind in (OrderKind.SETPOINT, OrderKind.HOLD) and m.decision.net_load_w is not None:
        import_w = m.decision.net_load_w - m.wanted.value
    peak_w = m.config.grid.contracted_peak_w
    if import_w is not None and import_w > peak_w:
        yield Reason("note.above_contract", {"import_w": import_w, "contract_w": peak_w})


def _of_node(m: _Moment) -> Iterator[Reason]:
    """What a cap does to its node."""
    node = m.wanted.target
    drawn_w = next((n.w.good for n in m.snapshot.nodes if n.id == node), None)
    if drawn_w is not None and m.wanted.value < drawn_w:
        yield Reason("note.slows_down", {"node": node, "drawn_w": drawn_w})
    if node in critical_nodes(m.config, m.snapshot):
        yield Reason("note.critical", {"node": node})


def _silence(device: DeviceHealth) -> Reason:
    """How long a device has been silent, and what it last failed with."""
    age_s = device.age_s
    silent = Reason("device.never_answered") if age_s is None else Reason("device.silent", {"silent_s": age_s})
    return Reason("device.silent_error", {"silent": silent, "error": device.error}) if device.error else silent
