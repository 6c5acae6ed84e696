"""Watches the price file and puts its prices in force when it has changed.

A new file is read, in a thread, once it looks the same twice in a row: who writes it may be at it. One that cannot be
used leaves the prices in force, as does one that is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from dispatch.model.clock import Clock
from drivers.tariffs.csv_file import PriceFile, TariffFileError, is_bundled, read
from gateway.event_sink import EventSink
from gateway.prices_in_force import PricesInForce
from gateway.site.schema import Site

LOOK_S = 5.0  # of machine time, between two looks at the file

Signature = tuple[int, int, int, int]  # device, inode, size and time of the last change
NEVER: Signature = (0, 0, 0, 0)


class PriceWatch:
    """Reads the file of `[tariff] file` again when it was changed or replaced, and when it is told to."""

    def __init__(
        self,
        site: Site,
        prices: PricesInForce,
        clock: Clock,
        events: EventSink,
        on_change: Callable[[], None],
        look_s: float = LOOK_S,
    ) -> None:
        """`on_change` is called when other prices are in force."""
        self._file, self._base, self._zone = site.tariff.file, site.path.parent, ZoneInfo(site.site.timezone)
        self._prices, self._clock, self._events, self._on_change = prices, clock, events, on_change
        self._look_s = look_s
        self._asked = asyncio.Event()
        self._seen: Signature | None = NEVER  # at the last look
        self._judged: Signature | None = NEVER  # when it was last read

    def reload(self) -> None:
        """Read the file again soon, whether it was changed or not."""
        self._asked.set()

    async def run(self) -> None:
        """Watch until cancelled. Prices that are bundled never change."""
        if not self._file or is_bundled(self._file):
            await self._without_file()
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._asked.wait(), self._look_s)
            await self.look()

    async def look(self) -> None:
        """Look at the file once; read it if it has changed and then stood still, or if somebody asked for it."""
        asked = self._asked.is_set()
        self._asked.clear()
        path = self._base / self._file
        found = await asyncio.to_thread(_signature, path)
        if asked or (found == self._seen and found != self._judged):
            await self._take(path, found, asked)
        self._seen = found

    async def _without_file(self) -> None:
        while True:
            await self._asked.wait()
            self._asked.clear()
            what = f"{self._file} comes with Skerry" if self._file else "there is no [tariff] file"
            self._events.event("gateway", "info", "tariff", f"no prices to read again: {what}")

    async def _take(self, path: Path, found: Signature | None, asked: bool) -> None:
        """Read the file, and put its prices in force unless they cannot be used."""
        try:
            new = await asyncio.to_thread(read, self._file, self._base)
        except (TariffFileError, OSError) as error:
            self._judged = found
            self._refuse(str(error), asked)
            return
        if await asyncio.to_thread(_signature, path) != found:
            return  # changed while it was read: the next look sees it
        self._judged = found
        trouble = self._past(path, new)
        if trouble:
            self._refuse(trouble, asked)
        else:
            self._put_in_force(new, asked)

    def _past(self, path: Path, new: PriceFile) -> str:
        """Why new prices are of no use now, where those in force are."""
        now_s, prices = self._clock.utc_s(), new.prices
        if prices.start_utc_s[0] <= now_s < prices.end_utc_s or self._prices.series.at(now_s) is None:
            return ""
        reach = f"from {self._local(prices.start_utc_s[0])} to {self._local(prices.end_utc_s)}"
        return f"{path}: holds prices {reach}; expected some for now, {self._local(now_s)}"

    def _refuse(self, why: str, asked: bool) -> None:
        if why != self._prices.error or asked:
            kept = self._reach(self._prices.end_utc_s)
            text = f"the price file cannot be used, the prices before stay ({kept}): {why}"
            self._events.event("gateway", "warning", "tariff", text)
        self._prices.refuse(why)

    def _put_in_force(self, new: PriceFile, asked: bool) -> None:
        mended, before = bool(self._prices.error), self._reach(self._prices.end_utc_s)
        now, same = self._reach(new.prices.end_utc_s), new.prices == self._prices.series
        self._prices.replace(self._prices.series if same else new.prices)
        if same:
            if mended or asked:
                text = f"the price file was read again: the prices are those in force ({now})"
                self._events.event("gateway", "info", "tariff", text)
            return
        text = f"new prices are in force ({now}); before: {before}"
        self._events.event("gateway", "info", "tariff", text)
        for remark in new.remarks:
            self._events.event("gateway", "warning", "tariff", f"{self._file}: {remark}")
        self._on_change()

    def _reach(self, end_utc_s: float | None) -> str:
        return "there are none" if end_utc_s is None else f"they end {self._local(end_utc_s)}"

    def _local(self, utc_s: float) -> str:
        return f"{datetime.fromtimestamp(utc_s, self._zone):%Y-%m-%d %H:%M %Z}"


def _signature(path: Path) -> Signature | None:
    """What changes when a file is written or replaced; None: there is none that can be read."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
