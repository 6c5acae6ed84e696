"""The words and protective readings of each device: switch, PCS, battery."""

from __future__ import annotations

import msgspec

from dispatch.config.schema import DispatchConfig
from dispatch.model.equipment import BATTERY_TRIPPED, NOT_RUNNING, Battery, Pcs, Switch
from dispatch.model.readings import MISSING, Reading
from dispatch.model.snapshot import Snapshot
from dispatch.plausibility.bounded_readings import BusFigures, RangeCheck
from dispatch.plausibility.bounds import SiteBounds
from dispatch.plausibility.protective_limits import LimitCheck, TemperatureCheck
from dispatch.plausibility.reading_history import ReadingHistory, SampleCounter, figures_of
from dispatch.plausibility.state_words import CONTRADICTED_S, WordCheck

LIVE = 0.8  # of nominal: a bus with this voltage is live
FALLBACK_W = 1_000_000.0  # for a device that the site file does not name


def all_follow(raw: Snapshot, nominal_v: float) -> bool:
    """Every PCS measures a live bus and says that it is connected to it and follows it."""
    return bool(raw.pcs) and all(
        p.mode.good == "grid_following"
        and p.connection.good == "connected"
        and p.state.good not in NOT_RUNNING
        and p.v.good is not None
        and p.v.good >= LIVE * nominal_v
        for p in raw.pcs
    )


class SwitchStates:
    """Contacts, grid voltage and source of one switch."""

    def __init__(self, switch_id: str, bounds: SiteBounds, hold_s: float) -> None:
        self._nominal_v, self._volts, self._hold_s = bounds.nominal_v, bounds.volts(), hold_s
        self._grid_side = BusFigures(switch_id, bounds, "grid ")
        self._counter = SampleCounter()
        self._dead_since_s: float | None = None  # since when its voltage says that the grid is gone
        self._position = WordCheck(switch_id, "position", lambda word: word == "closed")
        self._grid = WordCheck(switch_id, "grid voltage", lambda word: word == "present")
        self._source = WordCheck(switch_id, "source", self._source_widens)
        self._unchanged = False  # but for the source, everything is as on the grid

    @property
    def histories(self) -> list[ReadingHistory]:
        """Every word that is followed."""
        return [self._position.history, self._grid.history, self._source.history, *self._grid_side.histories]

    @property
    def held_back(self) -> bool:
        """It says that the site is off the grid, and other devices contradict it."""
        return self._position.held_back or self._grid.held_back or self._source.held_back

    def _source_widens(self, word: str) -> bool:
        """The grid allows the most, a generator less, no source the least.

        A generator that takes the site over from a grid that is still there, unnoticed by any PCS, is to say so twice.
        """
        return word == "grid" or (word == "genset" and (self._source.word == "none" or self._unchanged))

    def check(self, switch: Switch, raw: Snapshot) -> Switch:
        """The switch as everybody else is to see it."""
        mono_s = raw.mono_s
        follow = all_follow(raw, self._nominal_v)
        sample = self._counter.update(figures_of(switch), mono_s)
        gone, off = switch.grid_voltage.good == "absent", switch.position.good != "closed"
        genset, none = switch.source.good == "genset", switch.source.good == "none"
        grid_dead = gone or (switch.grid_v.good is not None and not self._live(switch.grid_v))
        self._unchanged = follow and self._source.word == "grid" and not grid_dead
        shown = follow and genset and not self._unchanged
        self._source.check(switch.source, sample, mono_s, shown=shown, against=follow and none)
        on_genset = genset and self._source.word == "genset"
        follow_grid = follow and not on_genset  # on a generator they follow a live bus as well
        self._position.check(switch.position, sample, mono_s, shown=follow_grid, against=follow_grid and off)
        live = any(self._live(v) for v in (switch.grid_v, *raw.grid.v))
        self._grid.check(switch.grid_voltage, sample, mono_s, shown=False, against=follow_grid and live and gone)
        grid_v, grid_hz = self._grid_side.check(
            switch.grid_v,
            switch.grid_hz,
            mono_s,
            self._hold_s,
            refused=self._reads_dead(switch, mono_s, contradicted=follow_grid and live),
        )
        return msgspec.structs.replace(
            switch,
            position=self._position.shown(switch.position, mono_s),
            grid_voltage=self._grid.shown(switch.grid_voltage, mono_s),
            source=self._source.shown(switch.source, mono_s),
            grid_v=grid_v,
            grid_hz=grid_hz,
        )

    def _reads_dead(self, switch: Switch, mono_s: float, contradicted: bool) -> bool:
        """Its voltage says that the grid is gone, others that it is there: not believed for CONTRADICTED_S."""
        if not contradicted or switch.grid_v.good is None or self._live(switch.grid_v):
            self._dead_since_s = None
            return False
        if self._dead_since_s is None:
            self._dead_since_s = mono_s
        return mono_s - self._dead_since_s < CONTRADICTED_S

    def _live(self, v: Reading) -> bool:
        return v.good is not None and v.good >= LIVE * self._nominal_v and self._volts.holds(v.good)


