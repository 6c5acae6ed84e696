"""Sends setpoints to one PCS in the background: the latest wins, one at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

from dispatch.model.clock import Clock

GIVE_UP_S = 10.0  # unscaled: drivers have deadlines of their own, much shorter; what outlives them is a mistake
RENEWING = ("armed", "renewed")  # what a driver calls writes that start the timer anew, whatever the device
SETTLED_S = 5.0  # a device that refused counts as accepting again after this long without a refusal


class PcsCommands(Protocol):
    """What the sender needs of a PCS driver."""

    id: str

    async def command(self, w: float | None, now_s: float) -> Any:
        """Write on change, renew at half the device's timeout, read back. Raises DeviceError."""
        ...


class SetpointSender:
    """Sends the latest setpoint to its PCS. `submit` never waits; a slow device skips what has been superseded."""

    def __init__(
        self,
        driver: PcsCommands,
        clock: Clock,
        device_error: type[Exception],
        on_result: Callable[[str, str], None],
        on_note: Callable[[str, str], None],
    ) -> None:
        self.driver, self.clock, self.writes, self.error = driver, clock, 0, ""
        self._device_error, self._on_result, self._on_note = device_error, on_result, on_note
        self.written_w: float | None = None  # the setpoint that the device last took
        self.read_back = False  # it was seen to hold exactly that; some devices' setpoints cannot be read
        self.withheld = ""  # why the driver does not write what is asked; empty: it does, or the device refuses it
        self._failed = False  # the last write, or the way to the device
        self._refused_s = float("-inf")
        self.renewed_s: float | None = None  # mono_s before the last write that started the device's timer anew
        self._wanted_w: float | None = None
        self._later: asyncio.TimerHandle | None = None
        self._news = asyncio.Event()

    def submit(self, w: float | None, after_s: float = 0.0) -> None:
        """Set the setpoint to send, W; None leaves the device as it is. `after_s`: so much later, site time."""
        if self._later is not None:
            self._later.cancel()
            self._later = None
        if after_s > 0:
            self._later = asyncio.get_running_loop().call_later(after_s / self.clock.speed, self.submit, w)
            return
        self._wanted_w = w
        self._news.set()

    async def run(self) -> None:
        """Send setpoints until cancelled."""
        while True:
            await self._news.wait()
            self._news.clear()
            await self.deliver(self._wanted_w)

    async def deliver(self, w: float | None) -> bool:
        """Send one setpoint; True when the device took it, `read_back` where it shows it (or nothing was to send)."""
        begun_s = self.clock.mono_s()
        try:
            async with asyncio.timeout(GIVE_UP_S):
                result = await self.driver.command(w, self.clock.mono_s())
        except (self._device_error, ValueError) as error:  # ValueError: its registers cannot carry this value
            self._failed, self.withheld = True, ""
            return self._record_refusal(str(error))
        except TimeoutError:
            self._failed, self.withheld = True, ""
            return self._record_refusal(f"not written within {GIVE_UP_S:g} s, tried again")
        self.writes += bool(result.written)
        if getattr(result, "action", "") in RENEWING:
            self.renewed_s = begun_s
        if w is not None and result.w is None:
            self.withheld = "" if self._failed else result.note  # after a failure it waits to try again
            return self._record_refusal(result.note)
        self._failed, self.withheld = False, ""
        self.written_w, self.read_back = result.w, bool(result.held)
        if result.note:
            self._on_note(self.driver.id, result.note)
        if self.error and self.clock.mono_s() - self._refused_s > SETTLED_S:
            self.error = ""
            self._on_result(self.driver.id, "")
        return True

    def _record_refusal(self, why: str) -> bool:
        """The device does not hold the setpoint. Reported once, not at every try."""
        first, self.error = not self.error, why
        self._refused_s = self.clock.mono_s()
        if first:
            self._on_result(self.driver.id, why)
        return False
