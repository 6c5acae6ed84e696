"""Tracks the utility's metering interval: energy imported, energy left, and the month's peak so far.

The import register is billed: export within the interval is not credited (energy counts max(0, import)). Energy is
integrated over monotonic time; the wall clock only says which interval is running and since when. Time without a good
reading is counted at the last known import, and reported in `unknown_s`.

When the clock is set, the energy counted is fitted to the time that has passed of the interval that the clock now
names. After a step of more than `GAP_S` it is unknown which part of it lies in there: it counts as unknown at its own
mean, or at the aim where that is less, so that setting a clock makes neither credit nor debt. Small steps keep what
was measured.

Peaks are kept by month (the bill's period: `dispatch.billing.demand_charge`; where days are averaged also the highest
days'), so that a clock that is wrong for a while changes nothing. The month's peak is a lower bound, "at least": only
measured energy raises it; `month_unmeasured_s` is the time of the month that was not measured.

The limit is the larger of the contracted peak and of what costs nothing: the month's peak so far, or more generally
`demand.free_w`. A plan may lower it to the peak it intends to keep, down to what costs nothing; it cannot raise it. In
an interval that does not count towards the demand charge the contract is the limit, whatever the plan says.

How import may run inside the interval, `Allowance.import_max_w`, with aim = limit - margin:

* unused energy (credit) may be used at the rate credit / time left, at most `SURGE` of the aim above it, fading out
  over `FADE_S` before the end, and not in the guard band at either end, where the utility's clock may be in the other
  interval. This spares the battery, and import neither rises to the fuse nor drops suddenly at the end.
* overdrawn energy (debt) is paid back evenly until the guard band before the end, and not faster than in `SETTLE_S`
  (an integrator with a slower time constant than meter and PCS together cannot oscillate).
"""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import msgspec

from dispatch.billing.demand_charge import IntervalAccount, billed_w, free_w, interval_account
from dispatch.config.demand_terms import DemandTerms
from dispatch.config.schema import GridConfig
from dispatch.model.metering_interval import Interval
from dispatch.model.plan import Plan

SURGE = 0.25
CREDIT_S = 60.0  # unused energy is not taken back faster than over this
FADE_S = 30.0
SETTLE_S = 15.0
MARGIN = 0.01  # of the contract: keeps the meter's class (1 %) from exceeding it
CLOCK_STEP_S = 0.5  # wall and monotonic time that differ by more: the wall clock was set
GAP_S = 5.0  # a longer pause between two readings counts as unknown, unless the import register tells
REGISTER_MOST = 2.0  # times the fuse: a register that went faster was reset or misread
MONTHS = 4  # months whose peaks are kept: those the clock was in last


class MonthSoFar(msgspec.Struct, frozen=True):
    """What is known of one month's complete intervals."""

    peak_w: float = 0.0  # at least; of the intervals that count
    measured_s: float = 0.0
    days_w: dict[str, float] = {}  # where days are averaged: the peaks of the highest days, and of the latest


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
    earlier: dict[str, MonthSoFar] = {}  # other months the clock was in, the latest last


class Allowance(msgspec.Struct, frozen=True):
    """What the budget gives now."""

    limit_w: float
    aim_w: float  # limit less the margin: where import may stay for the whole interval
    import_max_w: float
    left_wh: float  # before the mean exceeds the limit; negative once it has
    left_s: float


