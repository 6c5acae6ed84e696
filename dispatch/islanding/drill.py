"""Runs a drill: pre-checks, stop criteria while off the grid, and the report."""

from __future__ import annotations

from typing import Literal

import msgspec

from dispatch.config.battery_ratings import reserve_soc_pct, worst_efficiency
from dispatch.config.schema import BatteryConfig, DispatchConfig
from dispatch.islanding.grid_code import WindowResult
from dispatch.model.battery_bank import BatteryBank, counted
from dispatch.model.equipment import COUNTED, NOT_RUNNING, Switch
from dispatch.model.islanding import Check, DrillReport, DrillStatus, IslandRequest, IslandState
from dispatch.model.orders import REASON_MIN
from dispatch.model.readings import MISSING, Quality, total
from dispatch.model.reasons import Reason, plain
from dispatch.model.snapshot import Snapshot

ENERGY_MARGIN = 1.2  # a drill must find this much more energy than it needs
RATING_SHARE = 0.85  # load may be this much of what the PCS can give when a drill begins,
RATING_STOP = 0.95  # and this much while it runs
FALL_FACTOR, FALL_PCT = 1.5, 1.0  # SoC may fall this much faster than planned, plus one point
BUS_V_PCT, BUS_HZ = (90.0, 110.0), (47.5, 52.0)  # EN 50160 for the voltage; PV curtailment needs the upper frequencies
BLIND_S = 5.0  # readings may be missing for so long
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
    position, control, import_w = switch.position.good, switch.control.good, snapshot.grid.w.good
    reads = Reason("found.switch", {"switch": switch.id, "position": position or Reason("found.not_read")})
    return [
        Check(Reason("check.switch"), position == "closed", reads, Reason("remedy.switch")),
        Check(
            Reason("check.switch_control"),
            control == "remote",
            Reason("found.control", {"control": control or Reason("found.not_read")}),
            Reason("remedy.switch_control"),
        ),
        Check(Reason("check.grid"), window.ok is True, window.figures, Reason("remedy.grid")),
        Check(
            Reason("check.import"),
            import_w is not None,
            Reason("found.not_read") if import_w is None else Reason("found.power", {"found_w": import_w}),
            Reason("remedy.import", {"meter": snapshot.grid.id}),
        ),
    ]


def _prechecks_of_pcs(config: DispatchConfig, snapshot: Snapshot) -> list[Check]:
    if not config.pcs:
        return [Check(Reason("check.no_pcs"), False, Reason("found.none_declared"), Reason("remedy.no_pcs"))]
    return [_precheck_of_pcs(ratings.id, snapshot) for ratings in config.pcs]


def _precheck_of_pcs(pcs_id: str, snapshot: Snapshot) -> Check:
    pcs = next((p for p in snapshot.pcs if p.id == pcs_id), None)
    state, control = (None, None) if pcs is None else (pcs.state.good, pcs.control.good)
    ok = state is not None and state not in NOT_RUNNING and control == "remote"
    unread = Reason("found.not_read")
    figure = Reason("found.pcs", {"pcs": pcs_id, "state": state or unread, "control": control or unread})
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