class PcsStates:
    """State, connection, mode, limits, voltage, frequency and held setpoint of one PCS."""

    def __init__(self, config: DispatchConfig, bounds: SiteBounds, pcs_id: str) -> None:
        self._hold_s = config.rules.meter_lost_hold_s
        self._bus = BusFigures(pcs_id, bounds)
        allowed = bounds.pcs_w(pcs_id, forming=True)
        self._setpoint = None if allowed is None else RangeCheck(pcs_id, "setpoint as read back", "W", allowed)
        rated = next((p for p in config.able_pcs if p.id == pcs_id), None)
        charge_w, discharge_w = (rated.charge_w, rated.discharge_w) if rated else (FALLBACK_W, FALLBACK_W)
        self._counter = SampleCounter()
        self._state = WordCheck(pcs_id, "state", lambda word: word not in NOT_RUNNING)
        self._connection = WordCheck(pcs_id, "connection", lambda word: word == "connected")
        self._mode = WordCheck(pcs_id, "mode", lambda word: word == "grid_following")
        self._control = WordCheck(pcs_id, "control", lambda word: word == "remote")
        self._charge = LimitCheck(pcs_id, "charge limit", charge_w, f"[[pcs]] {pcs_id}: charge_w")
        self._discharge = LimitCheck(pcs_id, "discharge limit", discharge_w, f"[[pcs]] {pcs_id}: discharge_w")

    @property
    def histories(self) -> list[ReadingHistory]:
        """Every word and limit that is followed."""
        checks = (self._state, self._connection, self._mode, self._control, self._charge, self._discharge)
        setpoint = [] if self._setpoint is None else [self._setpoint.history]
        return [*(c.history for c in checks), *self._bus.histories, *setpoint]

    @property
    def held_back(self) -> bool:
        """It says that it forms a grid, and the switch contradicts it."""
        return self._mode.held_back

    def check(self, pcs: Pcs, raw: Snapshot) -> Pcs:
        """The PCS as everybody else is to see it; its power is checked elsewhere."""
        mono_s, figures = raw.mono_s, figures_of(pcs)
        sample = self._counter.update(figures, mono_s)
        closed = bool(raw.switches) and all(
            s.position.good == "closed" and s.grid_voltage.good == "present" for s in raw.switches
        )
        follows = closed and pcs.mode.good == "grid_following"
        alone = pcs.mode.good == "grid_forming" and pcs.connection.good == "connected"  # nothing else says so
        self._state.check(pcs.state, sample, mono_s, shown=False, against=False)
        self._connection.check(pcs.connection, sample, mono_s, shown=follows, against=False)
        self._mode.check(pcs.mode, sample, mono_s, shown=closed, against=closed and alone)
        self._control.check(pcs.control, sample, mono_s, shown=False, against=False)
        v, hz = self._bus.check(pcs.v, pcs.hz, mono_s, self._hold_s)
        held = pcs.setpoint_w
        return msgspec.structs.replace(
            pcs,
            v=v,
            hz=hz,
            setpoint_w=held if self._setpoint is None else self._setpoint.check(held, mono_s, self._hold_s),
            state=self._state.shown_once_doubted(pcs.state, mono_s),
            connection=self._connection.shown(pcs.connection, mono_s),
            mode=self._mode.shown(pcs.mode, mono_s),
            control=self._control.shown(pcs.control, mono_s),
            charge_limit_w=self._charge.check(pcs.charge_limit_w, figures, mono_s),
            discharge_limit_w=self._discharge.check(pcs.discharge_limit_w, figures, mono_s),
        )


