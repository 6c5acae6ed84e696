"""The time of a real site: the machine's, except where that cannot be right.

A machine without a battery-backed clock starts in 1970, or where it was switched off. While nobody has set it, the
site's time is a lower bound: it goes on, by the monotonic clock, from the last time that the site is known to have had.
So records stay in order, nothing is deleted or ends that might not be over, and `known` is False: whatever needs the
true time (prices, plans, bills, scheduled drills) waits.

The time is known as soon as the kernel says that its clock is synchronised, the machine's clock is past the lower
bound, or somebody has set it while the gateway ran. It stays known: a machine's clock that falls back to before
`EARLIEST` later is not followed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

from dispatch.model.clock import Clock, ClockState
from drivers.kernel_clock import KernelClock, asked_otherwise, read_kernel_clock
from gateway.daemon_thread import may_hang

EARLIEST_UTC_S = datetime(2025, 1, 1, tzinfo=UTC).timestamp()  # before Skerry was written no site has run it
BEHIND_S = 60.0  # a machine's clock so little behind the record is one that runs: they drift, and are set back by NTP
SET_S = 2.0  # a change by more than this is of somebody who has set the clock; smaller ones are slewing
LOOK_S = 5.0  # between two looks at the kernel
ASK_AGAIN_S = 60.0  # between two questions to others, where the kernel cannot be asked


class SiteClock:
    """The clock of a site whose devices are real.

    `machine`: the machine's own; `read`: what the kernel says of it; `ask`: what others do where it cannot be asked.
    """

    speed = 1.0

    def __init__(
        self,
        machine: Clock,
        read: Callable[[], KernelClock] = read_kernel_clock,
        ask: Callable[[str], KernelClock] = asked_otherwise,
    ) -> None:
        self._machine, self._read, self._ask = machine, read, ask
        self._kernel = read()
        self._offset_s = machine.utc_s() - machine.mono_s()
        self._last = (EARLIEST_UTC_S, machine.mono_s())  # UTC that is certain to have been at this mono_s
        self._known = False
        self._judge()

    def utc_s(self) -> float:
        """POSIX seconds; while the time is not known no later than it is."""
        now_s = self._machine.utc_s()
        if self._known and now_s >= EARLIEST_UTC_S:
            self._last = (now_s, self._machine.mono_s())
            return now_s
        utc_s, mono_s = self._last
        return utc_s + self._machine.mono_s() - mono_s

    def mono_s(self) -> float:
        """CLOCK_MONOTONIC, s."""
        return self._machine.mono_s()

    def not_before(self, utc_s: float) -> None:
        """The site is known to have had this time before the gateway started."""
        if utc_s > self._last[0]:
            started_s = self._last[1]
            self._known, self._last = False, (utc_s, started_s)
            self._judge()

    def state(self) -> ClockState:
        """What is known of the time."""
        kernel = self._kernel
        return ClockState(self._known, kernel.synchronised, kernel.max_error_s, kernel.note, self._machine.utc_s())

    async def run(self) -> None:
        """Look at the kernel until cancelled."""
        while True:
            await asyncio.sleep(ASK_AGAIN_S if self._kernel.note else LOOK_S)
            kernel = self._read()
            self.look(kernel if kernel.synchronised is not None else await may_hang(self._ask, kernel.note))

    def look(self, kernel: KernelClock) -> None:
        """Take in what is said of the kernel's clock now."""
        self._kernel = kernel
        if not self._known:
            self._judge()

    def _judge(self) -> None:
        now_s, mono_s = self._machine.utc_s(), self._machine.mono_s()
        was_set = abs(now_s - mono_s - self._offset_s) > SET_S
        past = now_s >= self._last[0] + mono_s - self._last[1] - BEHIND_S
        self._known = now_s >= EARLIEST_UTC_S and (past or was_set or self._kernel.synchronised is True)
