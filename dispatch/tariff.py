"""Market prices over time, keyed by UTC instants."""

from __future__ import annotations

import bisect

import msgspec


class PriceSeries(msgspec.Struct, frozen=True):
    """Day-ahead prices: entry i holds from `start_utc_s[i]` until `start_utc_s[i + 1]`, the last until `end_utc_s`.

    Steps may differ (hourly and quarter-hourly side by side); a gap is an entry whose price is None.
    """

    start_utc_s: tuple[int, ...]
    eur_per_mwh: tuple[float | None, ...]
    end_utc_s: int

    def at(self, utc_s: float) -> float | None:
        """The price in force, EUR/MWh, or None before the first, in a gap, or after the end."""
        if not self.start_utc_s or utc_s < self.start_utc_s[0] or utc_s >= self.end_utc_s:
            return None
        return self.eur_per_mwh[bisect.bisect_right(self.start_utc_s, utc_s) - 1]
