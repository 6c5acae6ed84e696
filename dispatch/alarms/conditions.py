"""Determines which alarm conditions hold, from snapshot, decision and a few facts.

The texts are in `dispatch/wording/english/alarms.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from dispatch.alarms.states import Condition
from dispatch.config.battery_ratings import reserve_soc_pct
from dispatch.config.schema import DispatchConfig
from dispatch.control.setpoint_monitor import tolerance_w
from dispatch.model.battery_bank import BatteryBank, counted, in_service
from dispatch.model.decision import Contested, Decision
from dispatch.model.equipment import Battery, DeviceHealth, Node, Pcs
from dispatch.model.islanding import IslandState
from dispatch.model.metering_interval import Interval
from dispatch.model.power_caps import exceeds
from dispatch.model.reasons import Reason, joined, plain
from dispatch.model.rule_chain import MET_OR_ALARMED
from dispatch.model.snapshot import Snapshot

PRICES_SOON_S = 6 * 3600.0  # tomorrow's prices come about 11 h before today's end: less than this and they are late
OVERRUNS_PER_MIN = 6
CLOCK_STEP_S = 1.0
FOLLOW_SHARE = 0.05  # of the rating: a PCS this close to its setpoint follows it
FOLLOW_W = 500.0
SOC_MARGIN_PCT = 0.5
VOLTAGE_LOST = 0.5  # of nominal: a phase below this carries no grid
DISAGREE_W, DISAGREE_SHARE = 3_000.0, 0.10  # of the load: what two meters of class 1, read at two moments, may differ


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What alarms need beside snapshot and decision. The defaults raise nothing."""

    config: DispatchConfig
    interval: Interval | None = None
    plan_age_s: float | None = None  # None: there is no plan
    plan_error: str = ""  # why the last attempt failed
    prices_expected: bool = True  # False on a site without a tariff
    prices_end_utc_s: float | None = None  # end of the last published price; None: there are none
    price_now: bool = True  # a published price covers this moment
    price_file_error: str = ""  # why the price file cannot be used as it is now; lines of file, line, what is expected
    written_w: Mapping[str, float] = {}  # last setpoint written to each PCS; devices never written to are absent
    overruns_per_min: int = 0  # ticks that overran in the last minute
    records_dropped_per_min: int = 0
    records_error: str = ""  # why the store cannot be written
    orders_dropped: str = ""  # the manual orders that the last restart cost
    drill_due: Reason | None = None  # since when a drill waits for somebody to start it
    clock_step_s: float = 0.0  # the last step of the wall clock within the last ten minutes; 0: none
    node_caps_w: Mapping[str, float] = {}  # the caps that are to hold now, by node
    gpu_limits_not_kept: Mapping[str, str] = {}  # nodes whose GPUs are capped without a way back on disk, and why
    month_saved_eur: float | None = None  # by the battery, month to date; None: too little is on record


def conditions(snapshot: Snapshot, decision: Decision | None, facts: Facts) -> dict[str, Condition]:
    """Which alarm conditions hold at this snapshot, by alarm id. `active` None where a missing reading hides it."""
    island = decision.island if decision else IslandState.UNKNOWN
    asleep = {pv.id for pv in snapshot.pv if pv.asleep}
    found: dict[str, Condition] = {
        f"device-lost:{d.id}": Condition(False) if d.id in asleep else _silent(d) for d in snapshot.devices
    }
    found.update(_grid(snapshot, decision, facts, island))
    found.update(_missing(snapshot, facts.config))
    found.update(_implausible(snapshot, decision))
    for battery in snapshot.batteries:
        found.update(_battery(battery, facts.config))
    found["soc-below-reserve"] = _reserve(snapshot, facts.config, island)
    for pcs in snapshot.pcs:
        found.update(_pcs(pcs, snapshot, decision, facts))
    for node in snapshot.nodes:
        found.update(_node(node, facts))
    found.update(_gateway(snapshot, facts))
    found["rules-conflict"] = _conflict(decision)
    found.update(_island(decision))
    found["drill-due"] = Condition(facts.drill_due is not None, facts.drill_due)
    return found


def _silent(device: DeviceHealth) -> Condition:
    age_s = device.age_s
    silent = Reason("alarm.never_answered") if age_s is None else Reason("alarm.silent", {"silent_s": age_s})
    if device.error:
        silent = Reason("alarm.silent_error", {"silent": silent, "error": device.error})
    return Condition(not device.online, silent)


