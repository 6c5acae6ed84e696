"""Keeps the newest telegram of a port, and knows why there is none that is young enough. All times are given to it."""

from __future__ import annotations

import math
from typing import NamedTuple

from drivers.p1.telegram import BadTelegram, Splitter, Telegram, parse

MOST_AGE_S = 1.5  # DSMR 5.0.2: a telegram every second; half of one for the line and for a busy meter
MOST_GAP_S = 2.5  # one telegram may be lost between two; a meter that sends more rarely is no meter for control
RARELY_S = 60.0  # what is farther apart is no period, but an interruption
MOST_BYTES_A_SECOND = 65_536  # 115200 baud carry 11 520; a bridge may hand on at once what it has kept
_SLOW = "a grid meter must send a telegram a second, as DSMR 5 does; use a Modbus meter at the connection point instead"
_GARBLED = "check the speed of the port (115200 8N1), an inverting cable, and that the bridge passes bytes on unchanged"
SILENT = "check the cable, that the meter's customer port is activated, and that nobody else holds the bridge"


class Arrival(NamedTuple):
    """A telegram, when its last byte arrived, and how long after the one before, s."""

    telegram: Telegram
    at_s: float
    gap_s: float


class Arrivals:
    """What has arrived. A telegram counts once another one came at most `MOST_GAP_S` before it.

    One that says the same as the one before, the meter's time included, is the same one: a bridge that repeats it does
    not make it younger.
    """

    def __init__(self) -> None:
        self.telegrams = self.rejected = 0
        self.newest: Arrival | None = None
        self.answered = False  # a telegram came on this connection
        self._splitter = Splitter()
        self._since_s = 0.0  # when the connection was opened
        self._bytes = 0  # on it
        self._second = (0, 0)  # the second in which bytes came last, and how many
        self._fault = ""  # of the last telegram that was not used; empty after a good one

    def begin(self, now_s: float) -> None:
        """A new connection: the rest of a telegram from the last one is not waited for."""
        self._since_s, self.answered, self._splitter = now_s, False, Splitter()
        self._bytes, self._second, self._fault = 0, (0, 0), ""

    def take(self, data: bytes, now_s: float) -> bool:
        """Bytes in the order in which they came. False: too many to be those of a P1 port; they are not looked at."""
        self._bytes += len(data)
        second, count = self._second
        self._second = (int(now_s), len(data) + (count if second == int(now_s) else 0))
        if self._second[1] > MOST_BYTES_A_SECOND:
            return False
        for raw in self._splitter.feed(data):
            try:
                telegram = parse(raw)
            except BadTelegram as error:
                self._fault, self.rejected = str(error), self.rejected + 1
            else:
                self._keep(telegram, now_s)
        return True

    def current(self, now_s: float) -> Arrival | None:
        """The newest telegram; None where it is too old, or they come too rarely."""
        newest = self.newest
        usable = newest is not None and now_s - newest.at_s <= MOST_AGE_S and newest.gap_s <= MOST_GAP_S
        return newest if usable else None

    def why(self, now_s: float) -> tuple[str, str]:
        """Why there is none, and what to do."""
        at_s, gap_s = (self._since_s, math.inf) if self.newest is None else self.newest[1:]
        if now_s - at_s <= MOST_AGE_S and MOST_GAP_S < gap_s < RARELY_S:
            return f"its telegrams come {gap_s:.0f} s apart", _SLOW
        since_s = now_s - max(self._since_s, at_s)
        if self._fault:
            return f"no usable telegram for {since_s:.1f} s: {self._fault}", _GARBLED
        if self._bytes and not self.answered:
            return f"{self._bytes} bytes in {since_s:.1f} s, and no telegram among them", _GARBLED
        return f"no telegram for {since_s:.1f} s", _SLOW if MOST_GAP_S < gap_s < RARELY_S else SILENT

    def _keep(self, telegram: Telegram, now_s: float) -> None:
        before, self._fault, self.answered = self.newest, "", True
        self.telegrams += 1
        if before is None or not telegram.time or telegram != before.telegram:
            self.newest = Arrival(telegram, now_s, math.inf if before is None else now_s - before.at_s)
