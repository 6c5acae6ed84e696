"""Follows the PV forecast of a weather service: how far it is to be believed, and until when."""

from __future__ import annotations

import math
from collections.abc import Mapping

import msgspec

from dispatch.forecasting.load import DAY_STEPS
from dispatch.model.forecast import QUARTER_S

OLDEST_S = 24 * 3600.0  # a forecast that is older is not used
# Quarters in which the last hour's power gives way to the service: a cloud that is there now is known better here than
# there, for two hours or so. Not measured: no recorded forecasts came with the traces.
NEAR = 8.0
MEMORY = 14 * DAY_STEPS  # quarters that the share is learnt from; older ones count less
DOUBT = 3.0  # in hours of peak power: how much must have come before the share is believed
SHARES = (0.2, 3.0)  # within which it is believed


class ServiceForecast(msgspec.Struct, frozen=True):
    """PV power, W at the AC terminals, by quarter hour (number since 1970), as a service expected it then."""

    source: str
    made_utc_s: float
    powers_w: Mapping[int, float]


class FollowedService:
    """The forecast in force, and which share of such forecasts has come of late."""

    def __init__(self, peak_w: float) -> None:
        self._doubt_w = DOUBT * (3600 / QUARTER_S) * peak_w
        self._given_w = self._expected_w = 0.0  # sums that forget
        self.forecast: ServiceForecast | None = None

    def take(self, forecast: ServiceForecast) -> None:
        """Another forecast is in force."""
        self.forecast = forecast

    def learn(self, quarter: int, mean_w: float) -> None:
        """What came of a quarter hour."""
        expected_w = self.expected_w(quarter, quarter * QUARTER_S)
        if expected_w is not None:
            keep = 1 - 1 / MEMORY
            self._given_w = keep * self._given_w + mean_w
            self._expected_w = keep * self._expected_w + expected_w

    def expected_w(self, quarter: int, now_utc_s: float) -> float | None:
        """What the service expected; None: it has not this quarter hour, or is too old."""
        forecast = self.usable(now_utc_s)
        return None if forecast is None else forecast.powers_w.get(quarter)

    def usable(self, now_utc_s: float) -> ServiceForecast | None:
        """The forecast in force, unless it is too old."""
        if self.forecast is None or not -OLDEST_S <= now_utc_s - self.forecast.made_utc_s <= OLDEST_S:
            return None
        return self.forecast

    def blended_w(self, own_w: float, quarter: int, now_utc_s: float) -> float:
        """Own forecast for the next hours, the service's corrected by its share for what comes after."""
        expected_w = self.expected_w(quarter, now_utc_s)
        if expected_w is None:
            return own_w
        own = math.exp(-max(0.0, quarter - now_utc_s / QUARTER_S) / NEAR)
        return own * own_w + (1 - own) * self.share * expected_w

    @property
    def share(self) -> float:
        """Of the service's forecasts, what came."""
        low, high = SHARES
        return min(high, max(low, (self._given_w + self._doubt_w) / (self._expected_w + self._doubt_w)))
