"""Calculates what a site would have imported without an event: the baseline of "drop by so many kW".

All powers are those at the PCC as without battery: grid + pcs, W, import and discharging > 0. So the battery counts as
delivery, and neither its charging before the notice nor an earlier discharge is in the baseline. Of two methods, the
mean of the minutes before the notice is measured as they pass (`recent_import`), and an event acts on it. The other:

*similar days*: of the last ten days of the same sort, working days or days off, the five with the highest mean in the
event's hours; their mean by quarter hour, times an adjustment to the day itself within 0.8 and 1.2. Days with other
events are left out, and days below a quarter of the highest of those looked at.

It follows New York ISO's customer baseline load as implemented in github.com/SumedhSankhe/NYISO_Baseline at
1281f1f59c37 (baseline_function.py: ten days, the five highest, low usage below 25 %, two hours that begin four hours
before the event); that does not bound the factor. github.com/lbl-srg/modelica-buildings at 0f4ddd41d76b
(Buildings/Controls/Predictors/ElectricalLoad.mo) bounds it to 0.8 and 1.2, for California. The operators' manuals were
not at hand. It differs in two things: a holiday counts as a day off with the weekends; and the two hours end at the
notice at the latest, so that what is done to prepare is in no baseline.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec

from dispatch.billing.charges.calendar import is_holiday
from dispatch.model.forecast import QUARTER_S

LEAST_KNOWN = 0.6  # of a time, for a mean to stand for it
DAYS, HIGHEST = 10, 5
LOOK_BACK = 45  # calendar days in which the ten are looked for: a week has two days off, and some fall out
LOW_USAGE = 0.25  # of the highest day's mean; New York ISO
ADJUST_BEFORE_S, ADJUST_FOR_S = 4 * 3600, 2 * 3600  # before the event, from there on
ADJUST = (0.8, 1.2)
SATURDAY = 5


class Baseline(msgspec.Struct, frozen=True):
    """What would have been imported in each quarter hour of an event, W, adjusted; export < 0."""

    start_utc_s: int  # of the first quarter hour
    means_w: tuple[float, ...]
    days: tuple[str, ...]  # local days whose mean it is, "2026-03-02"
    factor: float  # by which their mean was adjusted, within `ADJUST`
    found_factor: float | None  # before it was bounded; None: not known, nothing was adjusted

    def mean_w(self, start_utc_s: float, end_utc_s: float) -> float:
        """The mean baseline between two instants of the event, W."""
        total_ws = known_s = 0.0
        for n, w in enumerate(self.means_w):
            begin_utc_s = self.start_utc_s + n * QUARTER_S
            part_s = max(0.0, min(end_utc_s, begin_utc_s + QUARTER_S) - max(start_utc_s, begin_utc_s))
            total_ws, known_s = total_ws + w * part_s, known_s + part_s
        return total_ws / known_s if known_s else self.means_w[0]


def similar_days(
    quarters_w: Mapping[int, float],
    start_utc_s: float,
    end_utc_s: float,
    notice_utc_s: float,
    *,
    timezone: str,
    holidays: str = "",
    left_out: Collection[date] = (),
) -> Baseline | None:
    """The baseline of an event by similar days; None: there are fewer than five.

    quarters_w: start (UTC s) of quarter hours and grid + pcs in them, W. left_out: local days with other events.
    holidays: "DE-BE" as in the site file; "": there are none. A day counts if all of the event's hours are on record
    and were over before the notice. The day of the notice is adjusted to only if the event is on it.
    """
    zone = ZoneInfo(timezone)
    quarters = _quarters(start_utc_s, end_utc_s)
    day = datetime.fromtimestamp(start_utc_s, zone).date()
    found: dict[date, list[float]] = {}
    for other in _like(day, holidays, left_out):
        there = [_shifted(q, (other - day).days, zone) for q in quarters]
        if len(found) < DAYS and there[-1] + QUARTER_S <= notice_utc_s and all(q in quarters_w for q in there):
            found[other] = [quarters_w[q] for q in there]
    chosen = _highest(found)
    if len(chosen) < HIGHEST:
        return None
    means_w = [_mean(column) for column in zip(*(found[other] for other in chosen), strict=True)]
    factor = _factor(quarters_w, [(day - other).days for other in chosen], start_utc_s, notice_utc_s, zone)
    bounded = 1.0 if factor is None else min(max(factor, ADJUST[0]), ADJUST[1])
    return Baseline(
        start_utc_s=quarters[0],
        means_w=tuple(bounded * w for w in means_w),
        days=tuple(other.isoformat() for other in sorted(chosen)),
        factor=bounded,
        found_factor=factor,
    )


def _like(day: date, holidays: str, left_out: Collection[date]) -> Iterator[date]:
    """The days before one that are of its sort, the last first."""
    for back in range(1, LOOK_BACK + 1):
        other = day - timedelta(days=back)
        if other not in left_out and is_day_off(other, holidays) == is_day_off(day, holidays):
            yield other


def is_day_off(day: date, holidays: str) -> bool:
    """Whether a local day is a Saturday, a Sunday or a public holiday."""
    return day.weekday() >= SATURDAY or is_holiday(holidays, day)


def _highest(found: Mapping[date, Sequence[float]]) -> list[date]:
    """The days with the highest means, none of low usage."""
    means_w = {day: _mean(values) for day, values in found.items()}
    highest_w = max(means_w.values(), default=0.0)
    used = [day for day, w in means_w.items() if highest_w <= 0 or w >= LOW_USAGE * highest_w]
    return sorted(used, key=lambda day: -means_w[day])[:HIGHEST]


def _factor(
    quarters_w: Mapping[int, float], days_back: Sequence[int], start_utc_s: float, notice_utc_s: float, zone: ZoneInfo
) -> float | None:
    """Mean of two hours before the notice, over that of the same hours of the chosen days; None: not known."""
    end_s = min(notice_utc_s, start_utc_s - ADJUST_BEFORE_S + ADJUST_FOR_S)
    last = int(end_s // QUARTER_S) * QUARTER_S
    hours = range(last - ADJUST_FOR_S, last, QUARTER_S)
    dates = {datetime.fromtimestamp(at, zone).date() for at in (hours[0], hours[-1], start_utc_s)}
    now_w = [quarters_w[q] for q in hours if q in quarters_w]
    then_w = [quarters_w[at] for q in hours for back in days_back if (at := _shifted(q, -back, zone)) in quarters_w]
    least = LEAST_KNOWN * len(hours)
    if len(dates) > 1 or len(now_w) < least or len(then_w) < least * len(days_back) or _mean(then_w) <= 0:
        return None
    return _mean(now_w) / _mean(then_w)


def _quarters(start_utc_s: float, end_utc_s: float) -> range:
    """The starts of the quarter hours that an event touches, at least one."""
    first = int(start_utc_s // QUARTER_S) * QUARTER_S
    return range(first, max(int(-(-end_utc_s // QUARTER_S)) * QUARTER_S, first + QUARTER_S), QUARTER_S)


def _shifted(utc_s: int, days: int, zone: ZoneInfo) -> int:
    """The instant with the same local time so many days later."""
    local = datetime.fromtimestamp(utc_s, zone)
    return int((local + timedelta(days=days)).timestamp())


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
