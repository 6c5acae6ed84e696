"""Watches the price file and puts its prices in force when it has changed.

A new file is read, in a thread, once it looks the same twice in a row: who writes it may be at it. One that cannot be
used leaves the prices in force, as does one that is gone, one whose unit is doubtful, and one that no longer tells all
the prices that are known from now on.
"""

from __future__ import annotations

import asyncio
import bisect
import contextlib
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from dispatch.billing.market_prices import PriceSeries
from dispatch.model.clock import Clock
from drivers.tariffs.acceptance import accepted
from drivers.tariffs.csv_file import PriceFile, TariffFileError, is_bundled, read
from drivers.tariffs.series import LONGEST_STEP_S
from gateway.event_sink import EventSink
from gateway.prices_in_force import PricesInForce
from gateway.site.schema import Site
from gateway.supervised_calls import PartHangs, SupervisedCalls

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
        calls: SupervisedCalls,
        look_s: float = LOOK_S,
    ) -> None:
        """`on_change` is called when other prices are in force."""
        self._file, self._base, self._zone = site.tariff.file, site.path.parent, ZoneInfo(site.site.timezone)
        self._site_file, self._site_read = site.path, _signature(site.path)
        self._terms = site.tariff.file_terms
        self._as_declared, self._feeds = site.tariff.prices_as_declared, bool(site.tariff.feed)
        self._prices, self._clock, self._events, self._on_change = prices, clock, events, on_change
        self._look_s, self._calls = look_s, calls
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
                async with asyncio.timeout(self._look_s):
                    await self._asked.wait()
            with contextlib.suppress(PartHangs):  # said by its alarm
                await self.look()

    async def look(self) -> None:
        """Look at the file once; read it if it has changed and then stood still, or if somebody asked for it."""
        asked = self._asked.is_set()
        self._asked.clear()
        path = self._base / self._file
        found = await self._calls.call(_signature, path)
        if asked:
            await self._tell_what_is_not_read()
        if asked or (found == self._seen and found != self._judged):
            await self._take(path, found, asked)
        self._seen = found

    async def _without_file(self) -> None:
        while True:
            await self._asked.wait()
            self._asked.clear()
            with contextlib.suppress(PartHangs):
                await self._tell_what_is_not_read()
            if self._feeds:
                self._events.event("gateway", "info", "tariff", "no price file to read again: the feeds are asked")
                continue
            what = f"{self._file} comes with Skerry" if self._file else "there is no [tariff] file"
            self._events.event("gateway", "info", "tariff", f"no prices to read again: {what}")

    async def _tell_what_is_not_read(self) -> None:
        """Fees are in the site file, which only a start reads: say so, and whether it has changed."""
        text = "only the price file is read again; fees, tax, VAT and demand charge stay as read from the site file"
        changed = await self._calls.call(_signature, self._site_file) != self._site_read
        if changed:
            text += f": {self._site_file} has changed since, restart the gateway for it"
        self._events.event("gateway", "warning" if changed else "info", "tariff", text)

    async def _take(self, path: Path, found: Signature | None, asked: bool) -> None:
        """Read the file, and put its prices in force unless they cannot be used."""
        try:
            new = await self._calls.call(self._read)
        except (TariffFileError, OSError) as error:
            self._judged = found
            self._refuse(str(error), asked)
            return
        if await self._calls.call(_signature, path) != found:
            return  # changed while it was read: the next look sees it
        self._judged = found
        trouble = await self._calls.call(self._lost, path, new.prices)
        if trouble:
            self._refuse(trouble, asked)
        else:
            self._put_in_force(new, asked)

    def _read(self) -> PriceFile:
        found = read(self._file, self._base, self._terms)
        return accepted(found, self._as_declared, self._prices.series)

    def _lost(self, path: Path, new: PriceSeries) -> str:
        """What is known of now and later by the prices in force, and would not be by new ones; empty: nothing."""
        known, now_s = self._prices.series, self._clock.utc_s()
        if not known.start_utc_s or known.end_utc_s <= now_s:
            return ""
        instants = sorted({now_s, *(s for s in (*known.start_utc_s, *new.start_utc_s, new.end_utc_s) if s > now_s)})
        first_s = next((s for s in instants if known.at(s) is not None and not _tells(new, s, known.at(s))), None)
        if first_s is None:
            return ""
        reach = f"from {self._local(new.start_utc_s[0])} to {self._local(new.end_utc_s)}"
        return (
            f"{path}: holds prices {reach}, none for {self._local(first_s)}; expected one, it is known: write the "
            "whole file again, or restart the gateway if the prices before were wrong"
        )

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


def _tells(prices: PriceSeries, utc_s: float, known: float | None) -> bool:
    """Whether the series has a price for this moment from a row, or held over missing rows one that is known."""
    price = prices.at(utc_s)
    if price is None or price == known:
        return price is not None
    k = bisect.bisect_right(prices.start_utc_s, utc_s)
    end_s = prices.start_utc_s[k] if k < len(prices.start_utc_s) else prices.end_utc_s
    return end_s - prices.start_utc_s[k - 1] <= LONGEST_STEP_S


def _signature(path: Path) -> Signature | None:
    """What changes when a file is written or replaced; None: there is none that can be read."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
