"""Computes the Energy IQ in the background: each hour for the running day, after midnight for the day that ended.

A thread of its own reads the record; the control loop only takes `now`, the figures last computed.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from contextlib import closing
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from dispatch.config.schema import DispatchConfig
from dispatch.model.clock import Clock, ClockState
from dispatch.planning.lp_solver import SolverFailed
from gateway.api.protocol import IqNow
from gateway.energy_iq_history import Report, kept_reports, local_day, make_report, today
from gateway.event_sink import EventSink
from gateway.prices_in_force import PricesInForce
from gateway.supervised_calls import PartHangs, SupervisedCalls
from storage.reader import Archive, NoRecords, QueryTimeout

log = logging.getLogger("skerry.gateway")

STATE = "iq"  # its key in the record's memory
KEPT_DAYS = 62
FIRST_S = 20.0  # of machine time after the start: the first ticks come first
PERIOD_S = 3600.0  # of site time
AFTER_S = 60.0  # behind a full hour or a day, so that its last minute is on record
CLOSE_S = 3.0  # at most, for what is under way when the gateway stops: an interpreter should not end amid a solver
MOST_ASKED = 3  # reports computed for people at a time
READ_S = 20.0  # of machine time, for a day of minutes


class EnergyIqService:
    """The reports by day, and the figures that consoles show and an alarm judges."""

    def __init__(
        self,
        config: DispatchConfig,
        prices: PricesInForce,
        state_dir: Path,
        clock: Clock,
        events: EventSink,
        save: Callable[[str, Any], None],
        kept: dict[str, Report],
        calls: SupervisedCalls,
        clock_state: Callable[[], ClockState] = ClockState,
    ) -> None:
        """`save` keeps a value under a key in the record's memory. `kept`: the reports of earlier gateways, by day.

        `clock_state`: what is known of the time; nothing is computed while it is not known.
        """
        self.now: IqNow | None = None
        self._config, self._prices, self._state_dir = config, prices, state_dir
        self._clock, self._events, self._save = clock, events, save
        self._kept, self._calls, self._clock_state = dict(kept), calls, clock_state
        self._closing = threading.Event()
        self._asked = 0  # reports that somebody waits for

    async def run(self) -> None:
        """Compute until cancelled. Nothing to do on a site without a battery."""
        if not self._config.batteries:
            return
        await asyncio.sleep(FIRST_S)
        while True:
            if not self._clock_state().known:
                await asyncio.sleep(FIRST_S)
                continue
            utc_s = self._clock.utc_s()
            self._drop_early(utc_s)
            try:
                await self._judge_yesterday(utc_s)
                running = await self._calls.call(partial(self._make, today(utc_s, self._zone), utc_s, causes=False))
                self.now = self._figures(running)
            except (NoRecords, QueryTimeout, SolverFailed, PartHangs) as error:
                log.warning("no Energy IQ: %s", error)
            due_s = PERIOD_S - (self._clock.utc_s() - AFTER_S) % PERIOD_S
            await asyncio.sleep(due_s / self._clock.speed)

    def adopt(self, kept: dict[str, Report]) -> None:
        """Take over reports of earlier gateways that could not be read at the start."""
        self._kept = kept | self._kept

    async def report(self, day: date, utc_s: float) -> Report:
        """The report of a day, kept or computed now; of a day that has ended it is kept then.

        Raises NoRecords, QueryTimeout (also while others wait for theirs), SolverFailed, ValueError for a day ahead.
        """
        kept = self._kept.get(day.isoformat())
        if kept is not None and kept.fits(self._config):
            return kept
        if self._asked >= MOST_ASKED:
            raise QueryTimeout("other days' Energy IQ is being computed; ask again in a minute")
        self._asked += 1
        try:
            report = await self._calls.call(partial(self._make, day, utc_s, causes=True))
        except PartHangs as error:
            raise QueryTimeout(str(error)) from None
        finally:
            self._asked -= 1
        if utc_s >= local_day(day, self._zone)[1] + AFTER_S:
            self._kept[report.day] = report
            for old in sorted(self._kept)[:-KEPT_DAYS]:
                del self._kept[old]
            self._save(STATE, self._kept)
        return report

    def _drop_early(self, utc_s: float) -> None:
        """A report that was made later than now is of a clock that was ahead: its day was not over."""
        self._kept = {day: report for day, report in self._kept.items() if report.made_utc_s <= utc_s}

    async def close(self) -> None:
        """Begin nothing more; wait for what is under way, at most `CLOSE_S`."""
        self._closing.set()
        await self._calls.ended(CLOSE_S)

    @property
    def _zone(self) -> str:
        return self._config.timezone

    async def _judge_yesterday(self, utc_s: float) -> None:
        """Judge the day that ended, once; say so in the log when there is a figure."""
        day = today(utc_s, self._zone) - timedelta(days=1)
        kept, settled_s = self._kept.get(day.isoformat()), local_day(day, self._zone)[1] + AFTER_S
        if utc_s < settled_s or (kept is not None and kept.fits(self._config)):
            return
        report = await self.report(day, utc_s)
        if report.iq.iq_pct is not None:
            month = "" if report.month.iq_pct is None else f"; month to date {report.month.iq_pct:.0f}"
            text = f"Energy IQ {report.iq.iq_pct:.0f} for {report.day}{month}"
            self._events.event("plan", "info", "energy-iq", text)

    def _make(self, day: date, utc_s: float, *, causes: bool) -> Report:
        archive = Archive(self._state_dir, timeout_s=READ_S)
        try:
            if self._closing.is_set():
                raise QueryTimeout("the gateway is stopping")
            return make_report(archive, self._config, day, utc_s, self._prices.series, causes=causes)
        finally:
            archive.close()

    def _figures(self, running: Report) -> IqNow:
        """The running day and month, and the day before, as consoles show them."""
        before = self._kept.get((date.fromisoformat(running.day) - timedelta(days=1)).isoformat())
        return IqNow(
            made_utc_s=running.made_utc_s,
            day=running.day,
            today_pct=running.iq.iq_pct,
            today_known_h=running.iq.known_h,
            today_of_h=running.iq.of_h,
            month_pct=running.month.iq_pct,
            month_known_h=running.month.known_h,
            month_of_h=running.month.of_h,
            month_saved_eur=running.month.saved_eur,
            yesterday_pct=None if before is None else before.iq.iq_pct,
            today_cost_eur=None if running.iq.own is None else running.iq.own.total_eur,
        )


def remembered(state_dir: Path) -> dict[str, Report]:
    """The reports that earlier gateways kept. Raises NoRecords, QueryTimeout, msgspec.ValidationError."""
    with closing(Archive(state_dir)) as archive:
        return kept_reports(archive.last_state(STATE) or {})