class MeteringInterval:
    """The running interval and the month's peak."""

    def __init__(self, grid: GridConfig, timezone: str, deadband_w: float, demand: DemandTerms | None = None) -> None:
        self._grid, self._timezone, self._deadband_w = grid, timezone, deadband_w
        self._terms = demand or DemandTerms()
        self._length_s = float(grid.metering_interval_s)
        self.month = ""
        self._interval_account: IntervalAccount | None = None  # of the running interval
        self._months: dict[str, MonthSoFar] = {}  # by "2025-09", the one the clock was in last comes last
        self._aim_w = grid.contracted_peak_w  # the latest `Allowance.aim_w`
        self._start: float | None = None
        self._utc_s = self._mono_s = 0.0
        self._known_ws = self._assumed_ws = 0.0
        self._known_s = self._unknown_s = self._unrated_s = 0.0
        self._import_w: float | None = None  # the last one known
        self._register_wh: float | None = None  # the import register at the last call
        self._metered_w: float | None = None  # mean import since then by the register, where it is what counts
        self._was_good = False
        self._restored: Billing | None = None

    # ── memory ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def restore(self, saved: Billing) -> None:
        """Take over what an earlier process knew; call before the first `advance`."""
        self._months = dict(saved.earlier)
        if saved.month:
            peak_w = max(saved.month_peak_w, 0.0)
            days_w = saved.month_days_w or ({"": peak_w} if peak_w and self._terms.top_days > 1 else {})
            self._months[saved.month] = MonthSoFar(peak_w, max(saved.month_measured_s, 0.0), days_w)
            self._enter(saved.month)
        self._import_w, self._restored = saved.import_w, saved

    def billing(self) -> Billing:
        """What the next gateway needs after a restart."""
        now = self._months.get(self.month, MonthSoFar())
        if self._start is None:
            return self._restored or Billing(month=self.month, month_peak_w=now.peak_w)
        return Billing(
            month=self.month,
            month_peak_w=now.peak_w,
            interval_start_utc_s=self._start,
            interval_known_wh=self._known_ws / 3600,
            interval_known_s=self._known_s,
            interval_assumed_wh=self._assumed_ws / 3600,
            saved_utc_s=self._utc_s,
            import_w=self._import_w,
            month_measured_s=now.measured_s,
            month_days_w=now.days_w,
            earlier={month: kept for month, kept in self._months.items() if month != self.month},
        )

    @property
    def month_peak_w(self) -> float:
        """The interval mean that costs nothing today, W: the largest of this month that was measured.

        The true one is at least this. Where days are averaged, or a floor is billed, see `demand.free_w`.
        """
        others_w, own_w = self._days()
        return free_w(self._terms, others_w, own_w)

    @property
    def next_day_peak_w(self) -> float:
        """The same for a later day of this month, W."""
        others_w, own_w = self._days()
        return free_w(self._terms, [*others_w, own_w])

    @property
    def billed_w(self) -> float:
        """What this month is billed so far, W: at least."""
        others_w, own_w = self._days()
        return billed_w(self._terms, [*others_w, own_w])

    def _days(self) -> tuple[list[float], float]:
        """The peaks that today's joins, and today's own so far; where only the highest counts, all are one."""
        so_far = self._months.get(self.month, MonthSoFar())
        if self._terms.top_days == 1:
            return [so_far.peak_w], 0.0
        if self._interval_account is None:
            return list(so_far.days_w.values()), 0.0
        today = self._interval_account.day
        return [w for day, w in so_far.days_w.items() if day != today], so_far.days_w.get(today, 0.0)

    @property
    def month_unmeasured_s(self) -> float:
        """How much of this month, up to the running interval, was not measured: 0 when the peak is sure."""
        if self._start is None:
            return 0.0
        now = self._utility_time(self._start)
        first = now.replace(
            month=now.month if self._terms.per == "month" else 1, day=1, hour=0, minute=0, second=0, microsecond=0
        )
        passed_s = self._start + self._grid.interval_offset_s - first.timestamp()
        return max(passed_s - self._months.get(self.month, MonthSoFar()).measured_s, 0.0)

    # ── time and energy ─────────────────────────────────────────────────────────────────────────────────────────────

    def advance(self, utc_s: float, mono_s: float, import_w: float | None, register_wh: float | None = None) -> None:
        """Account for the time since the last call; `import_w` is the grid reading, None when it is not good.

        `register_wh`, the meter's import register, is what counts where two readings lie more than `GAP_S` apart: after
        a pause in communication, and in a replay, whose steps are minutes.
        """
        if import_w is not None:
            import_w = max(import_w, 0.0)
        if self._start is None:
            self._first(utc_s, import_w)
        else:
            self._metered_w = self._metered(mono_s - self._mono_s, register_wh)
            self._account(utc_s, mono_s, import_w)
        self._utc_s, self._mono_s, self._register_wh = utc_s, mono_s, register_wh
        if import_w is not None:
            self._import_w = import_w
            self._rate_unrated()
        self._was_good = import_w is not None

    def start_of(self, utc_s: float) -> float:
        """Start of the interval that holds `utc_s`, on our clock; the utility's is `interval_offset_s` ahead."""
        offset_s = self._grid.interval_offset_s
        return (utc_s + offset_s) // self._length_s * self._length_s - offset_s

    def _first(self, utc_s: float, import_w: float | None) -> None:
        start, saved = self.start_of(utc_s), self._restored
        same = saved is not None and saved.interval_start_utc_s == start
        if saved is not None and saved.interval_start_utc_s is not None and not same:
            was_s = saved.interval_start_utc_s + self._grid.interval_offset_s
            self._raise_peak(
                saved.interval_known_wh * 3600,
                saved.interval_known_s,
                interval_account(self._terms, self._timezone, was_s),
            )
        self._begin(start)
        if self._import_w is None:
            self._import_w = import_w
        if saved is not None and same:
            counted_s = (saved.saved_utc_s or start) - start
            self._known_ws, self._assumed_ws = saved.interval_known_wh * 3600, saved.interval_assumed_wh * 3600
            self._known_s = saved.interval_known_s
            self._unknown_s = max(counted_s - self._known_s, 0.0)
        self._fit(utc_s - start, within_s=0.0)

    def _account(self, utc_s: float, mono_s: float, import_w: float | None) -> None:
        assert self._start is not None
        dt_s = max(mono_s - self._mono_s, 0.0)
        jump_s = utc_s - self._utc_s - dt_s
        start = self.start_of(utc_s)
        if abs(jump_s) > GAP_S or self._start - utc_s > GAP_S:
            self._add(dt_s, import_w)
            self._forget_when()
            self._start_at(start)
        elif start > self._start:
            into_s = min(dt_s, utc_s - start)
            left_s = max(self._start + self._length_s - self._utc_s, 0.0)
            self._add(min(dt_s - into_s, left_s), import_w)
            self._close()
            self._begin(start)
            self._add(into_s, import_w)
        else:  # also when set back to just before the start: stay, and count anew once the clock is there again
            self._add(dt_s, import_w)
        self._fit(utc_s - self._start)

    def _forget_when(self) -> None:
        """The clock was set: which part of what was counted lies in its interval is not known."""
        counted_s = self._known_s + self._unknown_s - self._unrated_s
        mean_w = (self._known_ws + self._assumed_ws) / counted_s if counted_s > 0 else 0.0
        self._unknown_s += self._known_s
        self._known_ws = self._known_s = 0.0
        self._assumed_ws = counted_s * min(mean_w, self._aim_w)

    def _fit(self, passed_s: float, within_s: float = CLOCK_STEP_S) -> None:
        """Make what was counted cover the time that has passed, by the clock, of the interval."""
        passed_s = max(passed_s, 0.0)
        counted_s = self._known_s + self._unknown_s
        if abs(counted_s - passed_s) <= within_s:
            return
        if counted_s < passed_s:
            self._add_unknown(passed_s - counted_s)
            return
        share = passed_s / counted_s
        self._known_ws, self._known_s = share * self._known_ws, share * self._known_s
        self._assumed_ws, self._unknown_s = share * self._assumed_ws, share * self._unknown_s
        self._unrated_s *= share

    def _metered(self, dt_s: float, register_wh: float | None) -> float | None:
        """Mean import over a long `dt_s` by the register; None for short ones, and for a register that was reset."""
        if dt_s <= GAP_S or register_wh is None or self._register_wh is None:
            return None
        mean_w = (register_wh - self._register_wh) * 3600 / dt_s
        return mean_w if 0 <= mean_w <= REGISTER_MOST * self._grid.fuse_w else None

    def _add(self, dt_s: float, import_w: float | None) -> None:
        """Count `dt_s` that ends now: by the register, or between two good readings as their mean, else as unknown."""
        if self._metered_w is not None:
            self._known_s += dt_s
            self._known_ws += dt_s * self._metered_w
            return
        if import_w is None or not self._was_good or self._import_w is None or dt_s > GAP_S:
            self._add_unknown(dt_s)
            return
        self._known_s += dt_s
        self._known_ws += dt_s * (self._import_w + import_w) / 2

    def _add_unknown(self, dt_s: float) -> None:
        self._unknown_s += dt_s
        if self._import_w is None:
            self._unrated_s += dt_s
        else:
            self._assumed_ws += dt_s * self._import_w

    def _rate_unrated(self) -> None:
        """Count time from before any reading was known at the first one."""
        if self._unrated_s and self._import_w is not None:
            self._assumed_ws += self._unrated_s * self._import_w
            self._unrated_s = 0.0

    def _begin(self, start: float) -> None:
        self._known_ws = self._assumed_ws = self._known_s = self._unknown_s = self._unrated_s = 0.0
        self._start_at(start)

    def _start_at(self, start: float) -> None:
        self._start = start
        self._interval_account = interval_account(self._terms, self._timezone, start + self._grid.interval_offset_s)
        self._enter(self._interval_account.period)

    def _enter(self, month: str) -> None:
        """Be in `month`, with what is known of it; forget the month the clock was in the longest ago."""
        self.month = month
        self._months[month] = self._months.pop(month, MonthSoFar())
        while len(self._months) > MONTHS:
            del self._months[next(iter(self._months))]

    def _utility_time(self, start: float) -> datetime:
        """An interval's start on the utility's calendar."""
        return datetime.fromtimestamp(start + self._grid.interval_offset_s, UTC).astimezone(ZoneInfo(self._timezone))

    def _close(self) -> None:
        """The interval is over."""
        self._raise_peak(self._known_ws, self._known_s, self._interval_account)

    def _raise_peak(self, known_ws: float, known_s: float, at: IntervalAccount | None) -> None:
        """Only measured energy raises the peak: an assumed one must not loosen the limit."""
        so_far = self._months.get(self.month, MonthSoFar())
        mean_w = known_ws / max(self._length_s, known_s) if at is None or at.counts else 0.0
        measured_s = so_far.measured_s + min(known_s, self._length_s)
        days_w = so_far.days_w
        if at is not None and self._terms.top_days > 1:
            today_w = max(days_w.get(at.day, 0.0), mean_w)
            highest = sorted(((w, day) for day, w in days_w.items() if day != at.day), reverse=True)
            days_w = {day: w for w, day in highest[: self._terms.top_days]} | {at.day: today_w}
        self._months[self.month] = MonthSoFar(max(so_far.peak_w, mean_w), measured_s, days_w)

    # ── budget ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def limit_w(self, plan: Plan | None) -> float:
        """The mean import that must not be exceeded."""
        limit_w = max(self._grid.contracted_peak_w, self.month_peak_w)
        if plan is None or (self._interval_account is not None and not self._interval_account.counts):
            return limit_w
        return min(max(plan.peak_target_w, self.month_peak_w), limit_w)

    def allowance(self, plan: Plan | None) -> Allowance:
        """The import that the budget allows now."""
        allowance = self._allow(self.limit_w(plan))
        self._aim_w = allowance.aim_w
        return allowance

    def _allow(self, limit_w: float) -> Allowance:
        # a month's peak was measured by the very meter that is to keep it: its class matters against the contract only
        class_w = MARGIN * limit_w if limit_w >= self._grid.contracted_peak_w else 0.0
        aim_w = limit_w - min(max(self._deadband_w, class_w), limit_w / 2)
        elapsed_s, left_s = self._times()
        used_ws = self._known_ws + self._assumed_ws
        # Credit comes only from time that was measured; debt also from what had to be assumed.
        credit_ws = min(aim_w * elapsed_s - used_ws, aim_w * self._known_s - self._known_ws)
        guard_s = self._grid.interval_guard_s
        if credit_ws < 0:
            import_max_w = max(0.0, aim_w + credit_ws / max(left_s - guard_s, SETTLE_S))
        else:
            fade = min(max((left_s - guard_s) / FADE_S, 0.0), 1.0) if elapsed_s > guard_s else 0.0
            import_max_w = aim_w + min(credit_ws / max(left_s, CREDIT_S), fade * SURGE * aim_w)
        return Allowance(
            limit_w=limit_w,
            aim_w=aim_w,
            import_max_w=min(import_max_w, self._grid.fuse_w),
            left_wh=(limit_w * self._length_s - used_ws) / 3600,
            left_s=left_s,
        )

    def view(self, limit_w: float) -> Interval:
        """The interval as consoles and records see it."""
        return Interval(
            start_utc_s=self._start if self._start is not None else 0.0,
            length_s=self._length_s,
            energy_wh=(self._known_ws + self._assumed_ws) / 3600,
            unknown_s=self._unknown_s,
            limit_w=limit_w,
            left_w=self._allow(limit_w).import_max_w,
        )

    def _times(self) -> tuple[float, float]:
        """Seconds since the start and to the end of the interval, by the wall clock."""
        if self._start is None:
            return 0.0, self._length_s
        elapsed_s = min(max(self._utc_s - self._start, 0.0), self._length_s)
        return elapsed_s, self._length_s - elapsed_s