class Drill:
    """One drill from its start to its report. The state machine changes its phase; this class observes and records."""

    def __init__(
        self, config: DispatchConfig, request: IslandRequest, checks: tuple[Check, ...], snapshot: Snapshot
    ) -> None:
        self._config, self.request, self.checks = config, request, checks
        self.started_utc_s = snapshot.utc_s
        self.phase = "preparing"
        self.failure: Reason | None = None  # why it ends early, None while all is well
        self.aborted = False
        self._aborted_by: Reason | None = None
        self.held_until_s: float | None = None  # mono
        self.criteria: tuple[Check, ...] = ()
        self._failed: dict[Reason, Check] = {}
        self._timeline: list[tuple[float, Reason]] = []
        self._soc_from: tuple[float, float] | None = None  # mono, %
        self._soc_track: list[tuple[float, float]] = []
        self._v: list[float] = []
        self._hz: list[float] = []
        self._wh = self._islanded_s = 0.0
        self._last_mono_s: float | None = None
        self._blind_since_s: float | None = None
        switch = switch_of(config, snapshot)
        self._transfer_ms = switch.transfer_ms.good if switch is not None else None
        self._gap: Reason | None = None
        self._load_w = snapshot.load_w or 0.0
        self._asleep = frozenset(pv.id for pv in snapshot.pv if pv.asleep)  # silent at the start, and no loss

    @property
    def holding(self) -> bool:
        """Whether the site is to stay islanded."""
        return self.phase == "hold"

    def note(self, utc_s: float, what: Reason) -> None:
        """One line of the timeline."""
        self._timeline.append((utc_s, what))

    def start_hold(self, snapshot: Snapshot) -> None:
        """The switch is open and a PCS forms: the time runs."""
        self.phase = "hold"
        self.held_until_s = snapshot.mono_s + 60 * self.request.minutes
        switch = switch_of(self._config, snapshot)
        ms = switch.transfer_ms.good if switch is not None else None
        new = ms is not None and ms != self._transfer_ms
        self._gap = Reason("gap.recorded", {"transfer_ms": ms}) if new else Reason("gap.below_resolution")

    def update(self, snapshot: Snapshot, islanded: bool) -> None:
        """Take in a tick: extremes, energy, SoC, and the criteria that stop the drill."""
        dt_s = 0.0 if self._last_mono_s is None else snapshot.mono_s - self._last_mono_s
        self._last_mono_s = snapshot.mono_s
        soc_pct = BatteryBank(self._config, snapshot).soc_pct
        if soc_pct is not None and (not self._soc_track or snapshot.utc_s - self._soc_track[-1][0] >= 60):
            self._soc_track.append((snapshot.utc_s, soc_pct))
        if not islanded:
            return
        if self._soc_from is None and soc_pct is not None:
            self._soc_from = (snapshot.mono_s, soc_pct)
        self._islanded_s += dt_s
        self._wh += (snapshot.pcs_w or 0.0) * dt_s / 3600
        self._v = _extremes([*self._v, *_bus_volts(snapshot)])
        self._hz = _extremes([*self._hz, *_bus_hertz(snapshot)])
        self.criteria = tuple(self._judge(snapshot, soc_pct))
        for check in self.criteria:
            if not check.ok:
                self._failed.setdefault(check.name, check)
                self.failure = self.failure or Reason("drill.criterion", {"name": check.name, "figure": check.figure})

    def _judge(self, snapshot: Snapshot, soc_pct: float | None) -> list[Check]:
        """The criteria that stop a drill, as far as they can be judged now."""
        most_w = BatteryBank(self._config, snapshot).discharge_w
        found = [self._communication_check(snapshot, soc_pct, most_w)]
        found += self._temperature_checks(snapshot)
        found += self._bus_checks(snapshot)
        if most_w is not None and snapshot.pcs_w is not None:
            figure = Reason("found.power_of", {"given_w": snapshot.pcs_w, "most_w": most_w})
            found.append(Check(Reason("check.load_in_rating"), snapshot.pcs_w <= RATING_STOP * most_w, figure))
        if soc_pct is not None and self._soc_from is not None:
            found += self._soc_checks(snapshot.mono_s, soc_pct)
        return found

    def _communication_check(self, snapshot: Snapshot, soc_pct: float | None, most_w: float | None) -> Check:
        """Whether all that the other criteria need has been read of late."""
        switch = switch_of(self._config, snapshot)
        position = None if switch is None else switch.position.good
        pv_w = total(pv.w for pv in snapshot.pv if pv.id not in self._asleep)
        needed = (position, snapshot.pcs_w, pv_w, soc_pct, most_w)
        if None not in needed:
            self._blind_since_s = None
            return Check(Reason("check.communication"), True, Reason("found.all_read"))
        if self._blind_since_s is None:
            self._blind_since_s = snapshot.mono_s
        blind_s = snapshot.mono_s - self._blind_since_s
        return Check(
            Reason("check.communication"), blind_s <= BLIND_S, Reason("found.unread_for", {"unread_s": blind_s})
        )

    def _temperature_checks(self, snapshot: Snapshot) -> list[Check]:
        limits = {b.id: b for b in self._config.batteries}
        read = {b.id: b.temp_c.good for b in snapshot.batteries}
        return [
            Check(
                Reason("check.temperature", {"battery": name}),
                of.temp_min_c <= temp_c <= of.temp_max_c,
                Reason("found.temperature", {"temp_c": temp_c}),
            )
            for name, of in limits.items()
            if (temp_c := read.get(name)) is not None
        ]

    def _bus_checks(self, snapshot: Snapshot) -> list[Check]:
        found = []
        for v in _bus_volts(snapshot):
            inside = BUS_V_PCT[0] <= 100 * v / self._config.grid.voltage_v <= BUS_V_PCT[1]
            found.append(Check(Reason("check.bus_voltage"), inside, Reason("found.bus_voltage", {"bus_v": v})))
        for hz in _bus_hertz(snapshot):
            figure = Reason("found.bus_frequency", {"bus_hz": hz})
            found.append(Check(Reason("check.bus_frequency"), BUS_HZ[0] <= hz <= BUS_HZ[1], figure))
        return found

    def _soc_checks(self, mono_s: float, soc_pct: float) -> list[Check]:
        assert self._soc_from is not None
        from_s, from_pct = self._soc_from
        planned = planned_pct(self._config, self._load_w, (mono_s - from_s) / 60)
        lowest_pct = from_pct - FALL_FACTOR * planned - FALL_PCT
        floor_pct = floor_soc_pct(self._config) - 1
        return [
            Check(
                Reason("check.soc_as_planned"),
                soc_pct >= lowest_pct,
                Reason("found.soc_planned", {"soc_pct": soc_pct, "planned_pct": from_pct - planned}),
            ),
            Check(
                Reason("check.soc_above_floor"),
                soc_pct >= floor_pct,
                Reason("found.soc_floor", {"soc_pct": soc_pct, "floor_pct": floor_pct}),
            ),
        ]

    def status(self, mono_s: float) -> DrillStatus:
        """For the console."""
        left_s = None
        if self.held_until_s is not None and self.holding:
            left_s = max(self.held_until_s - mono_s, 0.0)
        r = self.request
        return DrillStatus(
            who=r.who,
            reason=r.reason,
            minutes=r.minutes,
            phase=self.phase,
            started_utc_s=self.started_utc_s,
            hold_left_s=left_s,
            criteria=self.criteria,
            v_min=min(self._v, default=None),
            v_max=max(self._v, default=None),
            hz_min=min(self._hz, default=None),
            hz_max=max(self._hz, default=None),
            checks=self.checks,
            transfer_gap=self._gap,
        )

    def abort(self, request: IslandRequest) -> None:
        """Somebody wants it to end; the first who does is named in the report."""
        if not self.aborted:
            self._aborted_by = (
                Reason("drill.aborted_why", {"who": request.who, "reason": request.reason})
                if request.reason
                else Reason("drill.aborted_by", {"who": request.who})
            )
        self.aborted = True

    def interrupt(self, why: Reason) -> None:
        """End a drill that cannot be completed: it counts as failed, for this reason unless it had failed before."""
        self.failure = self.failure or why

    def report(self, utc_s: float) -> DrillReport:
        """What it showed. Passed only when it held its time and came back with no criterion broken."""
        result: Literal["passed", "aborted", "failed"] = "passed"
        if self.failure:
            result = "failed"
        elif self.aborted:
            result = "aborted"
        met = {c.name: c for c in self.criteria} | self._failed
        r = self.request
        return DrillReport(
            who=r.who,
            reason=r.reason,
            minutes=r.minutes,
            started_utc_s=self.started_utc_s,
            ended_utc_s=utc_s,
            result=result,
            why=self.failure or self._aborted_by or Reason("drill.passed"),
            timeline=tuple(self._timeline),
            checks=self.checks,
            criteria=tuple(met.values()),
            transfer_gap=self._gap or Reason("gap.none"),
            islanded_s=self._islanded_s,
            v_min=min(self._v, default=None),
            v_max=max(self._v, default=None),
            hz_min=min(self._hz, default=None),
            hz_max=max(self._hz, default=None),
            battery_wh=self._wh,
            soc_track=tuple(self._soc_track),
        )


def _bus_volts(snapshot: Snapshot) -> list[float]:
    """Voltages that the PCS measure at their terminals."""
    return [v for p in snapshot.pcs if (v := p.v.good) is not None]


def _bus_hertz(snapshot: Snapshot) -> list[float]:
    """Frequencies that the PCS measure."""
    return [hz for p in snapshot.pcs if (hz := p.hz.good) is not None]


def _extremes(values: list[float]) -> list[float]:
    """The lowest and the highest; empty without any."""
    return [min(values), max(values)] if values else []
