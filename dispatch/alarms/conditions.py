"""Determines which alarm conditions hold, from snapshot, decision and a few facts.

The texts are in `dispatch/wording/english/alarms/`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from zoneinfo import ZoneInfo

from dispatch.alarms.balance_conditions import balance_conditions
from dispatch.alarms.contact_conditions import contact_conditions
from dispatch.alarms.device_conditions import (
    SOC_MARGIN_PCT,
    battery_conditions,
    energy_conditions,
    implausible_conditions,
    lost_conditions,
    missing_conditions,
    node_conditions,
    pcs_conditions,
    proof_conditions,
    pv_conditions,
    switch_condition,
)
from dispatch.alarms.facts import Facts
from dispatch.alarms.genset_conditions import genset_conditions
from dispatch.alarms.part_conditions import part_conditions
from dispatch.alarms.points import Condition, Conditions
from dispatch.alarms.ups_conditions import ups_conditions
from dispatch.config.battery_ratings import reserve_soc_pct
from dispatch.config.schema import DispatchConfig
from dispatch.model.battery_bank import BatteryBank, counted, in_service
from dispatch.model.decision import Decision
from dispatch.model.islanding import IslandState
from dispatch.model.metering_interval import Interval
from dispatch.model.readings import Reading
from dispatch.model.reasons import Reason, joined, plain
from dispatch.model.rule_chain import MET_OR_ALARMED
from dispatch.model.snapshot import Snapshot

PRICES_SOON_S = 6 * 3600.0  # tomorrow's prices come about 11 h before today's end: less than this and they are late
OVERRUNS_PER_MIN = 6
CLOCK_STEP_S = 1.0
OFF_GRID = (IslandState.ISLANDED, IslandState.SYNCHRONISING, IslandState.CLOSING)  # a meter on the bus shows no grid
VOLTAGE_LOST = 0.5  # of nominal: a phase below this carries no grid
DISAGREE_W, DISAGREE_SHARE = 3_000.0, 0.10  # of the load: what two meters of class 1, read at two moments, may differ


def conditions(snapshot: Snapshot, decision: Decision | None, facts: Facts) -> Conditions:
    """Which alarm conditions hold at this snapshot, by alarm id. `active` None where a missing reading hides it."""
    island = decision.island if decision else IslandState.UNKNOWN
    found = Conditions(lost_conditions(snapshot, facts.nodes_unread))
    found.update(_grid(snapshot, decision, facts, island))
    found.update(missing_conditions(snapshot, facts.config))
    found.update(implausible_conditions(snapshot, decision))
    for battery in snapshot.batteries:
        found.update(battery_conditions(battery, facts.config))
    found.update(energy_conditions(snapshot, decision))
    found["soc-below-reserve"] = _reserve(snapshot, facts.config, island)
    for device in snapshot.devices:
        if device.proof is not None:
            found.update(proof_conditions(device, snapshot.utc_s))
    for pcs in snapshot.pcs:
        found.update(pcs_conditions(pcs, snapshot, decision, facts))
    found.update(pv_conditions(snapshot, decision))
    for switch in snapshot.switches:
        found[f"switch-not-automatic:{switch.id}"] = switch_condition(switch)
    found.update(node_conditions(snapshot.nodes, facts))
    for contact in decision.contacts if decision else ():
        found.update(contact_conditions(contact))
    for ups in snapshot.ups:
        found.update(ups_conditions(ups))
    found.update(_gateway(snapshot, facts))
    found["rules-conflict"] = _conflict(decision)
    found.update(_island(decision))
    found.update(genset_conditions(snapshot, decision, facts.config))
    found.update(balance_conditions(facts.balance, facts.config, snapshot.utc_s))
    found["drill-due"] = Condition(facts.drill_due is not None, facts.drill_due)
    return found


def _grid(
    snapshot: Snapshot, decision: Decision | None, facts: Facts, island: IslandState
) -> Iterator[tuple[str, Condition]]:
    """What concerns the connection to the grid: its meter, voltage, fuse, peak."""
    yield "meter-stale", _meter(snapshot, decision)
    yield "meters-disagree", _meters(snapshot, decision)
    yield "grid-outage", _outage(snapshot, facts.config, island)
    yield "fuse-overload", _fuse(snapshot, facts.config)
    yield from _peak(snapshot, facts.interval, island)


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
    beyond_w = apart_w - allowed_w
    detail = Reason(
        "alarm.meters_apart",
        {"load_w": load_w, "balance_w": balance_w, "apart_w": apart_w, "allowed_w": allowed_w},
    )
    return Condition(beyond_w > 0, detail, beyond=beyond_w)


def _outage(snapshot: Snapshot, config: DispatchConfig, island: IslandState) -> Condition:
    """By the switch's voltage contact where there is one, else by the meter's voltages while it sits on the grid.

    A contact that says "present" does not end it while 0 V are measured on the grid's side of the switch.
    """
    switches = [s for s in snapshot.switches if s.grid_voltage.good is not None]
    lost_v = VOLTAGE_LOST * config.grid.voltage_v
    if not switches:
        volts = _good(snapshot.grid.v)
        if island in OFF_GRID or not volts:
            return Condition(None)
        return Condition(max(volts) < lost_v, Reason("alarm.lowest_phase", {"phase_v": min(volts)}))
    if any(s.grid_voltage.good == "absent" for s in switches):
        return Condition(True, Reason("alarm.switch_reports_no_voltage"))
    if any(max(volts) < lost_v for volts in _grid_side_volts(snapshot, config)):
        return Condition(None)
    back = Reason("alarm.grid_voltage_back", {"by": ", ".join(s.id for s in switches), "state": island.value})
    return Condition(False, returned=None if island is IslandState.GRID_TIED else back)


def _grid_side_volts(snapshot: Snapshot, config: DispatchConfig) -> list[list[float]]:
    """What each device measures on the grid's side of the switch."""
    found = [] if snapshot.grid.id in config.meters_on_bus else [_good(snapshot.grid.v)]
    found += [_good((s.grid_v,)) for s in snapshot.switches]
    return [volts for volts in found if volts]


