"""Simulates SunSpec 124, Basic Storage Controls, as hybrid inverters of before the 700 series have it.

`OutWRte` limits discharging and `InWRte` charging, in percent of WChaMax, each while its bit of StorCtl_Mod is set. A
negative one forces the other direction. Left to itself the inverter of the twin rests.

The timer starts when the rates are written, with the InOutWRte_RvrtTms that stands there at that moment, whoever wrote
it; writing the timer alone does not start it. Once it ran out, StorCtl_Mod is 0 and both rates are 100 %.
"""

from __future__ import annotations

from drivers.twin.control import ActivePowerControl

CHARGE, DISCHARGE = 1, 2  # bits of StorCtl_Mod
FULL_PCT = 100.0


class StorageControl:
    """The points of 124 in front of the control that the physics follow. Times are the site's seconds."""

    def __init__(self, control: ActivePowerControl, full_w: float) -> None:
        """`full_w`: WChaMax."""
        self.full_w = full_w
        self.charge_from_grid = False  # ChaGriSet
        self._control = control
        self._mode = 0
        self._out_pct = self._in_pct = FULL_PCT
        self._reversions = control.reversions

    @property
    def mode(self) -> int:
        """StorCtl_Mod."""
        self._follow()
        return self._mode

    @property
    def out_pct(self) -> float:
        """OutWRte."""
        self._follow()
        return self._out_pct

    @property
    def in_pct(self) -> float:
        """InWRte."""
        self._follow()
        return self._in_pct

    def set_mode(self, mode: int) -> None:
        """Write StorCtl_Mod."""
        self._follow()
        self._mode = mode
        self._apply()

    def set_out(self, pct: float) -> None:
        """Write OutWRte."""
        self._follow()
        self._out_pct = pct
        self._apply()
        self._control.start_timer()

    def set_in(self, pct: float) -> None:
        """Write InWRte."""
        self._follow()
        self._in_pct = pct
        self._apply()
        self._control.start_timer()

    def _apply(self) -> None:
        """Have the control hold the power nearest to 0 that the limits leave; where they leave none, 0."""
        low_pct = -self._in_pct if self._mode & CHARGE else -FULL_PCT
        high_pct = self._out_pct if self._mode & DISCHARGE else FULL_PCT
        pct = 0.0 if low_pct > high_pct else min(max(0.0, low_pct), high_pct)
        if pct < 0 and not self.charge_from_grid:
            pct = 0.0
        control = self._control
        control.in_watts, control.setpoint_w = True, pct * self.full_w / 100
        control.revert_enabled, control.revert_w = False, 0.0
        control.enable(self._mode != 0)

    def _follow(self) -> None:
        """After the control has reverted by itself nothing of what was written is left."""
        if self._control.reversions != self._reversions:
            self._reversions = self._control.reversions
            self._mode, self._out_pct, self._in_pct = 0, FULL_PCT, FULL_PCT
