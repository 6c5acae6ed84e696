"""Holds a stretch of metered energy, and the means of its intervals of any length."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import msgspec

from dispatch.billing.charges.calendar import Calendar
from dispatch.billing.charges.local_times import LocalTimes, local_times
from dispatch.config.charges import Charge
from dispatch.config.tariff_terms import TariffTerms


class Metered(msgspec.Struct, frozen=True, kw_only=True):
    """Evenly spaced energy: value i is of `step_s` from `start_utc_s + i x step_s`. kWh, kvarh, all >= 0.

    Empty `export_kwh`: nothing was exported. `reactive_kvarh` are inductive. Empty
    `reactive_kvarh` or `capacitive_kvarh`: not measured. `eur_per_mwh`: the market's price
    in each step; empty: not known.
    """

    start_utc_s: int
    step_s: int
    import_kwh: Sequence[float]
    export_kwh: Sequence[float] = ()
    reactive_kvarh: Sequence[float] = ()
    capacitive_kvarh: Sequence[float] = ()
    eur_per_mwh: Sequence[float] = ()


class Intervals(NamedTuple):
    """Means over intervals of one length; at the ends of the stretch of the part that is there."""

    length_s: int
    start_utc_s: Any  # array
    kw: Any
    kvar: Any | None
    times: LocalTimes


class Stretch:
    """The metered energy on the local calendar; what several charges need is computed once."""

    def __init__(self, metered: Metered, tariff: TariffTerms, calendar: Calendar) -> None:
        """Raises ValueError for series of different lengths, and for values that are no numbers."""
        import numpy as np

        self.metered, self.tariff, self.calendar = metered, tariff, calendar
        self.count = len(metered.import_kwh)
        for name in ("import_kwh", "export_kwh", "reactive_kvarh", "capacitive_kvarh", "eur_per_mwh"):
            values = getattr(metered, name)
            if len(values) not in (0, self.count):
                raise ValueError(f"{name}: {len(values)} values: expected {self.count}, as many as import_kwh has")
            if not np.isfinite(np.asarray(values, dtype=float)).all():
                raise ValueError(f"{name}: expected finite numbers")
        self._intervals: dict[int, Intervals] = {}

    @cached_property
    def times(self) -> LocalTimes:
        """The begin of each step."""
        import numpy as np

        first, step = self.metered.start_utc_s, self.metered.step_s
        return local_times(first + step * np.arange(self.count), self.calendar.timezone)

    def series(self, name: str) -> Any:
        """`import_kwh` and the others, as an array; zeros where there is none."""
        import numpy as np

        values = getattr(self.metered, name)
        return np.asarray(values, dtype=float) if len(values) else np.zeros(self.count)

    def intervals(self, length_s: int) -> Intervals:
        """Raises ValueError for a step that does not divide the interval."""
        if length_s not in self._intervals:
            self._intervals[length_s] = self._means(length_s)
        return self._intervals[length_s]

    def _means(self, length_s: int) -> Intervals:
        import numpy as np

        start, step = self.metered.start_utc_s, self.metered.step_s
        if step <= 0 or length_s % step or start % step:
            raise ValueError(f"step of {step} s: expected to divide the interval of {length_s} s evenly")
        numbers = (start + step * np.arange(self.count)) // length_s
        kinds, which = np.unique(numbers, return_inverse=True)
        hours = np.bincount(which, minlength=len(kinds)) * step / 3600
        kw = np.bincount(which, weights=self.series("import_kwh"), minlength=len(kinds)) / hours
        kvar = None
        if len(self.metered.reactive_kvarh):
            kvar = np.bincount(which, weights=self.series("reactive_kvarh"), minlength=len(kinds)) / hours
        begins = kinds * length_s
        return Intervals(length_s, begins, kw, kvar, local_times(begins, self.calendar.timezone))


def power(charge: Charge, tariff: TariffTerms, intervals: Intervals) -> Any:
    """Each interval's kW, kVA or kvar, as the charge has it. Without reactive energy by the stated power factor.

    Raises ValueError where neither is there.
    """
    import numpy as np

    if charge.basis == "kW":
        return intervals.kw
    kvar = intervals.kvar
    if kvar is None:
        kvar = intervals.kw * reactive_share(charge, tariff)
    return kvar if charge.basis == "kvar" else np.hypot(intervals.kw, kvar)


def reactive_share(charge: Charge, tariff: TariffTerms) -> float:
    """kvarh of each kWh by the stated power factor: the tangent of its angle. Raises ValueError without one."""
    factor = tariff.power_factor
    if factor is None:
        raise ValueError(f"charge {charge.id}: expected reactive energy beside the imported, or [tariff] power_factor")
    return math.sqrt(1 - factor * factor) / factor
