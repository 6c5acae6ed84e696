"""Defines what a kWh of the grid's mix emits, by the quarter hour."""

from __future__ import annotations

import msgspec

STEP_S = 900
MOST_FIGURES = 5000  # of a series: far more than is asked for, and kept


class CarbonSeries(msgspec.Struct, frozen=True):
    """g CO2 equivalent per kWh of each quarter hour from `start_utc_s` on; None: not known."""

    start_utc_s: int = 0
    g_per_kwh: tuple[float | None, ...] = ()

    @property
    def end_utc_s(self) -> int:
        """When the last quarter hour ends."""
        return self.start_utc_s + STEP_S * len(self.g_per_kwh)

    def at(self, utc_s: float) -> float | None:
        """What holds at an instant, g/kWh; None: not known."""
        number = int((utc_s - self.start_utc_s) // STEP_S)
        return self.g_per_kwh[number] if 0 <= number < len(self.g_per_kwh) else None


NO_CARBON = CarbonSeries()


def merged(known: CarbonSeries, new: CarbonSeries, from_utc_s: float) -> CarbonSeries:
    """The new figures, and the known ones wherever the new have none; nothing before `from_utc_s`."""
    parts = [part for part in (known, new) if part.g_per_kwh]
    if not parts:
        return NO_CARBON
    first_s = max(min(part.start_utc_s for part in parts), int(from_utc_s // STEP_S) * STEP_S)
    starts = range(first_s, max(part.end_utc_s for part in parts), STEP_S)[:MOST_FIGURES]
    figures = tuple(known.at(s) if (told := new.at(s)) is None else told for s in starts)
    return CarbonSeries(first_s, figures) if figures else NO_CARBON
