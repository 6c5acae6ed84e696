"""Sets the power of a SunSpec PCS (model 704): safe order of writes, reversion timer, read back.

Order: the default to which the device reverts and its timer, then mode and value, then the enable. A setpoint that is
enabled before its timer would outlive us. Renewal writes the timer, then the enable (SunSpec Modbus Conformance 1.4,
REV-1..3).
"""

from __future__ import annotations

from typing import Literal

import msgspec

from drivers.modbus.errors import DeviceException, ReadbackMismatch, WrongDevice
from drivers.sunspec.device import SunSpecDevice
from drivers.sunspec.model import Value, raw_scale, scaled, unscaled

MODEL = 704
POINTS = ("WSetEna", "WSetMod", "WSet", "WSetRvrt", "WSetEnaRvrt", "WSetRvrtTms", "WSetRvrtRem", "WSet_SF")
REVERSION = frozenset({"WSetRvrt", "WSetEnaRvrt", "WSetRvrtTms"})
TEMPORARY = frozenset({5, 6})  # Modbus exceptions: acknowledge, busy
RETRY_S = 1.0  # before the same value is tried again on a device that did not take it

Points = dict[str, float | str]
Held = dict[str, Value | None]


Action = Literal["nothing", "armed", "changed", "renewed"]


class CommandResult(msgspec.Struct, frozen=True):
    """What became of an order: what of the setpoint was written, what the device holds now, what people must know."""

    action: Action = "nothing"
    note: str = ""  # what did not go as it should; "": nothing
    w: float | None = None  # the setpoint as the device holds it, in its own resolution; None: not commanded
    held: bool = False  # read back: the device holds the value asked for, within its resolution

    @property
    def written(self) -> bool:
        """Whether anything of the setpoint was written."""
        return self.action != "nothing"


