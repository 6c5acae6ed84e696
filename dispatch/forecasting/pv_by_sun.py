"""Forecasts PV power of the next hours as a share of what a clear sky would give on the site's planes."""

from __future__ import annotations

import math
from collections.abc import Mapping

from dispatch.forecasting.clear_sky import PvSite, clear_quarter_w
from dispatch.forecasting.load import DAY_STEPS, quarter_of
from dispatch.forecasting.pv_yield import NoYield, YieldWatch
from dispatch.forecasting.service_forecast import FollowedService, ServiceForecast
from dispatch.model.forecast import QUARTER_S
from dispatch.model.reasons import Reason

DAYS = 14  # that the share of each time of day is learnt from
HISTORY = DAYS * DAY_STEPS
WIDTH = 2  # quarters before and after that count for a time of day
LATEST = 4  # quarters that tell how today compares
# Weight of the last hour against the days before: what remains after a day, what more right now, and how long it lasts
# in quarters; and that of the last 24 h. Found on the three real traces of `benchmarks/pv_forecast.py`.
STAYS, NOW, LASTS = 0.25, 0.75, 12.0
LAST_DAY = 0.4
USUAL = 0.55  # share of the clear sky's energy in a year: DTU Lyngby 0.57, SimBench PV4 0.53, PV5 0.51 (2016)
USUAL_WEIGHT = 0.25  # of peak power, in the sum that a time of day has: gone after the first bright quarters
DIM = 0.025  # of peak power: with less sun in the last hour it tells nothing
BRIGHTEST = 1.15  # of the clear sky: edges of clouds


