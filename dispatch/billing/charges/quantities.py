"""Calculates what each period is billed on: peaks, what is above a contract, reactive energy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from typing import Any, NamedTuple

from dispatch.billing.charges.accounts import billed_w, day_account, interval_s
from dispatch.billing.charges.local_times import held, in_windows
from dispatch.billing.charges.stretch import Stretch, power, reactive_share
from dispatch.config.charges import Charge
from dispatch.config.window_times import month_numbers
from dispatch.model.reasons import Reason

MONTHS_OF_YEAR = 12


class Billed(NamedTuple):
    """What a period is billed on, in the charge's unit; the intervals that set it; what must be said of it."""

    quantity: float
    set_by_utc_s: tuple[int, ...] = ()
    remarks: tuple[Reason, ...] = ()


class Peak(NamedTuple):
    """The highest interval of an account, weighted."""

    kw: float
    start_utc_s: int


Peaks = dict[str, dict[str, Peak]]  # by period, by peak


def peaks_of(charge: Charge, stretch: Stretch, length_s: int, windows: tuple[str, ...] = ()) -> Peaks:
    """The highest interval of each account in each period; `windows`: of intervals in these, too.

    Where a peak must have been reached several times (`occurs`), the last of so many highest. Where each interval is a
    peak of its own, the `top` highest of a period.
    """
    import numpy as np

    intervals = stretch.intervals(length_s)
    times = intervals.times
    counts = held(charge, stretch.calendar, times)
    if windows:
        counts &= in_windows(windows, stretch.calendar, times)
    value = power(charge, stretch.tariff, intervals) * times.by_day(lambda day: day_account(charge, day).weight)
    labels = [day_account(charge, day)[:2] for day in times.days]
    accounts = sorted(set(labels))
    code_of = {label: n for n, label in enumerate(accounts)}
    codes = np.array([code_of[label] for label in labels])[times.day_of]
    index = np.flatnonzero(counts)
    index = index[np.lexsort((intervals.start_utc_s[index], -value[index], codes[index]))]
    each = charge.peaks_of == "interval"
    result: Peaks = {}
    for code, members in _runs(codes[index], index):
        period, label = accounts[code]
        for n in members[: charge.top] if each else members[charge.occurs - 1 : charge.occurs]:
            start = int(intervals.start_utc_s[n])
            result.setdefault(period, {})[str(start) if each else label] = Peak(float(value[n]), start)
    return result


def _runs(codes: Any, index: Any) -> Iterator[tuple[int, Any]]:
    """Each code with its part of the sorted index."""
    import numpy as np

    if not len(codes):
        return
    cuts = np.flatnonzero(np.diff(codes)) + 1
    for part in np.split(np.arange(len(codes)), cuts):
        yield int(codes[part[0]]), index[part]


def billed_peak(charge: Charge, peaks: Iterable[Peak]) -> Billed:
    """The mean of the highest, kW, and which they were."""
    ranked = sorted(peaks, key=lambda peak: (-peak.kw, peak.start_utc_s))
    kw = billed_w(charge, [1000 * peak.kw for peak in ranked]) / 1000
    return Billed(kw, tuple(peak.start_utc_s for peak in ranked[: charge.top]))


def max_quantities(charge: Charge, stretch: Stretch, periods: list[str], metering_s: int) -> dict[str, Billed]:
    """Billed demand of each period."""
    length_s = interval_s(charge, metering_s)
    peaks = peaks_of(charge, stretch, length_s)
    if charge.period == "rolling-12":
        return {period: _rolling(charge, peaks, period, stretch.times.days[0]) for period in periods}
    own = {period: billed_peak(charge, peaks.get(period, {}).values()) for period in periods}
    if charge.basis == "kvar":
        own = _less_free(charge, stretch, own, length_s)
    if charge.set_in:
        return {period: _set_in(charge, own, period, stretch.times.days[0]) for period in periods}
    return own


def _rolling(charge: Charge, peaks: Peaks, period: str, first: date) -> Billed:
    """On the peaks of a month and of the eleven before, or of the twelve before; a week over two months is one peak."""
    joined: dict[str, Peak] = {}
    months = [*months_before(period, MONTHS_OF_YEAR - 1), period]
    if charge.past_only:
        months = months_before(period, MONTHS_OF_YEAR)
    for month in months:
        for label, peak in peaks.get(month, {}).items():
            joined[label] = max(joined.get(label, peak), peak)
    billed = billed_peak(charge, joined.values())
    if months[0] + "-01" >= first.isoformat():
        return billed
    return billed._replace(remarks=(Reason("invoice.before_unknown", {"first_day": first.isoformat()}),))


def _set_in(charge: Charge, own: Mapping[str, Billed], period: str, first: date) -> Billed:
    """A month of `set_in` is billed its own peak, another one the mean of those last past."""
    setting = month_numbers(charge.set_in)
    if int(period[5:7]) in setting:
        return own[period]
    past = [m for m in months_before(period, MONTHS_OF_YEAR - 1) if int(m[5:7]) in setting]
    known = [own[month] for month in past if month in own]
    kw = sum(each.quantity for each in known) / len(known) if known else charge.floor_kw
    set_by = tuple(start for each in known for start in each.set_by_utc_s)
    if len(known) == len(past):
        return Billed(kw, set_by)
    return Billed(kw, set_by, (Reason("invoice.before_unknown", {"first_day": first.isoformat()}),))