class SetpointWriter:
    """Writes on change, renews at half the reversion time, checks by reading back. Times are site seconds."""

    def __init__(self, device: SunSpecDevice, revert_s: float, revert_w: float = 0.0) -> None:
        """`revert_s`: the reversion timer asked for; `revert_w`: what the device is to hold once it ran out."""
        self._device, self._revert_w = device, revert_w
        self._revert_s = round(revert_s)  # WSetRvrtTms counts whole seconds
        self.reset()

    def reset(self) -> None:
        """Forget what the device holds: after a new connection it may be another device, or have restarted."""
        self.held: Held = {}
        self._target: float | None = None  # proven by read-back; None: everything must be written again
        self._renewed_s = 0.0
        self._refused: tuple[float, float] | None = None  # (value, when) that the device did not take
        self._taken: float | None = None  # the last value it did take
        self._timer_refused = False  # the device has a timer and does not let it be set
        self._left = False  # since the last `hold` it was left to itself

    def release(self) -> None:
        """Nothing is asked of it for now: its timer may run out, and what it holds then is nobody's doing."""
        self._left = True

    async def read(self) -> Held:
        """Read what the device holds now. Raises as `SunSpecDevice.read`."""
        self.held = await self._device.read(MODEL, POINTS)
        return self.held

    async def hold(self, w: float, now_s: float) -> CommandResult:
        """Make the device hold `w` (> 0 discharges).

        Raises DeviceError, ReadbackMismatch when it holds something else afterwards, ValueError for a value that
        its registers cannot carry. After any of them the next call writes everything again.
        """
        held = self.held or await self.read()
        scale = raw_scale(held, "WSet_SF")
        if held["WSet"] is None or held["WSetEna"] is None or scale is None:
            raise WrongDevice(self._device.where(MODEL, "WSet"), "this device takes no setpoint in watts")
        target = scaled(unscaled(w, scale), scale)  # in the device's resolution, as it reads back
        if self._refused and self._refused[0] == target and now_s - self._refused[1] < RETRY_S:
            return CommandResult(note="waiting: the device did not take this value")
        steps, action, note = self._steps(target, held, now_s)
        if not steps:
            self._left = False
            return CommandResult(w=target, held=True)
        self._target = None
        refused = await self._write(steps, scale)
        await self._check(target, now_s)
        if refused:
            note = f"{note}; {refused}" if note else refused
        if self._timerless or any("WSetRvrtTms" in step for step in steps):
            self._renewed_s = now_s
        self._target, self._taken, self._refused, self._left = target, target, None, False
        return CommandResult(action, note, target, held=True)

    async def _write(self, steps: list[Points], scale: int) -> str:
        """Write the steps; what the device refuses of its reversion, without which it is commanded all the same.

        Raises as `hold`. A timer that it refuses is not asked for again on this connection.
        """
        refused: list[str] = []
        timer_refused = self._timer_refused
        for step in steps:
            try:
                await self._device.write(MODEL, step, {"WSet": scale, "WSetRvrt": scale})
            except DeviceException as error:
                if not step.keys() <= REVERSION or error.code in TEMPORARY:
                    raise
                refused.append(f"its reversion cannot be set: {error}")
                timer_refused = timer_refused or "WSetRvrtTms" in step
        self._timer_refused = timer_refused  # now that value and enable were taken
        return "; ".join(refused)

    @property
    def _timerless(self) -> bool:
        return self._timer_refused or self.held.get("WSetRvrtTms") is None

    @property
    def _renew_s(self) -> float:
        """Half of the timer that counts: ours, or a shorter one of the device's own that it does not let us set."""
        own_s = self.held.get("WSetRvrtTms") if self._timer_refused else None
        return min(self._revert_s, own_s) / 2 if isinstance(own_s, (int, float)) and own_s > 0 else self._revert_s / 2

    def _steps(self, target: float, held: Held, now_s: float) -> tuple[list[Points], Action, str]:
        """The writes that are due, in safe order; what they are; and what is unusual about them."""
        value: list[Points] = [{"WSetMod": "watts", "WSet": target}]
        enable: list[Points] = [{"WSetEna": "enabled"}]
        timer: list[Points] = [] if self._timerless else [{"WSetRvrtTms": self._revert_s}]
        ours = held["WSetEna"] == "enabled" and held["WSet"] == self._target and held["WSetMod"] == "watts"
        if self._target is None or (self._left and not ours):
            note = "this device has no reversion timer" if held.get("WSetRvrtTms") is None else ""
            return [*self._fall_back(held), *value, *enable], "armed", note
        if not ours:
            mode = "" if held["WSetMod"] == "watts" else f", mode {held['WSetMod']}"
            what = f"{held['WSet']} W, {held['WSetEna']}{mode}"
            note = f"the device held {what}; ours was {self._target:g} W: written again"
            return [*self._fall_back(held), *value, *enable], "armed", note
        due = now_s - self._renewed_s >= self._renew_s
        if target != self._target:
            return [*(timer if due else []), *value, *enable], "changed", ""
        if due:
            return [*(timer or value), *enable], "renewed", ""
        return [], "nothing", ""

    def _fall_back(self, held: Held) -> list[Points]:
        """The reversion block, as far as the device implements it; neighbours go in one request."""
        after: Points = {}
        if self._timer_refused:
            return []
        if held["WSetEnaRvrt"] is not None:
            after["WSetEnaRvrt"] = "enabled"
        if not self._timerless:
            after["WSetRvrtTms"] = self._revert_s
        before: Points = {} if held["WSetRvrt"] is None else {"WSetRvrt": self._revert_w}
        return [step for step in (before, after) if step]

    async def _check(self, target: float, now_s: float) -> None:
        """Read back and compare. Raises ReadbackMismatch naming the first point that differs.

        A value that the device has held before is tried once more at once: another master may have been quicker.
        """
        before = self.held
        held = await self.read()
        expected: dict[str, Value] = {"WSetMod": "watts", "WSet": target, "WSetEna": "enabled"}
        if not self._timerless and before["WSetRvrtTms"] is not None:
            expected["WSetRvrtTms"] = self._revert_s
        for name, value in expected.items():
            if held[name] != value:
                again, self._taken = self._taken == target, None
                self._refused = None if again else (target, now_s)
                raise ReadbackMismatch(self._device.where(MODEL, name), f"wrote {value}, reads back {held[name]}")
