"""Simulates a PCS: ratings, dead time, ramp, first-order lag, states as SunSpec 701 names them."""

from __future__ import annotations

import enum
import math
from collections import deque

from dispatch.config.schema import PcsRatings
from drivers.twin.battery import TwinBattery
from drivers.twin.config import TwinConfig
from drivers.twin.control import ActivePowerControl
from drivers.twin.protection import PROFILES, Protection
from drivers.twin.storage import StorageControl

START_S = 2.0  # from START or a returned grid until power may flow


class InvSt(enum.IntEnum):
    """SunSpec 701 InvSt."""

    OFF = 0
    SLEEPING = 1
    STARTING = 2
    RUNNING = 3
    THROTTLED = 4
    SHUTTING_DOWN = 5
    FAULT = 6
    STANDBY = 7


class OpCtl(enum.IntEnum):
    """SunSpec 715 OpCtl."""

    STOP = 0
    START = 1
    ENTER_STANDBY = 2
    EXIT_STANDBY = 3


class TwinPcs:
    """One PCS and the battery behind it. `w` > 0 discharges, W at the AC terminals."""

    def __init__(self, ratings: PcsRatings, battery: TwinBattery, twin: TwinConfig) -> None:
        self.id, self.ratings, self.battery = ratings.id, ratings, battery
        self.lag_s, self.dead_time_s = twin.pcs_lag_s, twin.pcs_dead_time_s
        self.ramp_w_per_s = twin.pcs_ramp_w_per_s
        rated_w = max(ratings.charge_w, ratings.discharge_w)
        self.control = ActivePowerControl(rated_w, twin.personality, twin.heartbeat_timeout_s)
        self.storage = StorageControl(self.control, rated_w) if twin.personality == "legacy-storage" else None
        self.charge_setting_w, self.discharge_setting_w = (
            ratings.charge_w,
            ratings.discharge_w,
        )  # 702 WChaRteMax, WDisChaRteMax
        self.protection = Protection(PROFILES[twin.trip_profile])
        self.tripped = ""  # which of its windows made it leave the grid last
        self.last_command = OpCtl.START
        self.local = False
        self.inverted = False  # it takes a setpoint > 0 for charging
        self.forming = False
        self.connected = True
        self.grid_lost = False  # the alarm bit; cleared when the grid is back
        self.w = 0.0
        self.injected_wh = self.absorbed_wh = 0.0
        self.black_starting = False  # ordered to start while it stood still with no grid to follow
        self._operation = InvSt.RUNNING
        self._starting_s = 0.0
        self._pending: deque[tuple[float, float]] = deque()  # (when it takes effect, W): the dead time
        self._wanted_w = self._target_w = self._ramped_w = 0.0
        self._limited = False

    @property
    def state(self) -> InvSt:
        """As 701 InvSt; THROTTLED while the battery or a setting allows less than was asked."""
        return InvSt.THROTTLED if self._operation is InvSt.RUNNING and self._limited else self._operation

    @property
    def ready(self) -> bool:
        """Whether power can flow."""
        return self._operation is InvSt.RUNNING

    def operate(self, command: OpCtl) -> None:
        """Write 715 OpCtl."""
        self.last_command = command
        if command is OpCtl.STOP:
            self._operation = InvSt.OFF
        elif command is OpCtl.ENTER_STANDBY:
            self._operation = InvSt.STANDBY
        elif not self.ready and self._operation is not InvSt.STARTING:
            self._operation, self._starting_s = InvSt.STARTING, START_S
            self.black_starting = self.grid_lost

    def trip(self) -> None:
        """An overload while forming, or the loss of the only source: fault, contactor open."""
        self._operation, self.forming, self.connected = InvSt.FAULT, False, False
        self.black_starting = False

    def restart(self) -> None:
        """The grid is back: leave the fault by starting."""
        if self._operation is InvSt.FAULT:
            self._operation, self._starting_s = InvSt.STARTING, START_S
        self.connected, self.grid_lost, self.black_starting = True, False, False

    def limits_w(self, dt_s: float) -> tuple[float, float]:
        """(charge, discharge) possible in the next `dt_s`, both >= 0: ratings, settings, BMS."""
        if not self.ready:
            return 0.0, 0.0
        charge_w, discharge_w = self.battery.limits_w(dt_s)
        return (
            min(charge_w, self.ratings.charge_w, self.charge_setting_w),
            min(discharge_w, self.ratings.discharge_w, self.discharge_setting_w),
        )

    def follow(self, now_s: float, dt_s: float) -> None:
        """Grid-following: move towards the setpoint. Sets `w` for the step that ends at `now_s`."""
        wanted_w = -self.control.wanted_w if self.inverted else self.control.wanted_w
        if wanted_w != self._wanted_w:
            self._wanted_w = wanted_w
            self._pending.append((now_s + self.dead_time_s, wanted_w))
        while self._pending and self._pending[0][0] <= now_s + 1e-9:
            self._target_w = self._pending.popleft()[1]
        charge_w, discharge_w = self.limits_w(dt_s)
        target_w = min(discharge_w, max(-charge_w, self._target_w))
        self._limited = abs(target_w - self._target_w) > 1.0
        most_w = self.ramp_w_per_s * dt_s
        self._ramped_w += min(most_w, max(-most_w, target_w - self._ramped_w))
        share = 1.0 if self.lag_s <= 0 else 1 - math.exp(-dt_s / self.lag_s)  # exact for a first-order lag
        w = self.w + (self._ramped_w - self.w) * share
        self.w = min(discharge_w, max(-charge_w, w))

    def carry(self, w: float) -> None:
        """Grid-forming: the load decides. `w` must be within `limits_w`."""
        self.w = self._ramped_w = w
        self._limited = False

    def settle(self, now_s: float, dt_s: float) -> None:
        """End of a step: what flowed went through the meter and the battery; timers run."""
        self.battery.step(self.w, dt_s)
        if self.w >= 0:
            self.injected_wh += self.w * dt_s / 3600
        else:
            self.absorbed_wh -= self.w * dt_s / 3600
        self.control.step(now_s)
        if self._operation is InvSt.STARTING:
            self._starting_s -= dt_s
            if self._starting_s <= 0:
                self._operation = InvSt.RUNNING