def _less_free(charge: Charge, stretch: Stretch, own: Mapping[str, Billed], length_s: int) -> dict[str, Billed]:
    """Reactive peaks less the free share of each period's highest active power."""
    import msgspec

    active = peaks_of(
        msgspec.structs.replace(charge, basis="kW", peaks_of="period", top=1, occurs=1), stretch, length_s
    )
    highest = {period: max(peak.kw for peak in found.values()) for period, found in active.items()}
    return {
        period: billed._replace(
            quantity=max(billed.quantity - charge.free_pct / 100 * highest.get(period, 0.0), charge.floor_kw)
        )
        for period, billed in own.items()
    }


def months_before(month: str, count: int) -> list[str]:
    """The `count` months before "2026-03", the earliest first."""
    number = 12 * int(month[:4]) + int(month[5:7]) - 1
    return [f"{n // 12:04d}-{n % 12 + 1:02d}" for n in range(number - count, number)]


def excess_quantities(charge: Charge, stretch: Stretch, periods: list[str], metering_s: int) -> dict[str, Billed]:
    """What the intervals of each period have above `contract_kw`: the highest, sum, root of the squares, or hours."""
    import numpy as np

    intervals = stretch.intervals(interval_s(charge, metering_s))
    times, contract = intervals.times, charge.contract_kw or 0.0
    above = np.maximum(power(charge, stretch.tariff, intervals) - contract, 0.0)
    above = np.where(held(charge, stretch.calendar, times), above, 0.0)
    of = times.by_day(lambda day: day_account(charge, day).period)
    result = {}
    for period in periods:
        index = np.flatnonzero(of == period)
        result[period] = _excess(charge, above[index], intervals.start_utc_s[index], intervals.length_s)
    return result


def _excess(charge: Charge, above: Any, start_utc_s: Any, length_s: int) -> Billed:
    import numpy as np

    if not len(above) or not above.max() > 0:
        return Billed(0.0)
    highest = (int(start_utc_s[int(np.argmax(above))]),)
    if charge.excess_by == "hours":
        return Billed(float(np.count_nonzero(above)) * length_s / 3600, highest)
    if charge.excess_by == "sum":
        return Billed(float(above.sum()), highest)
    if charge.excess_by == "root-sum-square":
        return Billed(float(np.sqrt(np.square(above).sum())), highest)
    return Billed(float(above.max()), highest)


class Energies(NamedTuple):
    """Energy of a charge by period: kWh (kvarh), and what the market's prices make of it, EUR."""

    kwh: dict[str, float]
    market_eur: dict[str, float]


def energies(charge: Charge, stretch: Stretch, periods: list[str]) -> Energies:
    """Imported or exported energy while the charge holds. Raises ValueError without a market price that it needs."""
    times = stretch.times
    kwh = stretch.series("import_kwh" if charge.flow == "import" else "export_kwh")
    kwh = kwh * held(charge, stretch.calendar, times)
    market = dict.fromkeys(periods, 0.0)
    if charge.market_factor:
        if not len(stretch.metered.eur_per_mwh):
            raise ValueError(f"charge {charge.id}: expected market prices: its market_factor is not 0")
        market = _by_period(charge, stretch, periods, kwh * stretch.series("eur_per_mwh") / 1000 * charge.market_factor)
    return Energies(_by_period(charge, stretch, periods, kwh), market)


def reactive_quantities(charge: Charge, stretch: Stretch, periods: list[str]) -> dict[str, Billed]:
    """Reactive energy above the free share of the active energy imported at the same time, kvarh.

    Without reactive energy the inductive is that of the stated power factor; of capacitive energy nothing is known.
    """
    measured = stretch.metered
    if charge.reactive == "capacitive" and not len(measured.capacitive_kvarh):
        return dict.fromkeys(periods, Billed(0.0, remarks=(Reason("invoice.capacitive_unknown"),)))
    active = stretch.series("import_kwh") * held(charge, stretch.calendar, stretch.times)
    if charge.reactive == "capacitive" or len(measured.reactive_kvarh):
        name = "capacitive_kvarh" if charge.reactive == "capacitive" else "reactive_kvarh"
        reactive = stretch.series(name) * held(charge, stretch.calendar, stretch.times)
    else:
        reactive = active * reactive_share(charge, stretch.tariff)
    over = _by_period(charge, stretch, periods, reactive - charge.free_pct / 100 * active)
    return {period: Billed(max(kvarh, 0.0)) for period, kvarh in over.items()}


def _by_period(charge: Charge, stretch: Stretch, periods: list[str], values: Any) -> dict[str, float]:
    import numpy as np

    times = stretch.times
    code_of = {period: n for n, period in enumerate(periods)}
    of_day = [code_of.get(day_account(charge, day).period, len(periods)) for day in times.days]
    sums = np.bincount(np.array(of_day)[times.day_of], weights=values, minlength=len(periods) + 1)
    return {period: float(sums[n]) for period, n in code_of.items()}
