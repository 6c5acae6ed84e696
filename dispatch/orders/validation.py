"""Checks whether an order may be given now: the range allowed and its reason, or the rule and figure that forbid it."""

from __future__ import annotations

import math

from dispatch.config.battery_ratings import full_soc_pct, lowest_soc_pct, reserve_soc_pct
from dispatch.config.schema import DispatchConfig
from dispatch.model.battery_bank import BatteryBank
from dispatch.model.decision import Decision, RuleTrace
from dispatch.model.equipment import DeviceHealth
from dispatch.model.islanding import IslandState
from dispatch.model.orders import (
    BATTERY,
    IN_PERCENT,
    IN_WATTS,
    REASON_MAX,
    REASON_MIN,
    Order,
    OrderKind,
    OrderRefused,
    Preview,
    Wanted,
    slot,
)
from dispatch.model.snapshot import Snapshot
from dispatch.orders.book import soc_power_w, words
from dispatch.wording.formatting import action, kw, span

LAST_LIMIT = 4  # rules up to this one come before manual orders
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
    low, high, low_why, high_why = _range(wanted, config, decision)
    _check_value(wanted, config, snapshot, for_s)
    where = slot(wanted.kind, wanted.target)
    before = next((o for o in active if o.slot == where), None)
    return Preview(
        kind=wanted.kind,
        old=_old(wanted, config, snapshot, decision, before),
        new=words(wanted.kind, wanted.value, wanted.target),
        unit="W" if wanted.kind in IN_WATTS else "%" if wanted.kind in IN_PERCENT else "",
        low=low,
        high=high,
        low_why=low_why,
        high_why=high_why,
        for_s=for_s,
        standing=before,
        notes=tuple(_notes(wanted, config, snapshot, decision, low, high, low_why, high_why)),
    )


def conflict(before: Order, mono_s: float) -> OrderRefused:
    """The refusal of a second order that does not say it means to replace the first."""
    what, why = words(before.kind, before.value, before.target), f" ({before.reason})" if before.reason else ""
    return OrderRefused(
        "one order at a time",
        f"{before.who} holds {before.slot} by order {before.id}: {what}, {span(before.left_s(mono_s))} left{why}; "
        f"end it first, or replace it with --replace {before.id}",
    )


def _check_words(wanted: Wanted) -> None:
    reason = wanted.reason.strip()
    if wanted.kind is not OrderKind.HOLD and len(reason) < REASON_MIN:
        raise OrderRefused(
            "reason", f"an order needs a reason of at least {REASON_MIN} characters, for whoever is next"
        )
    if len(reason) > REASON_MAX:
        raise OrderRefused("reason", f"{len(reason)} characters; at most {REASON_MAX}")
    if not reason.isprintable():
        raise OrderRefused("reason", "expected printable characters on one line")
    if not math.isfinite(wanted.value):
        raise OrderRefused("value", f"expected a number, got {wanted.value}")


def _duration(wanted: Wanted, config: DispatchConfig, now_utc_s: float) -> float:
    """How long the order would last, s. Raises OrderRefused."""
    orders = config.orders
    if wanted.kind is OrderKind.SOC_TARGET:
        if wanted.by_utc_s is None:
            raise OrderRefused("by", "a SoC target needs the time by which it is to be reached")
        for_s, key, most_s = wanted.by_utc_s - now_utc_s, "soc_target_max_s", orders.soc_target_max_s
        if not for_s > 0:
            raise OrderRefused("in the past", f"the time stated was {span(-for_s)} ago by the site's clock")
    else:
        for_s = orders.default_s if wanted.for_s is None else wanted.for_s
        key, most_s = "max_s", orders.max_s
        if wanted.for_s is None:
            for_s = min(for_s, most_s)
        if not for_s > 0:
            raise OrderRefused("in the past", f"a duration of {for_s:g} s has ended before it begins")
    if for_s > most_s:
        raise OrderRefused(f"orders.{key}", f"{span(for_s)} is longer than the {span(most_s)} this site allows")
    return for_s