def _grid(
    snapshot: Snapshot, decision: Decision | None, facts: Facts, island: IslandState
) -> Iterator[tuple[str, Condition]]:
    """What concerns the connection to the grid: its meter, voltage, fuse, peak."""
    yield "meter-stale", _meter(snapshot, decision)
    yield "meters-disagree", _meters(snapshot, decision)
    yield "grid-outage", _outage(snapshot, facts.config, island)
    yield "fuse-overload", _fuse(snapshot, facts.config)
    yield from _peak(snapshot, facts.interval)


def _island(decision: Decision | None) -> Iterator[tuple[str, Condition]]:
    """The state machine's reason; the step of ride-through."""
    state = decision.island if decision else IslandState.UNKNOWN
    why = decision.islanding.reason if decision and decision.islanding else None
    yield "island-fault", Condition(state is IslandState.FAULT, why)
    yield "island-blackout", Condition(state in (IslandState.BLACKOUT, IslandState.BLACK_START), why)
    ride = decision.ride if decision else None
    if ride is None or not ride.rung:
        yield "ride-through-step", Condition(False)
    else:
        yield "ride-through-step", Condition(True, Reason("alarm.ride_step", {"step": ride.rung_name, "why": ride.why}))


def _meter(snapshot: Snapshot, decision: Decision | None) -> Condition:
    """No good reading, or one that stands still."""
    w = snapshot.grid.w
    if w.good is not None and decision is not None and decision.meter_frozen:
        return Condition(True, Reason("alarm.meter_frozen", {"import_w": w.good}))
    old = Reason("alarm.never_read") if w.age_s is None else Reason("alarm.old_reading", {"age_s": w.age_s})
    return Condition(w.good is None, old)


def _meters(snapshot: Snapshot, decision: Decision | None) -> Condition:
    """The site's balance against its own load meter: tells of a grid meter that hangs though no PCS moves."""
    if snapshot.load is None:
        return Condition(False)
    if decision is not None and decision.load_meter_frozen:
        return Condition(True, Reason("alarm.load_meter_frozen", {"load_w": snapshot.load.w.value}))
    balance_w, load_w = snapshot.load_w, snapshot.load.w.good
    if balance_w is None or load_w is None:
        return Condition(None)
    apart_w, allowed_w = abs(balance_w - load_w), max(DISAGREE_W, DISAGREE_SHARE * abs(load_w))
    detail = Reason(
        "alarm.meters_apart",
        {"load_w": load_w, "balance_w": balance_w, "apart_w": apart_w, "allowed_w": allowed_w},
    )
    return Condition(apart_w > allowed_w, detail)


def _missing(snapshot: Snapshot, config: DispatchConfig) -> Iterator[tuple[str, Condition]]:
    """Devices that answer without the reading that control needs; silent ones are device-lost."""
    online = {d.id: d.online for d in snapshot.devices}
    for pcs in snapshot.pcs:
        absent = pcs.w.good is None and online.get(pcs.id, True)
        yield f"reading-missing:{pcs.id}", Condition(absent, Reason("alarm.power_missing"))
    for battery in snapshot.batteries:
        told = any(online.get(p.id, True) for p in config.pcs if p.battery == battery.id)
        yield (
            f"reading-missing:{battery.id}",
            Condition(battery.soc_pct.good is None and told, Reason("alarm.soc_missing")),
        )


def _implausible(snapshot: Snapshot, decision: Decision | None) -> dict[str, Condition]:
    """Devices whose readings are rejected again and again, with the last of each."""
    found: dict[str, list[Reason]] = {device.id: [] for device in snapshot.devices}
    for doubt in decision.implausible if decision else ():
        found.setdefault(doubt.device_id, []).append(doubt.why)
    return {
        f"reading-implausible:{name}": Condition(bool(why), joined(why) if why else None) for name, why in found.items()
    }


