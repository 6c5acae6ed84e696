"""The conditions under which a drill may start: each with its figure and with what would make it pass."""

from __future__ import annotations

import msgspec

from dispatch.config.battery_ratings import reserve_soc_pct, worst_efficiency
from dispatch.config.schema import BatteryConfig, DispatchConfig
from dispatch.islanding.grid_code import WindowResult
from dispatch.model.battery_bank import BatteryBank, counted
from dispatch.model.equipment import COUNTED, NOT_RUNNING, Switch
from dispatch.model.islanding import Check, IslandRequest, IslandState
from dispatch.model.orders import REASON_MIN
from dispatch.model.readings import MISSING, Quality
from dispatch.model.reasons import Reason, plain
from dispatch.model.snapshot import Snapshot

ENERGY_MARGIN = 1.2  # a drill must find this much more energy than it needs
RATING_SHARE = 0.85  # load may be this much of what the PCS can give when a drill begins
TEMP_MARGIN_K = 2  # a battery must be this far inside its temperature limits before a drill


def planned_pct(config: DispatchConfig, load_w: float, minutes: float) -> float:
    """Points of SoC that `load_w` takes in `minutes`."""
    if not config.batteries:
        return 0.0
    return 100 * max(load_w, 0.0) * minutes / 60 / (worst_efficiency(config).discharge * config.energy_kwh * 1000)


def floor_soc_pct(config: DispatchConfig) -> float:
    """SoC that a drill must leave: the site file's, else the reserve's."""
    own = config.island.drill_floor_pct
    return reserve_soc_pct(config) if own is None else own


def prechecks(
    config: DispatchConfig,
    snapshot: Snapshot,
    request: IslandRequest,
    state: IslandState,
    window: WindowResult,
    running: bool,
) -> tuple[Check, ...]:
    """Every condition for a drill, each with its figure and with what would make it pass."""
    found = _prechecks_of_request(config, request, state, running)
    found += _prechecks_of_switch(config, snapshot, window)
    found += _prechecks_of_pcs(config, snapshot)
    found += [_precheck_of_temperature(limits, snapshot) for limits in config.batteries]
    found += _prechecks_of_energy(config, snapshot, request)
    return tuple(c if not c.ok else msgspec.structs.replace(c, remedy=None) for c in found)


def contact_check(stopped: Reason | None) -> Check:
    """That no protective contact is active or latched."""
    figure = Reason("found.none") if stopped is None else stopped
    return Check(
        Reason("check.contacts"), stopped is None, figure, None if stopped is None else Reason("remedy.contacts")
    )


def _prechecks_of_request(
    config: DispatchConfig, request: IslandRequest, state: IslandState, running: bool
) -> list[Check]:
    most = config.island.drill_minutes_max
    return [
        Check(
            Reason("check.reason"),
            len(request.reason.strip()) >= REASON_MIN,
            plain(request.reason.strip()) if request.reason.strip() else Reason("found.none"),
            Reason("remedy.reason", {"least": REASON_MIN}),
        ),
        Check(
            Reason("check.duration"),
            0 < request.minutes <= most,
            Reason("found.minutes", {"drill_min": request.minutes, "most_min": most}),
            Reason("remedy.duration"),
        ),
        Check(
            Reason("check.no_other_drill"),
            not running,
            Reason("found.one_running") if running else Reason("found.none"),
            Reason("remedy.no_other_drill"),
        ),
        Check(
            Reason("check.grid_tied"),
            state is IslandState.GRID_TIED,
            Reason("found.state", {"state": state.value}),
            Reason("remedy.grid_tied"),
        ),
        Check(
            Reason("check.alarms"),
            not request.alarms,
            Reason("found.alarms", {"alarms": [Reason("found.alarm", {"alarm": id}) for id in request.alarms]})
            if request.alarms
            else Reason("found.no_alarm"),
            Reason("remedy.alarms"),
        ),
    ]


def _prechecks_of_switch(config: DispatchConfig, snapshot: Snapshot, window: WindowResult) -> list[Check]:
    switch = switch_of(config, snapshot)
    if switch is None:
        return [Check(Reason("check.switch"), False, Reason("found.no_switch"), Reason("remedy.no_switch"))]
    position, import_w = switch.position.good, snapshot.grid.w.good
    reads = Reason("found.switch", {"switch": switch.id, "position": position or Reason("found.not_read")})
    return [
        Check(Reason("check.switch"), position == "closed", reads, Reason("remedy.switch")),
        Check(
            Reason("check.switch_control"),
            switch.takes_orders,
            *_control_of(switch),
        ),
        Check(Reason("check.grid"), window.ok is True, window.figures, Reason("remedy.grid")),
        Check(
            Reason("check.import"),
            import_w is not None,
            Reason("found.not_read") if import_w is None else Reason("found.power", {"found_w": import_w}),
            Reason("remedy.import", {"meter": snapshot.grid.id}),
        ),
    ]