def _check_place(
    wanted: Wanted, config: DispatchConfig, snapshot: Snapshot, decision: Decision, cappable: frozenset[str]
) -> None:
    """Whether what the order is for exists, answers, and takes orders."""
    health = {d.id: d for d in snapshot.devices}
    ids = [p.id for p in config.pcs]
    if wanted.kind is OrderKind.NODE_CAP:
        nodes = [n.id for n in snapshot.nodes]
        if wanted.target not in nodes:
            raise OrderRefused("node", f"{wanted.target!r}: expected one of {', '.join(nodes) or 'none on this site'}")
        if wanted.target not in cappable:
            there = ", ".join(n for n in nodes if n in cappable) or "no node of this site"
            raise OrderRefused("node", f"{wanted.target} takes no power cap; these do: {there}")
        _check_online([wanted.target], health)
        return
    if wanted.kind is OrderKind.DISABLE:
        if wanted.target not in ids:
            raise OrderRefused("device", f"{wanted.target!r}: expected a PCS, {', '.join(ids) or 'none on this site'}")
        return
    if not ids:
        raise OrderRefused("device", "the site file declares no PCS: there is no battery to order about")
    if wanted.kind in BATTERY and wanted.kind is not OrderKind.HOLD:
        if decision.island is not IslandState.GRID_TIED:
            line = f"the site is {decision.island.value}; a battery order is taken when it is grid-tied"
            raise OrderRefused("islanding", line)
        _check_online(ids, health)


def _check_online(ids: list[str], health: dict[str, DeviceHealth]) -> None:
    """Refuse when every one of these devices is offline."""
    known = [health[i] for i in ids if i in health]
    if known and not any(d.online for d in known):
        said = "; ".join(f"{d.id} {_silence(d)}" for d in known)
        raise OrderRefused("device offline", said)


def _silence(device: DeviceHealth) -> str:
    age = "has never answered" if device.age_s is None else f"has been silent for {device.age_s:.0f} s"
    return f"{age}: {device.error}" if device.error else age


def _check_value(wanted: Wanted, config: DispatchConfig, snapshot: Snapshot, for_s: float) -> None:
    """Whether ratings and site file allow the value at all."""
    low, high = ratings(wanted.kind, config)
    if not low <= wanted.value <= high:
        limits = {
            OrderKind.SETPOINT: f"rated {kw(-low)} charge, {kw(high)} discharge",
            OrderKind.IMPORT_TARGET: f"export limit {kw(-low)}, fuse {kw(high)}",
            OrderKind.SOC_TARGET: f"soc_min {low:g} %, soc_max {high:g} %",
            OrderKind.RESERVE_LEVEL: f"soc_min {low:g} %, soc_max {high:g} %",
            OrderKind.NODE_CAP: f"{low:g} W to {kw(high)}",
        }[wanted.kind]
        raise OrderRefused("beyond ratings", f"{words(wanted.kind, wanted.value, wanted.target)} against {limits}")
    if wanted.kind is OrderKind.SOC_TARGET and (soc_pct := BatteryBank(config, snapshot).soc_pct) is not None:
        w = soc_power_w(config, soc_pct, wanted.value, for_s)
        rated_w = config.discharge_w if w > 0 else config.charge_w
        if abs(w) > rated_w:
            raise OrderRefused(
                "beyond ratings",
                f"SoC {soc_pct:.1f} % to {wanted.value:g} % in {span(for_s)} takes {action(w)}, rated {kw(rated_w)}; "
                f"it can be had in {span(for_s * abs(w) / rated_w)}",
            )


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


def _range(wanted: Wanted, config: DispatchConfig, decision: Decision) -> tuple[float | None, float | None, str, str]:
    """The range now and what sets each end of it."""
    if wanted.kind in (OrderKind.HOLD, OrderKind.DISABLE):
        return None, None, "", ""
    low, high = ratings(wanted.kind, config)
    chain = [t for t in decision.chain if t.rule <= LAST_LIMIT]
    if wanted.kind is OrderKind.SETPOINT and chain:
        low, high = chain[-1].low_w, chain[-1].high_w
        return low, high, _first(chain, low, "low_w"), _first(chain, high, "high_w")
    if wanted.kind is OrderKind.IMPORT_TARGET and chain and decision.net_load_w is not None:
        net_w, last = decision.net_load_w, chain[-1]
        low_why, high_why = _first(chain, last.high_w, "high_w"), _first(chain, last.low_w, "low_w")
        return net_w - last.high_w, net_w - last.low_w, low_why, high_why
    if wanted.kind is OrderKind.NODE_CAP:
        return low, high, "a node draws something", "what its register holds"
    return low, high, "soc_min of the site file", "soc_max of the site file"