def _outage(snapshot: Snapshot, config: DispatchConfig, island: IslandState) -> Condition:
    """By the switch's voltage contact where there is one, else by the meter's voltages while it sits on the grid."""
    words = [s.grid_voltage.good for s in snapshot.switches if s.grid_voltage.good is not None]
    if words:
        return Condition("absent" in words, Reason("alarm.switch_reports_no_voltage"))
    volts = [v for v in (r.good for r in snapshot.grid.v) if v is not None]
    if island is IslandState.ISLANDED or not volts:
        return Condition(None)
    lowest = Reason("alarm.lowest_phase", {"phase_v": min(volts)})
    return Condition(max(volts) < VOLTAGE_LOST * config.grid.voltage_v, lowest)


def _fuse(snapshot: Snapshot, config: DispatchConfig) -> Condition:
    amps = [a for a in (r.good for r in snapshot.grid.a) if a is not None]
    if amps:
        worst = max(abs(a) for a in amps)
        return Condition(
            worst > config.grid.fuse_a, Reason("alarm.phase_current", {"phase_a": worst, "fuse_a": config.grid.fuse_a})
        )
    w = snapshot.grid.w.good
    if w is None:
        return Condition(None)
    return Condition(
        abs(w) > config.grid.fuse_w, Reason("alarm.fuse_power", {"import_w": w, "fuse_w": config.grid.fuse_w})
    )


def _peak(snapshot: Snapshot, interval: Interval | None) -> Iterator[tuple[str, Condition]]:
    if interval is None or interval.never_read:
        yield "peak-exceeded", Condition(None)
        yield "peak-at-risk", Condition(None)
        return
    left_wh, w = interval.energy_left_wh, snapshot.grid.w.good
    over_w = -left_wh * 3600 / interval.length_s
    peak = interval.guard_peak or Reason("peak.contracted")
    over = Reason(
        "alarm.over_peak",
        {
            "over_w": over_w,
            "peak": peak,
            "limit_w": interval.peak_limit_w,
            "assumed": Reason("alarm.peak_assumed", {"unmeasured_s": interval.unknown_s})
            if not interval.proven_over
            else None,
        },
    )
    yield "peak-exceeded", Condition(left_wh < 0, over)
    if w is None:
        yield "peak-at-risk", Condition(None)
    else:
        held_w = interval.held_w(snapshot.utc_s)
        detail = Reason(
            "alarm.peak_risk", {"import_w": w, "peak": peak, "limit_w": interval.peak_limit_w, "held_w": held_w}
        )
        # an interval already lost is not at risk any more
        yield "peak-at-risk", Condition(left_wh >= 0 and w > held_w, detail)


def _battery(battery: Battery, config: DispatchConfig) -> Iterator[tuple[str, Condition]]:
    limits = next((b for b in config.batteries if b.id == battery.id), None)
    if limits is None:
        return
    soc, temp = battery.soc_pct.good, battery.temp_c.good
    yield f"soc-stands-still:{battery.id}", _stands_still(battery)
    yield (
        f"soc-low:{battery.id}",
        Condition(
            None if soc is None else soc <= limits.soc_min_pct + SOC_MARGIN_PCT,
            None
            if soc is None
            else counted(Reason("alarm.soc_low", {"soc_pct": soc, "limit_pct": limits.soc_min_pct}), (battery,)),
        ),
    )
    yield (
        f"battery-temperature:{battery.id}",
        Condition(
            None if temp is None else not limits.temp_min_c <= temp <= limits.temp_max_c,
            None
            if temp is None
            else Reason("alarm.temperature", {"temp_c": temp, "min_c": limits.temp_min_c, "max_c": limits.temp_max_c}),
        ),
    )


def _stands_still(battery: Battery) -> Condition:
    """The BMS reports an SoC that does not follow the energy moved."""
    reported_pct = battery.soc_reported_pct.value
    ends = [pct for r in (battery.soc_pct, battery.soc_high_pct) if (pct := r.value) is not None]
    if battery.soc_state != "stands_still" or reported_pct is None or not ends:
        return Condition(None if battery.soc_state in ("carried", "rejected") else False)
    counted_pct = max(ends, key=lambda pct: abs(pct - reported_pct))
    return Condition(True, Reason("alarm.soc_stands_still", {"reported_pct": reported_pct, "counted_pct": counted_pct}))


