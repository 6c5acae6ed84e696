"""Sets the power of a SunSpec device: safe order of writes, reversion timer, read back.

Order: what the device reverts to and its timer, then value, then enable. A setpoint that is enabled before its timer
would outlive us. Renewal writes the timer, then the enable (SunSpec Modbus Conformance 1.4, REV-1..3). Which points
these are, `drivers.setpoint_points` says for each model.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from drivers.modbus.errors import DeviceException, ReadbackMismatch, WrongDevice
from drivers.setpoint_points import Held, Points, PowerPoints
from drivers.sunspec.device import SunSpecDevice

TEMPORARY = frozenset({5, 6})  # Modbus exceptions: acknowledge, busy
RETRY_S = 1.0  # before the same value is tried again on a device that did not take it

Action = Literal["nothing", "armed", "changed", "renewed", "released"]


class CommandResult(msgspec.Struct, frozen=True):
    """What became of an order: what of the setpoint was written, what the device took, what people must know."""

    action: Action = "nothing"
    note: str = ""  # what did not go as it should; "": nothing
    w: float | None = None  # the setpoint that the device took, in its own resolution; None: not commanded
    held: bool = False  # read back: the device holds the value asked for, within its resolution

    @property
    def written(self) -> bool:
        """Whether anything of the setpoint was written."""
        return self.action != "nothing"


class SetpointWriter:
    """Writes on change, renews at half the reversion time, checks by reading back. Times are site seconds."""

    def __init__(
        self, device: SunSpecDevice, points: PowerPoints, revert_s: float, proven_s: float | None = None
    ) -> None:
        """`revert_s`: the reversion timer asked for. `proven_s`: the silence after which it was found to revert."""
        self.points = points
        self._device = device
        self._revert_s = round(revert_s)  # the timers count whole seconds
        self.held: Held = {}
        self._target: float | None = None  # proven by read-back; None: everything must be written again
        self._proven: Held = {}  # as it read back then, in the device's own figures
        self._renewed_s = 0.0
        self._refused: tuple[float, float] | None = None  # (value, when) that the device did not take
        self._taken: float | None = None  # the last value it did take
        self._timer_refused = False  # the device has a timer and does not let it be set
        self._left = False  # since the last `hold` it was left to itself
        self.proven_s = proven_s

    def release(self) -> None:
        """Nothing is asked of it for now: its timer may run out, and what it holds then is nobody's doing."""
        self._left = True

    async def end(self) -> None:
        """Leave the device to itself at once. Raises as `SunSpecDevice.write`."""
        for step in self.points.release():
            await self._device.write(self.points.model, step)
        self._target, self.held = None, {}

    async def read(self) -> Held:
        """Read what the device holds now. Raises as `SunSpecDevice.read`."""
        self.held = await self._device.read(self.points.model, self.points.points)
        return self.held

    async def hold(self, w: float, now_s: float) -> CommandResult:
        """Make the device hold `w` (of a PCS > 0 discharges).

        Raises DeviceError, ReadbackMismatch when it holds something else afterwards, ValueError for a value that
        its registers cannot carry. After any of them the next call writes everything again.
        """
        held = self.held or await self.read()
        target = self.points.nearest_w(held, w)  # as it reads back
        if target is None:
            where = self._device.where(self.points.model, self.points.value_point)
            raise WrongDevice(where, f"this device takes no {self.points.what}")
        if self._refused and self._refused[0] == target and now_s - self._refused[1] < RETRY_S:
            return CommandResult(note="waiting: the device did not take this value")
        steps, action, note = self._steps(target, held, now_s)
        if not steps:
            self._left = False
            return CommandResult(w=target, held=True)
        self._target = None
        refused = await self._write(steps, held)
        self._proven = await self._check(target, held, now_s)
        note = "; ".join(told for told in (note, refused, self.points.remark(self.held, target)) if told)
        if self._timerless or any(self.points.timer in step for step in steps):
            self._renewed_s = now_s
        self._target, self._taken, self._refused, self._left = target, target, None, False
        return CommandResult(action, note, target, held=True)

    async def _write(self, steps: list[Points], held: Held) -> str:
        """Write the steps; what the device refuses of that without which it is commanded all the same.

        Raises as `hold`. A timer that it refuses is not asked for again on this connection.
        """
        refused: list[str] = []
        timer_refused, points = self._timer_refused, self.points
        for step in steps:
            try:
                await self._device.write(points.model, step, points.scales(held))
            except DeviceException as error:
                if not step.keys() <= points.refusable.keys() or error.code in TEMPORARY:
                    raise
                refused.append(f"{points.refusable[next(iter(step))]} cannot be set: {error}")
                timer_refused = timer_refused or points.timer in step
        self._timer_refused = timer_refused  # now that value and enable were taken
        return "; ".join(refused)

    @property
    def _timerless(self) -> bool:
        return self._timer_refused or self.held.get(self.points.timer) is None

    @property
    def _renew_s(self) -> float:
        """Half of the time that counts: ours, a shorter one that it does not let us set, or one that was proven."""
        own_s = self.held.get(self.points.timer) if self._timer_refused else None
        known = [self._revert_s, *([] if self.proven_s is None else [self.proven_s])]
        return min([*known, own_s] if isinstance(own_s, (int, float)) and own_s > 0 else known) / 2

    @property
    def _shortened(self) -> bool:
        """Whether somebody else has made the timer so short that it may run out before it is renewed, or stopped it."""
        left_s = self.held.get(self.points.timer)
        return not self._timerless and isinstance(left_s, (int, float)) and left_s < self._renew_s

    def _steps(self, target: float, held: Held, now_s: float) -> tuple[list[Points], Action, str]:
        """The writes that are due, in safe order; what they are; and what is unusual about them."""
        points = self.points
        value, enable = points.value(held, target), points.enable()
        timer: list[Points] = [] if self._timerless else [{points.timer: self._revert_s}]
        ours = self._target is not None and all(held[name] == proven for name, proven in self._proven.items())
        if self._target is None or (self._left and not ours):
            note = "this device has no reversion timer" if held.get(points.timer) is None else ""
            return [*self._fall_back(held), *value, *enable], "armed", note
        if not ours:
            note = f"the device held {points.words(held)}; ours was {self._target:g} W: written again"
            return [*self._fall_back(held), *value, *enable], "armed", note
        due = now_s - self._renewed_s >= self._renew_s or self._shortened
        if target != self._target:
            return [*(timer if due or points.timer_before_value else []), *value, *enable], "changed", ""
        if due:
            again = value if points.timer_before_value or not timer else []
            return [*timer, *again, *enable], "renewed", ""
        return [], "nothing", ""

    def _fall_back(self, held: Held) -> list[Points]:
        """The reversion block, as far as the device implements it; neighbours go in one request."""
        if self._timer_refused:
            return []
        return self.points.fallback(held, None if self._timerless else self._revert_s)

    async def _check(self, target: float, before: Held, now_s: float) -> Held:
        """Read back and compare; what was expected of value and enable. Raises ReadbackMismatch naming the first point
        that differs.

        A value that the device has held before is tried once more at once: another master may have been quicker.
        """
        proven = self.points.expected(before, target)
        held = await self.read()
        expected = dict(proven)
        if not self._timerless and before[self.points.timer] is not None:
            expected[self.points.timer] = self._revert_s
        for name, value in expected.items():
            if held[name] != value:
                again, self._taken = self._taken == target, None
                self._refused = None if again else (target, now_s)
                where = self._device.where(self.points.model, name)
                raise ReadbackMismatch(where, f"wrote {shown(value)}, reads back {shown(held[name])}")
        return proven


def shown(value: object) -> str:
    """A value for an error message; the bits of a field by their names."""
    return ", ".join(value) or "no bit" if isinstance(value, tuple) else str(value)
