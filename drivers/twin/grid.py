"""The grid connection: voltage and frequency that vary a little by the seed, and the switch at the PCC."""

from __future__ import annotations

import enum
import math
import random

IMPEDANCE_OHM = 0.03  # per phase, of the connection as a whole: voltage falls a little with import
OPERATING_S = 0.08  # mechanism, open to closed and back
SYNCHRO_CHECK_S = 2.0  # voltage on both sides compared before it closes
DETECT_S = 0.02  # from loss of voltage until the switch is open and the PCS forms


class GridSource:
    """Grid voltage and frequency: nominal plus a few slow sines with seeded phases; a function of time alone."""

    def __init__(self, seed: int, nominal_v: float) -> None:
        source = random.Random(f"{seed}/grid")
        self.nominal_v = nominal_v
        self.present = True
        self._hz = [
            (amplitude, 2 * math.pi / period, source.uniform(0, 2 * math.pi))
            for amplitude, period in ((0.012, 41.0), (0.009, 173.0), (0.006, 907.0))
        ]
        self._v = [
            (amplitude, 2 * math.pi / period, source.uniform(0, 2 * math.pi))
            for amplitude, period in ((0.0015, 67.0), (0.003, 389.0), (0.005, 5400.0))
        ]

    def hz(self, t_s: float) -> float:
        """Frequency, Hz; 0 while the grid is away."""
        return 50.0 + sum(a * math.sin(w * t_s + p) for a, w, p in self._hz) if self.present else 0.0

    def v(self, t_s: float, import_w: float) -> float:
        """Phase-to-neutral voltage at the PCC, V; 0 while the grid is away."""
        if not self.present:
            return 0.0
        source_v = self.nominal_v * (1 + sum(a * math.sin(w * t_s + p) for a, w, p in self._v))
        return source_v - IMPEDANCE_OHM * import_w / (3 * self.nominal_v)


class Position(enum.IntEnum):
    """As the register map `skerry-switch` numbers it."""

    MOVING = 0
    OPEN = 1
    CLOSED = 2


class Fault(enum.IntFlag):
    """Fault bits of `skerry-switch`."""

    REFUSED_LOCAL = 1  # a command came while control was local
    REFUSED_DEAD = 2  # told to close onto a grid without voltage


class PccSwitch:
    """The switch. It opens by itself when the grid is lost and closes by itself some time after it is back,
    unless it was told to stay open.
    """

    def __init__(self, id: str, reconnect_wait_s: float) -> None:
        self.id = id
        self.position = Position.CLOSED
        self.local = False
        self.faults = Fault(0)
        self.last_transfer_ms: int | None = None
        self.command = 0  # the last one written
        self._reconnect_wait_s = reconnect_wait_s
        self._goal = Position.CLOSED
        self._held_open = False
        self._moving_s = 0.0
        self._lost_s = 0.0  # how long the grid has been away while the switch was closed
        self._back_s = 0.0  # how long it has been there while the switch was open

    @property
    def conducting(self) -> bool:
        """Whether grid and site are joined; they are until an opening mechanism has finished."""
        return self.position is Position.CLOSED or (self.position is Position.MOVING and self._goal is Position.OPEN)

    def order(self, command: int, grid_present: bool) -> None:
        """Write the command register: 0 none, 1 open, 2 close. What it cannot do sets a fault bit."""
        self.command = command
        if command == 0:
            return
        self.faults = Fault(0)
        if self.local:
            self.faults |= Fault.REFUSED_LOCAL
        elif command == 1:
            self._held_open = True
            self._move(Position.OPEN)
        else:
            self._held_open = False
            if not grid_present:
                self.faults |= Fault.REFUSED_DEAD  # it will close by itself when the grid is back
            self._back_s = max(0.0, self._reconnect_wait_s - SYNCHRO_CHECK_S)

    def step(self, dt_s: float, grid_present: bool) -> None:
        """Move, and act on what the grid does."""
        if self.position is Position.MOVING:
            self._moving_s -= dt_s
            if self._moving_s <= 1e-9:
                self.position = self._goal
            return
        if self.position is Position.CLOSED:
            self._lost_s = 0.0 if grid_present else self._lost_s + dt_s
            if self._lost_s >= DETECT_S - 1e-9:
                self.last_transfer_ms = round(1000 * self._lost_s)
                self.position = self._goal = Position.OPEN
                self._lost_s = self._back_s = 0.0
            return
        self._back_s = self._back_s + dt_s if grid_present else 0.0
        if not self._held_open and self._back_s >= max(self._reconnect_wait_s, SYNCHRO_CHECK_S):
            self._move(Position.CLOSED)

    def _move(self, goal: Position) -> None:
        if self.position is not goal:
            self._goal, self.position, self._moving_s = goal, Position.MOVING, OPERATING_S
        self._back_s = 0.0
