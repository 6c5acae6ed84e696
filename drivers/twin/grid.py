"""Simulates the grid connection: voltage and frequency with small seeded variations, and the switch at the PCC."""

from __future__ import annotations

import enum
import math
import random
from collections.abc import Callable

from drivers.twin.grid_record import Row

IMPEDANCE_OHM = 0.03  # per phase, of the connection as a whole: voltage falls a little with import
OPERATING_S = 0.08  # mechanism, open to closed and back
SYNCHRO_CHECK_S = 2.0  # voltage on both sides compared before it closes
START_DEG, SLEW_DEG_PER_S, STEP_DEG = 90.0, 15.0, 5.0  # phase of an island that drifted; how it is turned; in step
ABSENT = 0.5  # of nominal: below it there is no grid
FIT_V, FIT_HZ = (0.85, 1.15), (47.5, 51.5)  # the switch's own: it closes onto no other grid
DETECT_S = 0.02  # from loss of voltage until the switch is open and the PCS forms; ITI curve: 0 V for 20 ms


class GridSource:
    """Grid voltage and frequency: nominal plus a few slow sines with seeded phases; a function of time alone."""

    def __init__(self, seed: int, nominal_v: float) -> None:
        source = random.Random(f"{seed}/grid")
        self.nominal_v = nominal_v
        self.present = True
        self.sag: tuple[float, float] | None = None  # share of nominal voltage and Hz, while the grid is not itself
        self.record: Callable[[float], Row | None] = lambda t_s: None  # a record that is played
        self._hz = [
            (amplitude, 2 * math.pi / period, source.uniform(0, 2 * math.pi))
            for amplitude, period in ((0.012, 41.0), (0.009, 173.0), (0.006, 907.0))
        ]
        self._v = [
            (amplitude, 2 * math.pi / period, source.uniform(0, 2 * math.pi))
            for amplitude, period in ((0.0015, 67.0), (0.003, 389.0), (0.005, 5400.0))
        ]
        self._waves = (-1.0, 0.0, 0.0)  # the last time that was asked for, and frequency and voltage's waves at it

    def _waves_at(self, t_s: float) -> tuple[float, float, float]:
        """The time, Hz and share of the voltage. Many ask for the same instant."""
        if self._waves[0] != t_s:
            hz = sum(a * math.sin(w * t_s + p) for a, w, p in self._hz)
            self._waves = (t_s, hz, sum(a * math.sin(w * t_s + p) for a, w, p in self._v))
        return self._waves

    def hz(self, t_s: float) -> float:
        """Frequency, Hz; 0 while the grid is away."""
        if not self.present:
            return 0.0
        flutter_hz = self._waves_at(t_s)[1]
        recorded = self.record(t_s)
        if recorded is not None:
            return recorded.hz + flutter_hz if recorded.hz > 0 else 0.0
        return (50.0 if self.sag is None else self.sag[1]) + flutter_hz

    def v(self, t_s: float, import_w: float) -> float:
        """Phase-to-neutral voltage at the PCC, V; 0 while the grid is away."""
        if not self.present:
            return 0.0
        share = 1.0 if self.sag is None else self.sag[0]
        recorded = self.record(t_s)
        if recorded is not None:
            share = recorded.v_share
        source_v = share * self.nominal_v * (1 + self._waves_at(t_s)[2])
        return max(source_v - IMPEDANCE_OHM * import_w / (3 * self.nominal_v), 0.0)


class Position(enum.IntEnum):
    """As the register map `skerry-switch` numbers it."""

    MOVING = 0
    OPEN = 1
    CLOSED = 2


class Fault(enum.IntFlag):
    """Fault bits of `skerry-switch`."""

    REFUSED_LOCAL = 1  # a command came while control was local
    REFUSED_DEAD = 2  # commanded to close onto a grid without voltage