def _reserve(snapshot: Snapshot, config: DispatchConfig, island: IslandState) -> Condition:
    """Only while the grid is there: islanded, the reserve is being used for what it was kept."""
    if config.reserve_kwh <= 0 or island is IslandState.ISLANDED:
        return Condition(False)
    bank, reserve_pct = BatteryBank(config, snapshot), reserve_soc_pct(config)
    soc_pct, available_pct = bank.soc_pct, bank.available_pct
    if soc_pct is None or available_pct is None:
        return Condition(None)
    return Condition(
        available_pct < reserve_pct - SOC_MARGIN_PCT,
        Reason(
            "alarm.below_reserve",
            {"soc": counted(in_service(soc_pct, available_pct), bank.batteries), "reserve_pct": reserve_pct},
        ),
    )


def _pcs(pcs: Pcs, snapshot: Snapshot, decision: Decision | None, facts: Facts) -> Iterator[tuple[str, Condition]]:
    state, control = pcs.state.good, pcs.control.good
    reported = plain(", ".join(pcs.alarms)) if pcs.alarms else None
    yield f"pcs-fault:{pcs.id}", Condition(None if state is None else state == "fault", reported)
    yield f"pcs-local:{pcs.id}", Condition(None if control is None else control == "local")
    wanted = facts.written_w.get(pcs.id)
    if decision is not None and all(s.w is None for s in decision.setpoints if s.device_id == pcs.id):
        wanted = None  # nothing is asked of it now: what it held before runs out by itself
    yield f"setpoint-not-followed:{pcs.id}", _following(pcs, wanted, snapshot, facts.config)
    contested = next((c for c in decision.contested if c.device_id == pcs.id), None) if decision else None
    yield f"setpoint-mismatch:{pcs.id}", _contested(contested, decision) or _mismatch(pcs, wanted, facts.config)


def _node(node: Node, facts: Facts) -> Iterator[tuple[str, Condition]]:
    """A cap that is not followed; GPUs that do not answer; limits that a restart would not know."""
    cap_w, drawn_w = facts.node_caps_w.get(node.id), node.w.good
    if cap_w is None:
        yield f"cap-not-followed:{node.id}", Condition(False)
    elif drawn_w is None:
        yield f"cap-not-followed:{node.id}", Condition(None)
    else:
        over = Reason("alarm.over_cap", {"drawn_w": drawn_w, "cap_w": cap_w})
        yield f"cap-not-followed:{node.id}", Condition(exceeds(drawn_w, cap_w), over)
    missing = sum(gpu.w.value is None for gpu in node.gpus)
    silent = Reason("alarm.gpus_missing", {"missing": missing, "gpus": len(node.gpus), "note": node.note})
    yield f"gpus-missing:{node.id}", Condition(missing > 0, silent)
    why = facts.gpu_limits_not_kept.get(node.id, "")
    yield f"gpu-limits-not-kept:{node.id}", Condition(bool(why), plain(why) if why else None)


def _following(pcs: Pcs, wanted_w: float | None, snapshot: Snapshot, config: DispatchConfig) -> Condition:
    """Derating is no fault: where a reported limit is below the setpoint, the limit is what to follow."""
    rating = next((p for p in config.pcs if p.id == pcs.id), None)
    if wanted_w is None or rating is None or pcs.control.good == "local" or pcs.state.good == "throttled":
        return Condition(False)
    if pcs.w.good is None:
        return Condition(None)
    battery = next((b for b in snapshot.batteries if b.id == rating.battery), None)
    charge = [rating.charge_w, pcs.charge_limit_w.good, battery.charge_limit_w.good if battery else None]
    discharge = [rating.discharge_w, pcs.discharge_limit_w.good, battery.discharge_limit_w.good if battery else None]
    low = -min(limit for limit in charge if limit is not None)
    high = min(limit for limit in discharge if limit is not None)
    expected = min(max(wanted_w, low), high)
    tolerance = max(FOLLOW_W, FOLLOW_SHARE * max(rating.charge_w, rating.discharge_w))
    # limits reported at the battery lie a conversion loss away from AC power: all between 0 and the setpoint is fine
    derated = expected != wanted_w and min(0.0, wanted_w) - tolerance <= pcs.w.good <= max(0.0, wanted_w) + tolerance
    off = abs(pcs.w.good - expected) > tolerance and not derated
    return Condition(off, Reason("alarm.not_followed", {"setpoint_w": wanted_w, "measured_w": pcs.w.good}))


