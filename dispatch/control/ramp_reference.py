"""Keeps the import from which the grid ramp counts: it moves no faster than the ramp limit."""

from __future__ import annotations

from dispatch.config.schema import DispatchConfig
from dispatch.control.rules.situation import Ramp

MAX_STEP_S = 2.0  # after a longer pause the ramp starts anew from where import is, and counts no more than this
LATE = 1.5  # and where steps are meant to be long: after this many of them
KEPT_S = 1.0  # for so long the reference stays though the battery cannot hold the ramp: one wrong limit does not end it


class GridRamp:
    """The reference, W of import. `step_s`: how long a setpoint is meant to hold; 0 at tick rate."""

    def __init__(self, config: DispatchConfig, step_s: float) -> None:
        self._config, self._step_s = config, step_s
        self._import_w: float | None = None
        self._last_s: float | None = None
        self._held_s = float("-inf")  # when the ramp was last held

    def forget(self) -> None:
        """Not grid-tied: the ramp from before does not carry over to the return of the grid."""
        self._import_w = None

    def reference(self, mono_s: float, net_w: float | None, last_w: float) -> Ramp | None:
        """Where import may go from; it starts from where the last setpoints, `last_w`, leave it."""
        if net_w is None:
            return None
        dt_s = 0.0 if self._last_s is None else mono_s - self._last_s
        if self._import_w is None:
            return Ramp(net_w - last_w, 0.0)
        most_s, rate_w_per_s = max(MAX_STEP_S, LATE * self._step_s), self._config.grid.ramp_w_per_s
        if dt_s > most_s:  # were there no step, ticks this far apart would hold the battery where it is for good
            return Ramp(net_w - last_w, rate_w_per_s * MAX_STEP_S)
        return Ramp(self._import_w, rate_w_per_s * dt_s)

    def follow(self, mono_s: float, ramp: Ramp | None, net_w: float | None, wanted_w: float | None) -> None:
        """Move towards the import that the setpoint aims at; there at once when the battery could not hold the ramp.

        net_w: load less PV; wanted_w: battery power asked, > 0 discharges; None: none.
        """
        self._last_s = mono_s
        if ramp is None or net_w is None or wanted_w is None:
            self._import_w = None
            return
        gap_w = net_w - wanted_w - ramp.import_w
        if abs(gap_w) <= ramp.step_w + self._config.rules.deadband_w + 1e-6:
            self._held_s = mono_s
        elif mono_s - self._held_s >= KEPT_S:
            self._import_w = ramp.import_w + gap_w
            return
        self._import_w = ramp.import_w + min(max(gap_w, -ramp.step_w), ramp.step_w)