class PccSwitch:
    """The switch. It opens by itself when the grid's voltage is gone, and when a PCS trips; it closes by itself some
    time after the grid is fit again, unless it was told to stay open; or, with `auto_reclose` off, only once it is told
    to close.

    Its synchro-check lets it close only when bus and grid have been in step for SYNCHRO_CHECK_S.
    """

    def __init__(self, id: str, reconnect_wait_s: float, auto_reclose: bool = True) -> None:
        self.id = id
        self.position = Position.CLOSED
        self.local = False
        self.interlocked = False  # another source feeds the site
        self.jammed = False  # the mechanism does not move any more
        self.faults = Fault(0)
        self.last_transfer_ms: int | None = None
        self.command = 0  # the last one written
        self.delta_deg = 0.0
        self._auto = auto_reclose
        self._reconnect_wait_s = reconnect_wait_s
        self._goal = Position.CLOSED
        self._held_open = self._permitted = False
        self._moving_s = 0.0
        self._lost_s = 0.0  # how long the grid has been away while the switch was closed
        self._back_s = 0.0  # how long it has been fit while the switch was open
        self._step_s = 0.0  # how long bus and grid have been in step

    @property
    def conducting(self) -> bool:
        """Whether grid and site are joined; they are until an opening mechanism has finished."""
        return self.position is Position.CLOSED or (self.position is Position.MOVING and self._goal is Position.OPEN)

    def order(self, command: int, grid_present: bool) -> None:
        """Write the command register: 0 none, 1 open, 2 close. What it cannot do sets a fault bit."""
        again, self.command = command == self.command, command
        if command == 0:
            self._held_open = self._permitted = False
            return
        self.faults = Fault(0)
        if self.local:
            self.faults |= Fault.REFUSED_LOCAL
        elif command == 1:
            self._held_open, self._permitted = True, False
            self._move(Position.OPEN)
        elif not again or not self._permitted:
            self._held_open = False
            if not grid_present:
                self.faults |= Fault.REFUSED_DEAD
            self._permitted, self._step_s = True, 0.0  # bus and grid are compared anew

    def step(self, dt_s: float, grid_v_share: float, grid_hz: float, alive: bool = True) -> None:
        """Move, and act on what the grid does. `alive`: the site's bus has voltage."""
        present = grid_v_share > ABSENT
        if self.position is Position.MOVING:
            self._moving_s -= dt_s
            if self._moving_s <= 1e-9 and not self.jammed:
                self.position = self._goal
        elif self.position is Position.CLOSED:
            self._lost_s = 0.0 if present else self._lost_s + dt_s
            if self._lost_s >= DETECT_S - 1e-9:
                self.open_at_once(self._lost_s)
        else:
            fit = FIT_V[0] <= grid_v_share <= FIT_V[1] and FIT_HZ[0] <= grid_hz <= FIT_HZ[1]
            self._turn_phase(dt_s, present, alive)
            self._compare(dt_s, fit)
            if self._may_close():
                self._permitted = False
                self._move(Position.CLOSED)

    def _turn_phase(self, dt_s: float, present: bool, alive: bool) -> None:
        """With a grid to follow, the forming PCS turns its phase towards it."""
        if present and alive:
            self.delta_deg = max(self.delta_deg - SLEW_DEG_PER_S * dt_s, 0.0)
        else:
            self.delta_deg = START_DEG if alive else 0.0

    def _compare(self, dt_s: float, fit: bool) -> None:
        """The synchro-check: for how long the grid has been fit, and in step with the bus."""
        self._back_s = self._back_s + dt_s if fit else 0.0
        in_step = fit and self.delta_deg <= STEP_DEG
        self._step_s = self._step_s + dt_s if in_step else 0.0

    def _may_close(self) -> bool:
        if self._step_s < SYNCHRO_CHECK_S or self._held_open or self.jammed or self.interlocked:
            return False
        return self._permitted or (self._auto and self._back_s >= max(self._reconnect_wait_s, SYNCHRO_CHECK_S))

    def open_at_once(self, gap_s: float) -> None:
        """Open at once, by the device's own doing; `gap_s`: how long the site was without voltage."""
        if self.jammed:
            return
        self.last_transfer_ms = round(1000 * gap_s)
        self.position = self._goal = Position.OPEN
        self._lost_s = self._back_s = self._step_s = 0.0
        self._permitted = False
        self.delta_deg = START_DEG

    def _move(self, goal: Position) -> None:
        if self.position is not goal:
            self._goal, self.position, self._moving_s = goal, Position.MOVING, OPERATING_S
        self._back_s = self._step_s = 0.0
        self.delta_deg = START_DEG if goal is Position.OPEN else 0.0