def _good(readings: Iterable[Reading]) -> list[float]:
    return [value for r in readings if (value := r.good) is not None]


def _fuse(snapshot: Snapshot, config: DispatchConfig) -> Condition:
    amps = [a for a in (r.good for r in snapshot.grid.a) if a is not None]
    if amps:
        worst = max(abs(a) for a in amps)
        current = Reason("alarm.phase_current", {"phase_a": worst, "fuse_a": config.grid.fuse_a})
        return _over_fuse(worst / config.grid.fuse_a, current)
    w = snapshot.grid.w.good
    if w is None:
        return Condition(None)
    return _over_fuse(
        abs(w) / config.grid.fuse_w, Reason("alarm.fuse_power", {"import_w": w, "fuse_w": config.grid.fuse_w})
    )


def _over_fuse(share: float, detail: Reason) -> Condition:
    return Condition(share > 1, detail, beyond=100 * (share - 1))


def _peak(snapshot: Snapshot, interval: Interval | None, island: IslandState) -> Iterator[tuple[str, Condition]]:
    """On a generator nothing is imported that could raise the peak."""
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
    if island is IslandState.GENSET:
        yield "peak-at-risk", Condition(False)
    elif w is None:
        yield "peak-at-risk", Condition(None)
    else:
        held_w = interval.held_w(snapshot.utc_s)
        detail = Reason(
            "alarm.peak_risk", {"import_w": w, "peak": peak, "limit_w": interval.peak_limit_w, "held_w": held_w}
        )
        # an interval already lost is not at risk any more
        at_risk, over_in_s = left_wh >= 0 and w > held_w, left_wh * 3600 / w if w > 0 else None
        beyond_w = w - held_w if left_wh >= 0 else None
        yield "peak-at-risk", Condition(at_risk, detail, beyond=beyond_w, act_within_s=over_in_s)


def _reserve(snapshot: Snapshot, config: DispatchConfig, island: IslandState) -> Condition:
    """Only while the grid is there: islanded, the reserve is being used for what it was kept."""
    if config.reserve_kwh <= 0 or island is IslandState.ISLANDED:
        return Condition(False)
    bank, reserve_pct = BatteryBank(config, snapshot), reserve_soc_pct(config)
    soc_pct, available_pct = bank.soc_pct, bank.available_pct
    if soc_pct is None or available_pct is None:
        return Condition(None)
    beyond_pct = reserve_pct - SOC_MARGIN_PCT - available_pct
    return Condition(
        beyond_pct > 0,
        Reason(
            "alarm.below_reserve",
            {"soc": counted(in_service(soc_pct, available_pct), bank.batteries), "reserve_pct": reserve_pct},
        ),
        beyond=beyond_pct,
    )


def _told_as_text(facts: Facts) -> Iterator[tuple[str, Condition]]:
    """What is wrong with each scheduler, limit from outside and output; an empty text: nothing."""
    for alarm, texts in (
        ("queue-lost", facts.queue_errors),
        ("starts-not-kept", facts.starts_not_kept),
        ("start-limit-changed", facts.starts_changed),
        ("signal-silent", facts.senders_silent),
        ("limit-exceeded", facts.limits_exceeded),
        ("output-failed", facts.outputs_failed),
    ):
        for subject, text in texts.items():
            yield f"{alarm}:{subject}", Condition(bool(text), plain(text) if text else None)


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
    yield from _told_as_text(facts)
    yield from part_conditions(facts)
    yield "disk-full", Condition(bool(facts.ballast_missing), plain(facts.ballast_missing))
    yield "audit-changed", Condition(bool(facts.audit_changed), plain(facts.audit_changed))
    yield "access-limited", Condition(bool(facts.access_trouble), plain(facts.access_trouble))
    step_s = facts.clock_step_s
    yield "clock-stepped", Condition(abs(step_s) > CLOCK_STEP_S, Reason("alarm.clock_step", {"step_s": step_s}))
    yield "clock-not-known", Condition(not facts.clock.known, _machine_clock(facts))
    yield (
        "clock-not-synchronised",
        Condition(facts.clock.known and facts.clock.synchronised is False, Reason("alarm.clock_not_synchronised")),
    )
    saved = facts.month_saved_eur
    dearer = None if saved is None else Reason("alarm.dearer", {"more_eur": -saved})
    dropped = plain(facts.orders_dropped) if facts.orders_dropped else None
    yield "orders-dropped", Condition(dropped is not None, dropped)
    yield "battery-loses-money", Condition(saved is not None and saved < 0, dearer)


def _machine_clock(facts: Facts) -> Reason | None:
    """What the machine's clock says while the time is not known."""
    utc_s = facts.clock.machine_utc_s
    return None if utc_s is None else Reason("alarm.machine_clock", {"local": _local(utc_s, facts)})


def _local(utc_s: float, facts: Facts) -> str:
    return datetime.fromtimestamp(utc_s, ZoneInfo(facts.config.timezone)).isoformat()


def _plan(facts: Facts) -> Iterator[tuple[str, Condition]]:
    plan = facts.config.plan
    wanted = plan.enabled and bool(facts.config.batteries)
    error = facts.plan_error
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
    yield "price-feed", Condition(facts.prices_overdue is not None, facts.prices_overdue)
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
