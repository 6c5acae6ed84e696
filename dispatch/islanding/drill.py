"""Observes a drill: the criteria that stop it while the site is off the grid, and the report."""

from __future__ import annotations

from typing import Literal

from dispatch.config.schema import DispatchConfig
from dispatch.islanding.drill_prechecks import floor_soc_pct, planned_pct, switch_of
from dispatch.model.battery_bank import BatteryBank
from dispatch.model.islanding import Check, DrillReport, DrillStatus, IslandRequest
from dispatch.model.readings import total
from dispatch.model.reasons import Reason
from dispatch.model.snapshot import Snapshot

RATING_STOP = 0.95  # load may be this much of what the PCS can give while a drill runs
FALL_FACTOR, FALL_PCT = 1.5, 1.0  # SoC may fall this much faster than planned, plus one point
BUS_V_PCT, BUS_HZ = (90.0, 110.0), (47.5, 52.0)  # EN 50160 for the voltage; PV curtailment needs the upper frequencies
BLIND_S = 5.0  # readings may be missing for so long


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

    @property
    def ending(self) -> bool:
        """Somebody or something has ended it."""
        return self.aborted or self.failure is not None

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
