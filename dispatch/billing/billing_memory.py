"""Defines what of the metering interval and the months' peaks must survive a restart."""

from __future__ import annotations

import msgspec

from dispatch.billing.charge_peaks import PeakMemory
from dispatch.billing.counted_energy import Counted, HoleMemory
from dispatch.billing.month_peaks import MonthSoFar


class Billing(msgspec.Struct, frozen=True):
    """What must survive a restart."""

    month: str = ""  # "2025-09" in the site's time zone, "2025" where years are billed; empty: nothing is known
    month_peak_w: float = 0.0
    interval_start_utc_s: float | None = None
    interval_known_wh: float = 0.0  # measured, in `interval_known_s`
    interval_known_s: float = 0.0
    interval_assumed_wh: float = 0.0  # for the rest of the time up to `saved_utc_s`
    saved_utc_s: float | None = None
    import_w: float | None = None  # the last one known
    month_measured_s: float = 0.0
    month_days_w: dict[str, float] = {}
    month_added: float = 0.0
    month_reached_w: dict[str, dict[str, float]] = {}
    earlier: dict[str, MonthSoFar] = {}  # other months the clock was in, the latest last
    counted: Counted | None = None  # all of the running interval; None: a version before this one saved it
    hole: HoleMemory = HoleMemory()
    charge: str = ""  # whose peaks the fields above are; "": of the demand charge of [tariff], the only one there was
    others: dict[str, PeakMemory] = {}  # by charge, those of the other charges

    def peaks(self) -> dict[str, PeakMemory]:
        """The peaks by charge."""
        so_far = MonthSoFar(
            self.month_peak_w, self.month_measured_s, self.month_days_w, self.month_added, self.month_reached_w
        )
        return {self.charge: PeakMemory(self.month, so_far, self.earlier), **self.others}


def counted_of(saved: Billing, start: float) -> Counted:
    """What was counted of the interval that was saved."""
    return saved.counted or Counted(
        known_ws=saved.interval_known_wh * 3600,
        known_s=saved.interval_known_s,
        assumed_ws=saved.interval_assumed_wh * 3600,
        unknown_s=max((saved.saved_utc_s or start) - start - saved.interval_known_s, 0.0),
    )