class SunPvForecaster:
    """PV as the share of a clear sky that its time of day had of late, scaled by the last hour and the last day."""

    def __init__(self, site: PvSite) -> None:
        self._site = site
        self._watch = YieldWatch(site.peak_w)
        self._service = FollowedService(site.peak_w)
        self._clear_w: dict[int, float] = {}  # by quarter
        self._seen: dict[int, tuple[float, float]] = {}  # by quarter: W, W under a clear sky; none of a fault
        self._sums = [[0.0, 0.0] for _ in range(DAY_STEPS)]  # of them, by time of day (UTC)
        self._latest: dict[int, float] = {}  # W by quarter, of the last hour, a fault among them
        self._last: int | None = None

    def source(self, utc_s: float) -> Reason | None:
        """What a forecast at this moment is made from."""
        if self._watch.trouble is not None:
            return Reason("pv_source.trouble", {"share_pct": 100 * self._watch.trouble.share})
        service = self._service.usable(utc_s)
        if service is None:
            return Reason("pv_source.sun")
        return Reason("pv_source.service", {"service": service.source, "age_s": max(0.0, utc_s - service.made_utc_s)})

    def take_service(self, forecast: ServiceForecast) -> None:
        """A weather service has told what it expects."""
        self._service.take(forecast)

    @property
    def trouble(self) -> NoYield | None:
        """PV that gives next to nothing with the sun up; None: it works, or nobody knows."""
        return self._watch.trouble

    def observe(self, start_utc_s: int, mean_w: float) -> bool:
        """Take the mean PV power of a finished quarter hour. As `LoadForecaster.observe`."""
        quarter = quarter_of("PV", start_utc_s, mean_w)
        if self._last is not None and quarter <= self._last:
            return False
        self._last = quarter
        self._latest[quarter] = mean_w
        for each in [q for q in self._latest if q <= quarter - LATEST]:
            del self._latest[each]
        clear_w, clearness = self._clear(quarter), self.clearness(quarter)
        expected_w = None if clearness is None else clearness * clear_w
        for q, w, sky_w in self._watch.take(quarter, mean_w, clear_w, expected_w):
            self._count(q, w, sky_w)
            self._service.learn(q, w)
        self._forget(quarter - HISTORY)
        return True

    def clearness(self, quarter: int) -> float | None:
        """Of a clear sky, what a weather service expected of a quarter hour; None: there is none, or no sun."""
        expected_w, clear_w = self._service.expected_w(quarter, quarter * QUARTER_S), self._clear(quarter)
        return None if expected_w is None or clear_w <= 0 else self._service.share * expected_w / clear_w

    def predict(self, start_utc_s: int, steps: int, now_w: float | None = None) -> tuple[float, ...]:
        """Mean PV power, W >= 0, of `steps` quarters from the one that holds `start_utc_s`.

        `now_w`, the power at this moment, tells how bright it is before any quarter has been observed.
        """
        first = start_utc_s // QUARTER_S
        last = first - 1 if self._last is None else self._last
        latest_w = self._latest if self._last is not None else {} if now_w is None else {first: max(0.0, now_w)}
        bright, day = self._against_usual(latest_w), self._last_day(last)
        end = self._sunset(first) if self.trouble is not None else None
        own_w = {q: self._expected(q, last, bright, day, end) for q in range(first, first + steps)}
        if end is not None:  # what covers the panels today is known here only
            return tuple(w if q < end else self._service.blended_w(w, q, start_utc_s) for q, w in own_w.items())
        return tuple(self._service.blended_w(w, q, start_utc_s) for q, w in own_w.items())

    def _expected(self, quarter: int, last: int, bright: float | None, day: float, trouble_until: int | None) -> float:
        clear_w = self._clear(quarter)
        if clear_w <= 0:
            return 0.0
        share = self._share(quarter)
        if trouble_until is not None and quarter < trouble_until:
            return clear_w * share * min(1.0, bright or 0.0)
        if trouble_until is not None or bright is None:
            weight = 0.0
        else:
            weight = STAYS + NOW * math.exp(-max(0, quarter - last - 1) / LASTS)
        factor = 1 + weight * ((bright or 0.0) - 1) + LAST_DAY * (1 - weight) * (day - 1)
        return clear_w * min(max(0.0, share * factor), max(BRIGHTEST, share))

    def _share(self, quarter: int) -> float:
        """Of a clear sky, at this time of day in the last fortnight."""
        slots = [self._sums[(quarter + k) % DAY_STEPS] for k in range(-WIDTH, WIDTH + 1)]
        usual_w = USUAL_WEIGHT * self._site.peak_w
        return (sum(slot[0] for slot in slots) + USUAL * usual_w) / (sum(slot[1] for slot in slots) + usual_w)

    def _against_usual(self, latest_w: Mapping[int, float]) -> float | None:
        """The last hour against its times of day of late; None where there was too little sun to compare."""
        clear_w = sum(self._clear(q) for q in latest_w)
        usual_w = sum(self._clear(q) * self._share(q) for q in latest_w)
        if not latest_w or clear_w < DIM * self._site.peak_w * len(latest_w) or usual_w <= 0:
            return None
        return sum(latest_w.values()) / usual_w

    def _last_day(self, last: int) -> float:
        """The last 24 h against the last fortnight; 1 before there is a day."""
        day = [self._seen[q] for q in range(last - DAY_STEPS + 1, last + 1) if q in self._seen]
        given_w, clear_w = (sum(each[k] for each in day) for k in (0, 1))
        all_w, all_clear_w = (sum(slot[k] for slot in self._sums) for k in (0, 1))
        if min(clear_w, all_clear_w) < self._site.peak_w or all_w <= 0:
            return 1.0
        return (given_w / clear_w) / (all_w / all_clear_w)

    def _sunset(self, quarter: int) -> int:
        """The first quarter, from this one on, without sun; the next one after a day of it."""
        return next((q for q in range(quarter, quarter + DAY_STEPS) if self._clear(q) <= 0), quarter + DAY_STEPS)

    def _count(self, quarter: int, w: float, clear_w: float) -> None:
        self._seen[quarter] = w, clear_w
        slot = self._sums[quarter % DAY_STEPS]
        slot[0] += w
        slot[1] += clear_w

    def _forget(self, until: int) -> None:
        while self._seen and (oldest := next(iter(self._seen))) <= until:
            w, clear_w = self._seen.pop(oldest)
            slot = self._sums[oldest % DAY_STEPS]
            slot[0] = max(0.0, slot[0] - w)
            slot[1] = max(0.0, slot[1] - clear_w)

    def _clear(self, quarter: int) -> float:
        if quarter not in self._clear_w:
            if len(self._clear_w) > HISTORY:
                del self._clear_w[next(iter(self._clear_w))]
            self._clear_w[quarter] = clear_quarter_w(self._site, quarter)
        return self._clear_w[quarter]