def _contested(contested: Contested | None, decision: Decision | None) -> Condition | None:
    """What the looks of the last seconds tell, though each overwriting may have been undone at once."""
    if contested is None or decision is None:
        return None
    asked_w = next((s.w for s in decision.setpoints if s.device_id == contested.device_id), None)
    if asked_w is None:
        return None
    return Condition(
        True,
        Reason(
            "alarm.contested",
            {"asked_w": asked_w, "held_w": contested.held_w, "share_pct": 100 * contested.share},
        ),
    )


def _mismatch(pcs: Pcs, wanted_w: float | None, config: DispatchConfig) -> Condition:
    rating = next((p for p in config.pcs if p.id == pcs.id), None)
    if wanted_w is None or rating is None or pcs.control.good == "local":
        return Condition(False)
    if pcs.setpoint_enabled.good == 0:
        return Condition(True, Reason("alarm.not_enabled", {"written_w": wanted_w}))
    held = pcs.setpoint_w.good
    if held is None:
        return Condition(None)
    return Condition(
        abs(held - wanted_w) > tolerance_w(config, pcs.id),
        Reason("alarm.holds_another", {"written_w": wanted_w, "held_w": held}),
    )


def _gateway(snapshot: Snapshot, facts: Facts) -> Iterator[tuple[str, Condition]]:
    """Plan, prices, loop, records, clock, savings."""
    yield from _plan(facts)
    yield from _prices(snapshot.utc_s, facts)
    overruns = facts.overruns_per_min
    yield (
        "tick-overruns",
        Condition(overruns >= OVERRUNS_PER_MIN, Reason("alarm.overruns", {"late_ticks": overruns})),
    )
    yield "records-lost", _records(facts)
    step_s = facts.clock_step_s
    yield "clock-stepped", Condition(abs(step_s) > CLOCK_STEP_S, Reason("alarm.clock_step", {"step_s": step_s}))
    saved = facts.month_saved_eur
    dearer = None if saved is None else Reason("alarm.dearer", {"more_eur": -saved})
    dropped = plain(facts.orders_dropped) if facts.orders_dropped else None
    yield "orders-dropped", Condition(dropped is not None, dropped)
    yield "battery-loses-money", Condition(saved is not None and saved < 0, dearer)


def _plan(facts: Facts) -> Iterator[tuple[str, Condition]]:
    plan = facts.config.plan
    wanted = plan.enabled and bool(facts.config.batteries)
    error = plain(facts.plan_error) if facts.plan_error else None
    yield "no-plan", Condition(wanted and facts.plan_age_s is None, error)
    if facts.plan_age_s is None:
        yield "plan-late", Condition(False)
        return
    age = Reason("alarm.plan_age", {"age_s": facts.plan_age_s})
    late = wanted and facts.plan_age_s > 3 * plan.period_s
    yield "plan-late", Condition(late, age if error is None else joined((age, error)))


def _prices(utc_s: float, facts: Facts) -> Iterator[tuple[str, Condition]]:
    end_s = facts.prices_end_utc_s
    left_s = None if end_s is None else end_s - utc_s
    ended = facts.prices_expected and (left_s is None or left_s <= 0 or not facts.price_now)
    yield "prices-ended", Condition(ended, Reason("alarm.no_prices") if left_s is None else None)
    soon = facts.prices_expected and left_s is not None and 0 < left_s < PRICES_SOON_S
    yield "prices-end-soon", Condition(soon, Reason("alarm.prices_left", {"left_s": left_s or 0.0}))
    first, *more = facts.price_file_error.splitlines() or [""]
    others = f"; and {len(more)} more" if more else ""
    yield "price-file", Condition(bool(first), plain(first + others) if first else None)


def _records(facts: Facts) -> Condition:
    lost = facts.records_dropped_per_min
    found = [plain(facts.records_error)] if facts.records_error else []
    found += [Reason("alarm.rows_dropped", {"rows": lost})] if lost else []
    return Condition(bool(found), joined(found) if found else None)


def _conflict(decision: Decision | None) -> Condition:
    """That a ramp or the plan gives way to earlier rules is how they are meant to work."""
    for trace in decision.chain if decision else ():
        if trace.unmet and trace.rule in MET_OR_ALARMED:
            return Condition(True, Reason("alarm.conflict", {"rule": trace.rule.value, "reason": trace.reason}))
    return Condition(False)