def _first(chain: list[RuleTrace], edge_w: float, side: str) -> str:
    """The first rule that left the range with this edge; before the first, what the PCS are rated for."""
    trace = next((t for t in chain if getattr(t, side) == edge_w), chain[-1])
    if trace is chain[0]:
        return "ratings of the PCS in the site file"
    return f"{trace.name}: {trace.reason}"


def critical_nodes(config: DispatchConfig, snapshot: Snapshot) -> set[str]:
    """The nodes that the site file, or their own reading, calls critical."""
    declared = {n.id for n in config.nodes if n.critical}
    return declared | {n.id for n in snapshot.nodes if n.critical}


def _old(wanted: Wanted, config: DispatchConfig, snapshot: Snapshot, decision: Decision, before: Order | None) -> str:
    """What holds before the order."""
    match wanted.kind:
        case OrderKind.SETPOINT | OrderKind.HOLD:
            return "no setpoint" if decision.battery_w is None else action(decision.battery_w)
        case OrderKind.IMPORT_TARGET:
            return "import not known" if snapshot.grid.w.good is None else f"import {kw(snapshot.grid.w.good)}"
        case OrderKind.SOC_TARGET:
            soc_pct = BatteryBank(config, snapshot).soc_pct
            return "SoC not known" if soc_pct is None else f"SoC {soc_pct:.1f} %"
        case OrderKind.RESERVE_LEVEL:
            return f"reserve {reserve_soc_pct(config) if before is None else before.value:.1f} % SoC"
        case OrderKind.NODE_CAP:
            return f"{wanted.target} uncapped" if before is None else words(before.kind, before.value, before.target)
        case OrderKind.DISABLE:
            return f"{wanted.target} {'enabled' if before is None else 'disabled'}"


def _notes(
    wanted: Wanted,
    config: DispatchConfig,
    snapshot: Snapshot,
    decision: Decision,
    low: float | None,
    high: float | None,
    low_why: str,
    high_why: str,
) -> list[str]:
    """What a person should know before confirming."""
    notes = []
    if wanted.kind in (OrderKind.SETPOINT, OrderKind.IMPORT_TARGET) and low is not None and high is not None:
        if wanted.value > high:
            notes.append(f"held to {words(wanted.kind, high, '')} now by {high_why}")
        elif wanted.value < low:
            notes.append(f"held to {words(wanted.kind, low, '')} now by {low_why}")
    peak_w = config.grid.contracted_peak_w
    import_w = wanted.value if wanted.kind is OrderKind.IMPORT_TARGET else None
    if wanted.kind in (OrderKind.SETPOINT, OrderKind.HOLD) and decision.net_load_w is not None:
        import_w = decision.net_load_w - wanted.value
    if import_w is not None and import_w > peak_w:
        notes.append(
            f"import of {kw(import_w)} is above the contracted peak {kw(peak_w)}: an order outranks the budget"
        )
    if wanted.kind is OrderKind.RESERVE_LEVEL and wanted.value < reserve_soc_pct(config):
        notes.append(
            f"below the declared reserve of {reserve_soc_pct(config):.1f} %: ride-through is shorter than promised"
        )
    if wanted.kind is OrderKind.HOLD and decision.island is not IslandState.GRID_TIED:
        notes.append(f"the site is {decision.island.value}: no setpoint is sent anyway")
    if wanted.kind is OrderKind.NODE_CAP:
        drawn_w = next((n.w.good for n in snapshot.nodes if n.id == wanted.target), None)
        if drawn_w is not None and wanted.value < drawn_w:
            notes.append(f"{wanted.target} draws {kw(drawn_w)} now: its jobs slow down")
        if wanted.target in critical_nodes(config, snapshot):
            notes.append(f"{wanted.target} is critical")
    if wanted.kind is OrderKind.DISABLE:
        others = [p.id for p in config.pcs if p.id != wanted.target]
        notes.append(f"{', '.join(others)} carry on" if others else "no PCS is left: peaks are not held")
    offline = [d for d in snapshot.devices if d.kind == "pcs" and not d.online]
    if wanted.kind in BATTERY:
        notes.extend(f"{d.id} {_silence(d)}: it takes no part" for d in offline)
    return notes
