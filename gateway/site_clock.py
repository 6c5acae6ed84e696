"""The time of a real site: the machine's, except where that cannot be right.

A machine without a battery-backed clock starts in 1970, or where it was switched off. While nobody has set it, the
site's time is a lower bound: it goes on, by the monotonic clock, from the last time that the site is known to have had.
So records stay in order, nothing is deleted or ends that might not be over, and `known` is False: whatever needs the
true time (prices, plans, bills, scheduled drills) waits.

A machine without such a clock may also start at a time that was saved before it went off (systemd-timesyncd keeps one,
fake-hwclock too), so past the record's end and hours too early. So a clock that stood near that end when the machine
booted is not believed, unless a hardware clock set it.

The time is known as soon as the kernel says that its clock is synchronised, the machine's clock is past the lower
bound and no saved time, or somebody has set it while the gateway ran. It stays known: a machine's clock that falls back
to before `EARLIEST` later is not followed.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from datetime import UTC, datetime

from dispatch.model.clock import Clock, ClockState
from drivers.kernel_clock import KernelClock, asked_otherwise, read_kernel_clock, rtc_utc_s
from gateway.daemon_thread import may_hang

EARLIEST_UTC_S = datetime(2025, 1, 1, tzinfo=UTC).timestamp()  # before Skerry was written no site has run it
BEHIND_S = 60.0  # a machine's clock so little behind the record is one that runs: they drift, and are set back by NTP
SAVED_S = 120.0  # a time saved at the end of the machine is so little past the gateway's record, which ended before
RTC_S = 60.0  # a hardware clock this near to the machine's has set it
SET_S = 2.0  # a change by more than this is of somebody who has set the clock; smaller ones are slewing
LOOK_S = 5.0  # between two looks at the kernel
ASK_AGAIN_S = 60.0  # between two questions to others, where the kernel cannot be asked and the time is not known
KNOWN_AGAIN_S = 600.0  # and where it is: systemd starts its service for each of them, and logs that


class SiteClock:
    """The clock of a site whose devices are real.

    `machine`: the machine's own; `read`: what the kernel says of it; `ask`: what others do where it cannot be asked.
    `hardware`: what the clock says that set the machine's at boot; None without one.
    """

    speed = 1.0

    def __init__(
        self,
        machine: Clock,
        read: Callable[[], KernelClock] = read_kernel_clock,
        ask: Callable[[str], KernelClock] = asked_otherwise,
        hardware: Callable[[], float | None] = rtc_utc_s,
    ) -> None:
        self._machine, self._read, self._ask, self._hardware = machine, read, ask, hardware
        self._saved = False  # the machine's clock may have been set at boot to a time that was saved
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
        """The site is known to have had this time before the gateway started. Not for the event loop: reads files."""
        if utc_s > self._last[0]:
            started_s = self._last[1]
            self._known, self._last = False, (utc_s, started_s)
            self._judge()
        if self._may_be_saved(utc_s):  # then it was right once: it is a lower bound, too
            self._saved = True
            self._known, self._last = False, (max(utc_s, self._machine.utc_s()), self._machine.mono_s())
            self._judge()

    def _may_be_saved(self, ended_utc_s: float) -> bool:
        """Whether the machine's clock stood near the end of the record when it booted, and no hardware clock set it."""
        booted_utc_s = self._offset_s  # CLOCK_MONOTONIC begins at boot
        if not ended_utc_s - BEHIND_S <= booted_utc_s <= ended_utc_s + SAVED_S:
            return False
        hardware_s = self._hardware()
        return hardware_s is None or abs(hardware_s - self._machine.utc_s()) > RTC_S

    def state(self) -> ClockState:
        """What is known of the time."""
        kernel = self._kernel
        return ClockState(self._known, kernel.synchronised, kernel.max_error_s, kernel.note, self._machine.utc_s())

    async def run(self) -> None:
        """Look at the kernel until cancelled; at the machine's clock too while the time is not known."""
        asked_s = -math.inf
        while True:
            await asyncio.sleep(LOOK_S)
            kernel = self._read()
            if kernel.synchronised is None:
                again_s = KNOWN_AGAIN_S if self._known else ASK_AGAIN_S
                if (now_s := self._machine.mono_s()) - asked_s >= again_s:
                    asked_s, kernel = now_s, await may_hang(self._ask, kernel.note)
                else:
                    kernel = self._kernel
            self.look(kernel)

    def look(self, kernel: KernelClock) -> None:
        """Take in what is said of the kernel's clock now."""
        self._kernel = kernel
        if not self._known:
            self._judge()

    def _judge(self) -> None:
        now_s, mono_s = self._machine.utc_s(), self._machine.mono_s()
        was_set = abs(now_s - mono_s - self._offset_s) > SET_S
        past = now_s >= self._last[0] + mono_s - self._last[1] - BEHIND_S
        self._known = now_s >= EARLIEST_UTC_S and (
            (past and not self._saved) or was_set or self._kernel.synchronised is True
        )