class BatteryProtection:
    """State, limits and temperature of one battery; its SoC is checked where it is used up."""

    def __init__(self, config: DispatchConfig, battery_id: str) -> None:
        terms = next((b for b in config.batteries if b.id == battery_id), None)
        rated = [p for p in config.able_pcs if p.battery == battery_id]
        charge_w = sum(p.charge_w for p in rated) or FALLBACK_W
        discharge_w = sum(p.discharge_w for p in rated) or FALLBACK_W
        keys = f"[[pcs]] of {battery_id}"
        self._counter = SampleCounter()
        self._state = WordCheck(battery_id, "state", lambda word: word not in BATTERY_TRIPPED)
        self._contactor = WordCheck(battery_id, "contactor", lambda word: word != "open")
        self._isolation = WordCheck(battery_id, "isolation", lambda word: word != "fault")
        self._charge = LimitCheck(battery_id, "charge limit", charge_w, f"{keys}: charge_w")
        self._discharge = LimitCheck(battery_id, "discharge limit", discharge_w, f"{keys}: discharge_w")
        low_c, high_c = (terms.temp_min_c, terms.temp_max_c) if terms else (0.0, 45.0)
        self._temperature = TemperatureCheck(battery_id, low_c, high_c)
        self._coldest = TemperatureCheck(battery_id, low_c, high_c, "lowest cell temperature")
        self._warmest = TemperatureCheck(battery_id, low_c, high_c, "highest cell temperature")

    @property
    def histories(self) -> list[ReadingHistory]:
        """Every word and reading that is followed."""
        return [
            *(c.history for c in (self._state, self._contactor, self._isolation)),
            *(c.history for c in (self._charge, self._discharge)),
            *(c.history for c in (self._temperature, self._coldest, self._warmest)),
        ]

    def check(self, battery: Battery, mono_s: float) -> Battery:
        """The battery as everybody else is to see it."""
        figures = figures_of(battery)
        sample = self._counter.update(figures, mono_s)
        words = (
            (self._state, battery.state),
            (self._contactor, battery.contactor),
            (self._isolation, battery.isolation),
        )
        for check, said in words:
            check.check(said, sample, mono_s, shown=False, against=False)
        charge_w = self._charge.check(battery.charge_limit_w, figures, mono_s)
        discharge_w = self._discharge.check(battery.discharge_limit_w, figures, mono_s)
        return msgspec.structs.replace(
            battery,
            state=self._state.shown_once_doubted(battery.state, mono_s),
            charge_limit_w=charge_w,
            discharge_limit_w=discharge_w,
            charge_limit_a=_of(battery.charge_limit_a, charge_w, battery.charge_limit_w),
            discharge_limit_a=_of(battery.discharge_limit_a, discharge_w, battery.discharge_limit_w),
            contactor=self._contactor.shown_once_doubted(battery.contactor, mono_s),
            isolation=self._isolation.shown(battery.isolation, mono_s),
            temp_c=self._temperature.check(battery.temp_c, figures, mono_s),
            cell_temp_min_c=self._coldest.check(battery.cell_temp_min_c, figures, mono_s),
            cell_temp_max_c=self._warmest.check(battery.cell_temp_max_c, figures, mono_s),
        )


def _of(amps: Reading, in_force: Reading, told: Reading) -> Reading:
    """The limit in amperes, as long as the limit in force is the one that comes of it."""
    return amps if in_force.value == told.value else MISSING
