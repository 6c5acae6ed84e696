"""Gives what was measured to the metering intervals that the clock names now: after it was set, or is known at last.

A peak that an interval raised is kept apart from what was known before (`_base`) for as long as the energy log
reaches back. When the clock is set, the peaks are taken back and raised anew: the same energy then counts in other
intervals, and in none twice. Which of two times was right does not matter: the last one names all of it, so a clock
that was a day ahead and is set back leaves nothing on the wrong day, or in the wrong month.

What an earlier process measured of the interval in which it ended (`carried`) keeps the name that it had. Energy that
only the meter's register told, in a hole, is not in the log: its interval is then known by what was measured of it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from typing import NamedTuple

from dispatch.billing.charge_peaks import ChargePeaks, PeakMemory, Places
from dispatch.billing.counted_energy import Counted
from dispatch.billing.energy_log import EnergyLog
from dispatch.config.demand_terms import DemandTerms


class _Raised(NamedTuple):
    """What an interval raised, and when that was told."""

    mono_s: float
    mean_w: float
    measured_s: float
    at: Places | None


class Carried(NamedTuple):
    """What an earlier process measured of the interval that began at `start_utc_s`."""

    start_utc_s: float
    counted: Counted


class PlacedPeaks:
    """The peaks of each charge, which can be raised anew from what the log holds."""

    def __init__(self, charges: Sequence[DemandTerms], contract_w: float) -> None:
        self.months, self._base = (ChargePeaks(charges, contract_w) for _ in range(2))
        self._raised: deque[_Raised] = deque()
        self.log = EnergyLog()
        self.carried: Carried | None = None

    def restore(self, kept: dict[str, PeakMemory]) -> None:
        """Take over what an earlier process knew."""
        for months in (self.months, self._base):
            months.restore(kept)

    def recover(self, kept: dict[str, PeakMemory]) -> None:
        """Join what an earlier process knew to what is known by now."""
        for months in (self.months, self._base):
            months.recover(kept)

    def raise_peak(self, mono_s: float, mean_w: float, measured_s: float, at: Places | None) -> None:
        """Take in an interval: its mean is proven to be at least `mean_w`."""
        self._raised.append(_Raised(mono_s, mean_w, measured_s, at))
        self.months.raise_peak(mean_w, measured_s, at)

    def take_back(self) -> None:
        """The last interval taken in was not what it seemed: as if it had not been."""
        self.months.take_back()
        if self._raised:
            self._raised.pop()

    def drop_old(self, mono_s: float) -> None:
        """What is older than the log reaches stays where it is."""
        if not self.log.drop_old(mono_s):
            return
        while self._raised and self._raised[0].mono_s <= self.log.begin_s:
            self.carried = None
            _raise(self._base, self._raised.popleft())

    def start_anew(self) -> None:
        """Take back all that can be raised anew."""
        self.months = self._base.copy()
        self._raised.clear()

    def placed(
        self, offset_s: float, length_s: float, start_of: Callable[[float], float], now_utc_s: float
    ) -> Iterator[tuple[float, Counted]]:
        """What was measured of each interval by a clock `offset_s` ahead of the monotonic one; the running one last."""
        running = start_of(now_utc_s)
        t = running if self.log.empty else start_of(self.log.begin_s + offset_s)
        carried = self.carried
        if carried is not None and not t <= carried.start_utc_s <= running:
            yield carried.start_utc_s, copy(carried.counted)
        while t <= running:
            ws, known_s = self.log.measured(t - offset_s, t + length_s - offset_s)
            if carried is not None and carried.start_utc_s == t:
                yield t, joined(carried.counted, ws, known_s)
            else:
                yield t, Counted(known_ws=ws, known_s=known_s)
            t += length_s


def joined(counted: Counted, ws: float, known_s: float) -> Counted:
    """What was counted, and this measured after it."""
    both = copy(counted)
    both.known_ws += ws
    both.known_s += known_s
    return both


def _raise(months: ChargePeaks, raised: _Raised) -> None:
    if raised.at is not None:
        months.enter(raised.at)
    months.raise_peak(raised.mean_w, raised.measured_s, raised.at)
