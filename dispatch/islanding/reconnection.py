"""Decides when the switch may close: reconnection window, wait, back-off after repeated losses, and what forbids it."""

from __future__ import annotations

import math

from dispatch.config.schema import DispatchConfig
from dispatch.islanding.grid_code import ReconnectionWindow, WindowResult, grid_code
from dispatch.islanding.observation import Bus
from dispatch.model.equipment import Switch
from dispatch.model.islanding import Reconnect
from dispatch.model.reasons import Reason
from dispatch.model.snapshot import Snapshot

WAIT, OUT_OF_STEP = "close.wait", "close.out_of_step"


class Reconnection:
    """Counts the time inside the window while the switch is open. Says when closing may be permitted, and why not."""

    def __init__(self, config: DispatchConfig) -> None:
        self.code = grid_code(config.island)
        self._nominal_v = config.grid.voltage_v
        self._flap_s, self._backoff_max_s = config.island.flap_s, config.island.backoff_max_s
        self._window_check = ReconnectionWindow(self.code, config.grid.voltage_v, config.meters_on_bus)
        self.window = WindowResult(None, Reason("window.not_looked_at"))
        self.failures = 0  # closings that failed or did not last, since the grid last stayed
        self._since_s: float | None = None  # inside the window without a break, mono
        self._tied_s = -math.inf  # when the grid was last back after it had gone, and the site joined to it
        self._gone = True  # why the switch is open: False only for a drill on a grid that has stayed

    @property
    def wait_s(self) -> float:
        """The profile's wait, doubled for each closing that failed or did not last."""
        return min(self.code.wait_s * 2.0**self.failures, max(self._backoff_max_s, self.code.wait_s))

    def update(self, snapshot: Snapshot, switch: Switch | None, contact: str | None) -> None:
        """Take in a snapshot. Joined, or with contacts that do not say open, no time is counted."""
        self.window = self._window_check.check(snapshot, switch)
        if contact == "closed":
            if self._tied_s == -math.inf:
                self._tied_s = snapshot.mono_s - self._flap_s  # it was joined before we looked: no flapping seen
            self._since_s = None
            if snapshot.mono_s - self._tied_s >= self._flap_s:
                self.failures = 0
        elif self.window.ok is not True:
            self._since_s = None
            self._gone = self._gone or self.window.ok is False
        elif self._since_s is None:
            self._since_s = snapshot.mono_s

    def left_s(self, mono_s: float) -> float | None:
        """Seconds until the wait is over; None outside the window."""
        return None if self._since_s is None else max(self.wait_s - (mono_s - self._since_s), 0.0)

    def start_drill(self) -> None:
        """The switch was opened for a drill: as long as the grid stays, closing it again is no return of the grid."""
        self._gone = False

    def note_joined(self, mono_s: float) -> None:
        """The switch has closed."""
        if self._gone:
            self._tied_s = mono_s
        self._gone = True

    def note_lost(self, mono_s: float) -> bool:
        """The grid has gone. True when it did so right after it had come back: the next wait is doubled."""
        flapped = mono_s - self._tied_s < self._flap_s
        self._gone = True
        self.failures += flapped
        return flapped

    def note_failed(self) -> None:
        """A closing was asked for in vain: wait anew, and longer."""
        self.failures += 1
        self._since_s = None

    def obstacle(self, snapshot: Snapshot, switch: Switch | None, bus: Bus) -> Reason | None:
        """What speaks against closing now; None when nothing does."""
        if switch is None:
            return Reason("close.no_switch")
        if switch.source.good == "genset":
            return Reason("close.on_genset", {"switch": switch.id})
        if switch.position.good not in ("open", "moving"):
            return Reason("close.switch_reads", {"switch": switch.id, "position": switch.position.good or "nothing"})
        if not switch.orders_in:
            return Reason("close.only_watched", {"switch": switch.id})
        if not switch.takes_orders:
            return Reason("close.control", {"switch": switch.id, "control": switch.control.good or "unknown"})
        if bus.life != "ours":
            return Reason("go.bus_is", {"bus": bus.life or "not known", "why": bus.why})
        if self.window.ok is not True:
            return Reason("close.outside_window", {"profile": self.code.name, "grid": self.window.figures})
        left_s = self.left_s(snapshot.mono_s)
        if left_s is None or left_s > 0:
            return Reason("close.wait", {"left_s": left_s or self.wait_s, "wait_s": self.wait_s})
        return self._out_of_step(switch)

    def _out_of_step(self, switch: Switch) -> Reason | None:
        """By the device's own figures; where it gives none, its synchro-check decides after our permission."""
        limits = (
            ("voltage", switch.delta_v.good, self.code.delta_v_pct * self._nominal_v / 100, "V"),
            ("frequency", switch.delta_hz.good, self.code.delta_hz, "Hz"),
            ("phase", switch.delta_deg.good, self.code.delta_deg, "deg"),
        )
        for name, value, most, unit in limits:
            if value is not None and abs(value) > most:
                return Reason("close.out_of_step", {"what": name, "differs": value, "unit": unit, "at_most": most})
        return None

    def view(self, snapshot: Snapshot, switch: Switch | None, bus: Bus, *, by_device: bool) -> Reconnect:
        """For the console. `by_device`: the switch closes without our permission."""
        return Reconnect(
            profile=self.code.name,
            in_window=self.window.ok,
            figures=self.window.figures,
            wait_s=self.wait_s,
            left_s=self.left_s(snapshot.mono_s),
            attempts=self.failures,
            delta_v=None if switch is None else switch.delta_v.good,
            delta_hz=None if switch is None else switch.delta_hz.good,
            delta_deg=None if switch is None else switch.delta_deg.good,
            against=self.obstacle(snapshot, switch, bus),
            by_device=by_device,
        )
