"""Forecasts PV power of the next hours from its recent days."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from dispatch.forecasting.load import DAY_STEPS, HISTORY_STEPS, PROFILE_DAYS, quarter_of
from dispatch.model.forecast import QUARTER_S
from dispatch.model.reasons import Reason


class PvForecaster:
    """PV from its own recent days: the mean at the same time of day, scaled by how the last hour compares with it.

    Knows neither weather nor clear sky. Before there are two days of history the last value is held until local noon
    and then falls with a half sine from 6 to 18 h local time, never above the last value.
    """

    MIN_DAYS = 2
    FADE_STEPS = 12  # how long the last hour's ratio lasts, quarters

    def __init__(self, timezone: str) -> None:
        self._zone = ZoneInfo(timezone)
        self._powers: dict[int, float] = {}
        self._last: int | None = None
        self._means: dict[tuple[int, bool], float | None] = {}  # by quarter number; worked out once

    def observe(self, start_utc_s: int, mean_w: float) -> bool:
        """Take the mean PV power of a finished quarter hour. As `LoadForecaster.observe`."""
        quarter = quarter_of("PV", start_utc_s, mean_w)
        if self._last is not None and quarter <= self._last:
            return False
        self._powers[quarter] = mean_w
        self._last = quarter
        while (oldest := next(iter(self._powers))) <= quarter - HISTORY_STEPS:
            del self._powers[oldest]
        return True

    def predict(self, start_utc_s: int, steps: int, now_w: float | None = None) -> tuple[float, ...]:
        """Mean PV power, W >= 0, of `steps` quarters from the one that holds `start_utc_s`.

        `now_w`, the power at this moment, is what fades before any quarter has been observed.
        """
        first = start_utc_s // QUARTER_S
        if self._last is None:
            return tuple(self._fading(max(0.0, now_w or 0.0), first, first + k) for k in range(steps))
        ratio = self._ratio()
        result = []
        for quarter in range(first, first + steps):
            mean_w = self._mean(quarter)
            if mean_w is None:
                result.append(self._fading(self._powers[self._last], self._last, quarter))
            else:
                fade = math.exp(-max(0, quarter - self._last) / self.FADE_STEPS)
                result.append(mean_w * (1 + (ratio - 1) * fade))
        return tuple(result)

    def source(self, _utc_s: float) -> Reason | None:
        """Nothing to say of it: there is no other way."""
        return None

    def _mean(self, quarter: int) -> float | None:
        assert self._last is not None
        of = quarter, quarter - DAY_STEPS <= self._last  # nothing that is observed later changes it
        if of not in self._means:
            days = (quarter - day * DAY_STEPS for day in range(1, PROFILE_DAYS + 3))
            seen = [self._powers[q] for q in days if q in self._powers][:PROFILE_DAYS]
            self._means[of] = sum(seen) / len(seen) if len(seen) >= self.MIN_DAYS else None
            if quarter - 2 * DAY_STEPS > self._last:
                return self._means.pop(of)
            if len(self._means) > HISTORY_STEPS:
                del self._means[next(iter(self._means))]
        return self._means[of]

    def _ratio(self) -> float:
        """The last hour against the same hour's mean, 0..2; 1 where there was no sun to compare."""
        assert self._last is not None
        pairs = [
            (self._powers[q], mean_w)
            for q in range(self._last - 3, self._last + 1)
            if q in self._powers and (mean_w := self._mean(q)) is not None
        ]
        expected = sum(mean_w for _, mean_w in pairs)
        return min(2.0, sum(w for w, _ in pairs) / expected) if expected > 0 else 1.0

    def _fading(self, w: float, seen: int, quarter: int) -> float:
        """Power `w` of quarter `seen`, let down with the sun until `quarter`."""
        now, then = self._sun(seen), self._sun(quarter)
        return w * min(1.0, then / now) if now > 0 else 0.0

    def _sun(self, quarter: int) -> float:
        local = datetime.fromtimestamp(quarter * QUARTER_S + QUARTER_S / 2, UTC).astimezone(self._zone)
        return max(0.0, math.sin(math.pi * (local.hour + local.minute / 60 - 6) / 12))
