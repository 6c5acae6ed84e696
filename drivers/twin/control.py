"""Simulates the control of a PCS: SunSpec 704 active power with its reversion timer, 715 heartbeat and operation.

The register tables say what the points are; what happens at the timeout is the vendor's. Six personalities:

* `compliant`: the setting reverts when the timer runs out, and also when ControllerHb, once it moved, stands still.
* `cosmetic-revert`: the timer counts down to 0 and nothing reverts.
* `deaf-heartbeat`: the timer works, ControllerHb is ignored.
* `no-revert`: the reversion points are not implemented, ControllerHb is ignored.
* `refuses-revert`: they read 0 and cannot be written, ControllerHb is ignored.
* `legacy-storage`: neither 704 nor 715, but 124 (`drivers.twin.storage`).

The timer starts when the setting becomes enabled with a time-out set, and starts again whenever WSetRvrtTms is written;
0 cancels it. Writing the enable again does not extend it (SunSpec Modbus conformance, REV-1..3, asks for the rewrite).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

Personality = Literal["compliant", "cosmetic-revert", "deaf-heartbeat", "no-revert", "refuses-revert", "legacy-storage"]
DEAF = ("deaf-heartbeat", "no-revert", "refuses-revert")


class ActivePowerControl:
    """Setpoint, reversion values and timer of one PCS. Times are the site's seconds."""

    def __init__(self, rated_w: float, personality: Personality, heartbeat_timeout_s: float) -> None:
        self._rated_w = rated_w
        self.personality = personality
        self._heartbeat_timeout_s = heartbeat_timeout_s
        self._now_s = 0.0
        self._deadline_s: float | None = None
        self._heard_s: float | None = None  # when ControllerHb last moved; None: not watched
        self.enabled = False
        self.in_watts = True  # WSetMod WATTS, else percent of rating
        self.setpoint_w = 0.0
        self.setpoint_pct = 0.0
        self.revert_w = 0.0
        self.revert_pct = 0.0
        self.revert_enabled = False
        self.revert_s = 0.0
        self.controller_hb = 0
        self.reversions = 0
        self.own_w: Callable[[], float] = lambda: 0.0  # what it does by itself, W, > 0 discharges
        self.others_w: Callable[[], float] = lambda: 0.0  # what of the setpoint another source gives: PV of a hybrid
        self.reverted: Callable[[], None] = lambda: None  # called when it has reverted

    @property
    def wanted_w(self) -> float:
        """Power asked of the PCS, W, > 0 discharges; its own choice while the setting is disabled."""
        if not self.enabled:
            return self.own_w()
        setpoint_w = self.setpoint_w if self.in_watts else self.setpoint_pct * self._rated_w / 100
        return setpoint_w - self.others_w()

    @property
    def remaining_s(self) -> float:
        """What is left of the reversion timer, s; 0 when it does not run."""
        return 0.0 if self._deadline_s is None else max(0.0, self._deadline_s - self._now_s)

    def enable(self, enabled: bool) -> None:
        """Write WSetEna."""
        if enabled and not self.enabled:
            self.start_timer()
        if not enabled:
            self._deadline_s = None
        self.enabled = enabled

    def set_timeout(self, revert_s: float) -> None:
        """Write WSetRvrtTms: start the timer anew if the setting is enabled; 0 cancels it."""
        self.revert_s = revert_s
        self._deadline_s = None
        if self.enabled:
            self.start_timer()

    def write_heartbeat(self, controller_hb: int) -> None:
        """Write ControllerHb."""
        if controller_hb != self.controller_hb:
            self._heard_s = self._now_s
        self.controller_hb = controller_hb

    def step(self, now_s: float) -> None:
        """Let timer and heartbeat watch see that it is `now_s`."""
        self._now_s = now_s
        if self._deadline_s is not None and now_s >= self._deadline_s:
            self._deadline_s = None
            if self.personality != "cosmetic-revert":
                self._revert()
        silent = self._heard_s is not None and now_s - self._heard_s > self._heartbeat_timeout_s
        if silent and self.personality not in DEAF:
            self._heard_s = None
            if self.enabled:
                self._revert()

    def start_timer(self) -> None:
        """Let the timer run anew, with the time-out that is set; 0: it does not run."""
        self._deadline_s = self._now_s + self.revert_s if self.revert_s > 0 else None

    def _revert(self) -> None:
        self._deadline_s = None
        self.setpoint_w, self.setpoint_pct = self.revert_w, self.revert_pct
        self.enabled = self.revert_enabled
        self.reversions += 1
        self.reverted()


def whole_seconds(remaining_s: float) -> int:
    """A countdown as a register shows it: the last second still reads 1."""
    return math.ceil(remaining_s)