def _control_of(switch: Switch) -> tuple[Reason, Reason]:
    """What was found of the switch's control, and what would make it take orders."""
    if not switch.orders_in:
        return Reason("found.only_watched"), Reason("remedy.only_watched")
    found = Reason("found.control", {"control": switch.control.good or Reason("found.not_read")})
    if switch.rests_in:
        return found, Reason("remedy.switch_automatic", {"rests_in": switch.rests_in})
    return found, Reason("remedy.switch_control")


def _prechecks_of_pcs(config: DispatchConfig, snapshot: Snapshot) -> list[Check]:
    if not config.pcs:
        return [Check(Reason("check.no_pcs"), False, Reason("found.none_declared"), Reason("remedy.no_pcs"))]
    return [_precheck_of_pcs(ratings.id, snapshot) for ratings in config.pcs]


def _precheck_of_pcs(pcs_id: str, snapshot: Snapshot) -> Check:
    pcs = next((p for p in snapshot.pcs if p.id == pcs_id), None)
    state, control = (None, None) if pcs is None else (pcs.state.good, pcs.control.good)
    untold = pcs is not None and pcs.control.quality is Quality.MISSING  # many a device does not tell who controls it
    ok = state is not None and state not in NOT_RUNNING and (control == "remote" or untold)
    unread = Reason("found.not_read")
    by = Reason("found.not_told") if untold else control or unread
    figure = Reason("found.pcs", {"pcs": pcs_id, "state": state or unread, "control": by})
    return Check(Reason("check.pcs", {"pcs": pcs_id}), ok, figure, Reason("remedy.pcs"))


def _precheck_of_temperature(limits: BatteryConfig, snapshot: Snapshot) -> Check:
    battery = next((b for b in snapshot.batteries if b.id == limits.id), None)
    reading = MISSING if battery is None else battery.temp_c
    low_c, high_c = limits.temp_min_c + TEMP_MARGIN_K, limits.temp_max_c - TEMP_MARGIN_K
    if reading.quality is Quality.MISSING:  # many a BMS gives none; its own limits are all there is then
        ok, figure = battery is not None, Reason("found.temperature_by_bms")
    elif reading.good is None:
        ok, figure = False, Reason("found.not_read_now")
    else:
        ok, figure = low_c <= reading.good <= high_c, Reason("found.temperature", {"temp_c": reading.good})
    remedy = Reason("remedy.temperature", {"low_c": low_c, "high_c": high_c, "margin_k": TEMP_MARGIN_K})
    return Check(Reason("check.temperature", {"battery": limits.id}), ok, figure, remedy)


def _prechecks_of_energy(config: DispatchConfig, snapshot: Snapshot, request: IslandRequest) -> list[Check]:
    bank = BatteryBank(config, snapshot)
    load_w, soc_pct, most_w = snapshot.load_w, bank.soc_pct, bank.discharge_w
    doubted = [b for b in bank.batteries if b.soc_state in COUNTED]
    if doubted:
        stored = (
            Reason("found.not_known", {"missing": [Reason("quantity.soc")]})
            if soc_pct is None
            else Reason("soc.stored", {"soc_pct": soc_pct})
        )
        return [Check(Reason("check.soc"), False, counted(stored, doubted), Reason("remedy.soc_must_follow"))]
    if load_w is None or soc_pct is None or most_w is None:
        unknown_load = Reason("quantity.load") if snapshot.net_load_w is None else Reason("quantity.pv")
        needed = (
            (unknown_load, load_w),
            (Reason("quantity.soc"), soc_pct),
            (Reason("quantity.discharge_limits"), most_w),
        )
        missing = Reason("found.not_known", {"missing": [what for what, value in needed if value is None]})
        return [Check(Reason("check.energy_and_rating"), False, missing, Reason("remedy.all_must_answer"))]
    need_pct = ENERGY_MARGIN * planned_pct(config, load_w, request.minutes)
    floor_pct = floor_soc_pct(config)
    spare_pct = soc_pct - floor_pct
    possible = request.minutes * spare_pct / need_pct if need_pct > 0 else request.minutes
    enough_pct = floor_pct + need_pct
    return [
        Check(
            Reason("check.energy"),
            spare_pct >= need_pct,
            Reason(
                "found.energy",
                {
                    "soc_pct": soc_pct,
                    "load_w": load_w,
                    "drill_min": request.minutes,
                    "need_pct": need_pct,
                    "floor_pct": floor_pct,
                },
            ),
            Reason("remedy.charge_or_shorter", {"enough_pct": enough_pct, "possible_min": possible})
            if possible >= 1
            else Reason("remedy.charge", {"enough_pct": enough_pct}),
        ),
        Check(
            Reason("check.rating"),
            load_w <= RATING_SHARE * most_w,
            Reason("found.rating", {"load_w": load_w, "most_w": most_w}),
            Reason("remedy.rating", {"below_w": RATING_SHARE * most_w}),
        ),
    ]


def failing(check: Check) -> Reason:
    """A check that does not hold, with its figure and its remedy."""
    return Reason("check.failing", {"name": check.name, "figure": check.figure, "remedy": check.remedy})


def switch_of(config: DispatchConfig, snapshot: Snapshot) -> Switch | None:
    """The switch that may be asked, as read; None on a site without one."""
    return next((s for s in snapshot.switches if s.id == config.switch_id), None)
