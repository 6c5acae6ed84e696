"""Tracks the utility's metering interval: energy imported, energy left, and the month's peak so far.

The import register is billed: export within the interval is not credited (energy counts max(0, import)). Energy is
integrated over monotonic time (`import_energy`); the wall clock only says which interval is running and since when.
Time without a good reading is counted at the import that is assumed, reported in `unknown_s`, and filled by the meter's
import register once that is read again.

When the clock is set by more than `GAP_S`, what was measured in the last day is given to the intervals that it names
now (`interval_placement`). What of the running one was not measured counts at its mean, or at the aim where that is
less, so that setting a clock makes neither credit nor debt. After smaller steps the energy counted is fitted to the
time that has passed of the interval. While the clock is not known (`utc_known`), intervals run and the contracted peak
is kept, but nothing is billed: no peak is raised and no month begins until all that was measured can be placed.

The month's peak (`month_peaks`) is a lower bound, "at least": only energy that is proven raises it;
`month_unmeasured_s` is the time of the month that was not measured.

Two limits of the interval's mean (`Budget`). The *guard* must not be exceeded. It is the contracted peak, or the peak
that costs nothing (the month's peak so far; in general `charge_peaks`) where that is higher, or where the target is no
higher. The *target* is the peak that the plan means to keep, where it is below the guard: a preference. It
is never below the peak that costs nothing, and there is none in an interval that does not count towards the demand
charge. A new plan lowers the target of the running interval no further than `least_mean_w` and the margin.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import copy
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from dispatch.billing.billing_memory import Billing, counted_of
from dispatch.billing.charge_peaks import Places, counting_until, places
from dispatch.billing.counted_energy import Counted, FilledInterval
from dispatch.billing.demand_charge import free_peak, period_utc_s
from dispatch.billing.import_allowance import Allowance, Budget, allow, least_mean_w, margin_w
from dispatch.billing.import_energy import GAP_S, HOLE_INTERVALS, UNBOUNDED_S, ImportEnergy
from dispatch.billing.interval_placement import Carried, PlacedPeaks
from dispatch.config.demand_terms import DemandTerms
from dispatch.config.schema import GridConfig
from dispatch.model.charge_levels import ChargeLevel, ChargesNow
from dispatch.model.metering_interval import Interval
from dispatch.model.plan import Plan
from dispatch.model.reasons import Reason

CLOCK_STEP_S = 0.5  # wall and monotonic time that differ by more: the wall clock was set


class MeteringInterval:
    """The running interval and the month's peak.

    replayed: readings are those of a replay, minutes apart.
    """

    def __init__(
        self,
        grid: GridConfig,
        timezone: str,
        deadband_w: float,
        charges: Sequence[DemandTerms] = (),
        replayed: bool = False,
    ) -> None:
        self._grid, self._timezone, self._deadband_w = grid, timezone, deadband_w
        self._charges = tuple(charges) or (DemandTerms(),)
        self._length_s = float(grid.metering_interval_s)
        self._places: Places | None = None  # of the running interval
        self._peaks, self._replayed = PlacedPeaks(self._charges, grid.contracted_peak_w), replayed
        self._energy = ImportEnergy(grid.fuse_w, replayed)
        self._utc_known = True
        self._aim_w = grid.contracted_peak_w  # the latest of what is kept
        self._target_w: float | None = None  # of the running interval
        self._target_of: tuple[float, float] | None = None  # the plan that set it: when it was made, and its target
        self._start: float | None = None
        self._utc_s = self._mono_s = 0.0
        self._restored: Billing | None = None
        self._notices: list[Reason] = []

    # ── memory ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def restore(self, saved: Billing) -> None:
        """Take over what an earlier process knew; call before the first `advance`."""
        self._peaks.restore(saved.peaks())
        self._energy.import_w, self._restored = saved.import_w, saved

    def recover(self, saved: Billing) -> None:
        """Join the months' peaks that an earlier process knew; once an interval runs, the one of its end is lost."""
        if self._start is None or not self._utc_known:
            import_w = self._energy.import_w
            self.restore(saved)
            if import_w is not None:
                self._energy.import_w = import_w  # measured since the start
            return
        self._peaks.recover(saved.peaks())

    def billing(self) -> Billing:
        """What the next gateway needs after a restart."""
        counted, (charge, peaks), *others = self._energy.counted, *self._peaks.months.memory().items()
        now = peaks.so_far
        if self._start is None or not self._utc_known:
            return self._restored or Billing(month=self.month, month_peak_w=now.peak_w, charge=charge)
        return Billing(
            month=self.month,
            month_peak_w=now.peak_w,
            interval_start_utc_s=self._start,
            interval_known_wh=counted.known_ws / 3600,
            interval_known_s=counted.known_s,
            interval_assumed_wh=counted.assumed_ws / 3600,
            saved_utc_s=self._utc_s,
            import_w=self._energy.import_w,
            month_measured_s=now.measured_s,
            month_days_w=now.days_w,
            month_added=now.added,
            month_reached_w=now.reached_w,
            earlier=peaks.earlier,
            counted=copy(counted),
            hole=self._energy.memory(),
            charge=charge,
            others=dict(others),
        )

    @property
    def month(self) -> str:
        """The month (the main charge's period) that the clock is in."""
        return self._peaks.months.main.month

    @property
    def month_peak_w(self) -> float:
        """The interval mean that costs nothing today, W: the largest of this month that was measured.

        The true one is at least this. In general see `charge_peaks`.
        """
        return self._peaks.months.limit(self._places).w

    @property
    def billed_before_w(self) -> dict[str, float]:
        """What the main charge's earlier periods on record were billed, W, by period."""
        return self._peaks.months.main.billed_before_w()

    @property
    def levels(self) -> tuple[ChargeLevel, ...]:
        """What each charge leaves free now, the main one's first."""
        return self._peaks.months.levels(self._places)

    @property
    def charges_now(self) -> ChargesNow | None:
        """Which of the listed charges limits the running interval; None where none is listed, or no interval runs."""
        if self._start is None or self._places is None or not self._utc_known:
            return None
        offset_s, length_s = self._grid.interval_offset_s, self._grid.metering_interval_s
        until_s = counting_until(self._charges, self._timezone, self._start + offset_s, length_s)
        return self._peaks.months.now(self._places, until_s)

    @property
    def month_unmeasured_s(self) -> float:
        """How much of this month, up to the running interval, was not measured: 0 when the peak is sure."""
        if self._start is None:
            return 0.0
        at_s = self._start + self._grid.interval_offset_s
        passed_s = at_s - period_utc_s(self._charges[0], self._timezone, at_s)[0]
        return max(passed_s - self._peaks.months.main.now.measured_s, 0.0)

    # ── time and energy ─────────────────────────────────────────────────────────────────────────────────────────────

    def advance(
        self,
        utc_s: float,
        mono_s: float,
        import_w: float | None,
        register_wh: float | None = None,
        assumed_w: float | None = None,
        utc_known: bool = True,
    ) -> None:
        """Account for the time since the last call; `import_w` is the grid reading, None when it is not good.

        `register_wh`, the meter's import register, fills the time without readings once both are read again, and what
        lies between two readings more than `GAP_S` apart. `assumed_w`: the import that others prove or suggest while it
        is not read; None: the last one known. `utc_known`: False before the wall clock is known for the first time.
        """
        if import_w is not None:
            import_w = max(import_w, 0.0)
        if not self._replayed:
            self._peaks.log.read(mono_s, import_w)
        learns, self._utc_known = utc_known and not self._utc_known, utc_known
        if self._start is None:
            self._first(utc_s, import_w)
        elif learns:
            self._energy.add(max(mono_s - self._mono_s, 0.0), import_w)
            self._learn_time(utc_s, mono_s)
        else:
            self._account(utc_s, mono_s, import_w)
        self._utc_s, self._mono_s = utc_s, mono_s
        self._energy.taken(mono_s, import_w, register_wh, None if assumed_w is None else max(assumed_w, 0.0))
        if import_w is not None:
            for interval in self._energy.fill(register_wh):
                self._note_filled(interval)

    def advance_without_register(
        self, utc_s: float, mono_s: float, import_w: float | None, utc_known: bool = True
    ) -> None:
        """The same while the meter's register may count what is no import, such as a generator's energy."""
        self._energy.forget_register()
        self.advance(utc_s, mono_s, import_w, utc_known=utc_known)

    def doubt(self, since_mono_s: float, open_since_s: float | None = None) -> None:
        """The grid meter has stood still since then: what was counted from it is not measured.

        open_since_s: since when the switch at the PCC is open; nothing is imported from then on.
        """
        until_s = self._mono_s if open_since_s is None else min(open_since_s, self._mono_s)
        before = self._energy.doubt(since_mono_s, self._mono_s, until_s)
        self._peaks.log.forget_since(since_mono_s)
        if before is not None and self._start is not None and self._utc_known:
            self._peaks.take_back()  # it stood still from before the last interval's end
            self._raise(before, self._places_at(self._start - self._length_s))

    def notices(self) -> tuple[Reason, ...]:
        """What the register told of intervals that are over, and what is wrong with it, since the last call."""
        notices = (*self._notices, *self._energy.notices)
        self._notices, self._energy.notices = [], []
        return notices

    def _note_filled(self, interval: FilledInterval) -> None:
        """A hole reached into an interval that is over: raise the peak by what is proven, say the bounds."""
        low_w = 3600 * interval.low_wh / self._length_s
        if not self._utc_known:
            return
        self._peaks.raise_peak(self._mono_s, low_w, interval.measured_s, self._places_at(interval.start_utc_s))
        if interval.measured_s:
            return
        at = self._utility_time(interval.start_utc_s).isoformat()
        if interval.high_wh is None:
            why = Reason("interval.at_least", {"local": at, "low_w": low_w, "unknown_s": interval.unknown_s})
        else:
            high_w = 3600 * interval.high_wh / self._length_s
            why = Reason("interval.bounds", {"local": at, "low_w": low_w, "high_w": high_w})
        self._notices.append(why)

    def start_of(self, utc_s: float) -> float:
        """Start of the interval that holds `utc_s`, on our clock; the utility's is `interval_offset_s` ahead."""
        offset_s = self._grid.interval_offset_s
        return (utc_s + offset_s) // self._length_s * self._length_s - offset_s

    def _first(self, utc_s: float, import_w: float | None) -> None:
        start, saved, energy = self.start_of(utc_s), self._restored, self._energy
        if self._utc_known and saved is not None and saved.interval_start_utc_s is not None:
            self._resume(saved, saved.interval_start_utc_s, start)
        else:
            self._begin(start)
        if energy.import_w is None:
            energy.import_w = import_w
        energy.fit(utc_s - start, within_s=0.0)

    def _resume(self, saved: Billing, was: float, start: float) -> None:
        """Go on in the interval that was saved, or close it and begin the running one. The restart is a hole."""
        energy, counted = self._energy, counted_of(saved, was)
        self._peaks.carried = Carried(was, copy(counted))
        energy.restore(copy(counted), saved.import_w, saved.hole)
        self._start_at(was)
        if was == start:
            return
        if start < was:  # the clock was set back
            self._close()
            energy.give_up_hole()
        between = min(max(round((start - was) / self._length_s), 0), HOLE_INTERVALS + 2)
        for n in range(between):
            energy.fit(self._length_s, within_s=0.0)
            self._close()
            self._begin(start - (between - 1 - n) * self._length_s)
        if not between:
            self._begin(start)

    def _account(self, utc_s: float, mono_s: float, import_w: float | None) -> None:
        assert self._start is not None
        dt_s, energy = max(mono_s - self._mono_s, 0.0), self._energy
        jump_s = utc_s - self._utc_s - dt_s
        start = self.start_of(utc_s)
        if abs(jump_s) > GAP_S or self._start - utc_s > GAP_S:
            energy.add(dt_s, import_w)
            self._place(utc_s, mono_s)
        elif start > self._start:
            into_s = min(dt_s, utc_s - start)
            left_s = max(self._start + self._length_s - self._utc_s, 0.0)
            energy.add(min(dt_s - into_s, left_s), import_w)
            self._close()
            self._begin(start)
            energy.add(into_s, import_w)
        else:  # also when set back to just before the start: stay, and count anew once the clock is there again
            energy.add(dt_s, import_w)
        energy.fit(utc_s - self._start, CLOCK_STEP_S)

    def _learn_time(self, utc_s: float, mono_s: float) -> None:
        """The clock is known for the first time: take over what was kept, place what was measured, and say so."""
        saved, log = self._restored, self._peaks.log
        if saved is not None and saved.interval_start_utc_s is not None:
            self._peaks.carried = Carried(saved.interval_start_utc_s, counted_of(saved, saved.interval_start_utc_s))
        self._place(utc_s, mono_s)
        ws, known_s = log.measured(log.begin_s, mono_s)
        placed_wh, before_wh = ws / 3600, log.dropped_ws / 3600
        told = Reason("interval.placed", {"placed_wh": placed_wh, "placed_s": known_s})
        if before_wh:
            told = Reason("interval.unplaced", {"placed_wh": placed_wh, "placed_s": known_s, "before_wh": before_wh})
        self._notices.append(told)

    def _place(self, utc_s: float, mono_s: float) -> None:
        """The clock was set: give what was measured to the intervals that it names now."""
        if self._replayed or not self._utc_known:
            self._energy.forget_when(self._aim_w)
            self._start_at(self.start_of(utc_s))
            return
        self._peaks.start_anew()
        running, placed = self.start_of(utc_s), Counted()
        for start, counted in self._peaks.placed(utc_s - mono_s, self._length_s, self.start_of, utc_s):
            if start == running:
                placed = counted
            else:
                self._start_at(start)
                self._raise(counted, self._places)
        self._energy.place(placed, utc_s - running, self._aim_w)
        self._start_at(running)

    def _begin(self, start: float) -> None:
        self._energy.begin()
        self._start_at(start)

    def _start_at(self, start: float) -> None:
        self._start = start
        self._target_w = self._target_of = None
        self._places = self._places_at(start)
        if self._utc_known:
            self._peaks.months.enter(self._places)

    def _places_at(self, start: float) -> Places:
        return places(self._charges, self._timezone, start + self._grid.interval_offset_s)

    def _utility_time(self, start: float) -> datetime:
        """An interval's start on the utility's calendar."""
        return datetime.fromtimestamp(start + self._grid.interval_offset_s, UTC).astimezone(ZoneInfo(self._timezone))

    def _close(self) -> None:
        """The interval is over. Only proven energy raises the peak: an assumed one must not loosen the limit."""
        assert self._start is not None
        self._raise(self._energy.end(self._start), self._places)

    def _raise(self, counted: Counted, at: Places | None) -> None:
        self._peaks.drop_old(self._mono_s)
        if not self._utc_known:
            return
        mean_w = counted.low_ws / max(self._length_s, counted.known_s)
        self._peaks.raise_peak(self._mono_s, mean_w, min(counted.known_s, self._length_s), at)

    # ── budget ──────────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def least_mean_w(self) -> float:
        """The mean, W, with which the running interval still ends if import is lowered from now on.

        See `import_allowance.least_mean_w`. Plans take it as given, and none lowers the target below it.
        """
        return least_mean_w(self._grid, self._energy.import_w or 0.0, self._energy.counted.counted_ws, self._times()[1])

    def budget(self, plan: Plan | None) -> Budget:
        """What the running interval allows now. `plan`: the one in force, if it covers this moment."""
        contract_w, limit = self._grid.contracted_peak_w, self._peaks.months.limit(self._places)
        free_w = limit.w if self._utc_known else 0.0
        target_w = self._target(plan)
        if free_w >= contract_w or (target_w is not None and target_w <= free_w):
            guard = self._allow(free_w, free_peak(limit.terms))
        else:
            guard = self._allow(contract_w, Reason("peak.contracted"))
        lower = target_w is not None and target_w < guard.limit_w
        budget = Budget(
            guard, self._allow(target_w, Reason("peak.planned")) if lower and target_w is not None else None
        )
        self._aim_w = budget.kept.aim_w
        return budget

    def _target(self, plan: Plan | None) -> float | None:
        """The target of the running interval; only a plan that is new to it may change it."""
        if plan is None or (self._places is not None and not any(at.counts for at in self._places)):
            self._target_w = self._target_of = None
            return None
        wanted_w = self._peaks.months.planned_w(plan, self._places)
        asks = (plan.made_utc_s, plan.peak_target_w)
        if asks != self._target_of:
            before_w = math.inf if self._target_w is None else self._target_w
            if wanted_w < before_w:
                wanted_w = max(
                    wanted_w, min(self.least_mean_w + margin_w(self._grid, self._deadband_w, wanted_w), before_w)
                )
            self._target_w, self._target_of = wanted_w, asks
        return self._target_w

    def _allow(self, limit_w: float, peak: Reason) -> Allowance:
        return allow(self._grid, self._deadband_w, limit_w, peak, self._energy.counted, *self._times())

    def view(self, budget: Budget) -> Interval:
        """The interval as consoles and records see it."""
        counted = self._energy.counted
        bounds = counted.bounds(self._energy.most_w)
        return Interval(
            start_utc_s=self._start if self._start is not None else 0.0,
            length_s=self._length_s,
            energy_wh=counted.counted_ws / 3600,
            unknown_s=counted.unknown_s,
            limit_w=budget.kept.limit_w,
            left_w=min(self._allow(a.limit_w, a.peak).import_max_w for a in (budget.guard, budget.kept)),
            guard_w=budget.guard.limit_w,
            guard_peak=budget.guard.peak,
            low_wh=bounds.low_wh,
            high_wh=bounds.high_wh if counted.unknown_s - counted.bounded_s < UNBOUNDED_S else None,
            never_read=self._energy.import_w is None,
        )

    def _times(self) -> tuple[float, float]:
        """Seconds since the start and to the end of the interval, by the wall clock."""
        if self._start is None:
            return 0.0, self._length_s
        elapsed_s = min(max(self._utc_s - self._start, 0.0), self._length_s)
        return elapsed_s, self._length_s - elapsed_s
