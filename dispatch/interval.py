"""The utility's metering interval: what has been imported in it, what may still be, and the month's peak so far.

What is billed is the import register: export within the interval earns nothing back (energy counts max(0, import)).
Energy is integrated over monotonic time; the wall clock only says in which interval we are, so a step of it can neither
lose nor double energy. Time without a good reading is counted at the last import known, and reported in `unknown_s`.

The limit is the larger of the contracted peak and the month's peak so far (import below a peak that already
stands costs nothing). A plan may lower it to the peak it means to keep, down to the month's peak; it cannot raise it.

How import may run inside the interval, `Allowance.import_max_w`, with aim = limit - margin:

* unused energy (credit) may be taken back at the rate credit / time left, at most `SURGE` of the aim above it, fading
  out over `FADE_S` before the end, and not in the guard band at either end, where the utility's clock may be in the
  other interval. So the battery is spared without import running up to the fuse and crashing at the end.
* overdrawn energy (debt) is paid back evenly until the guard band before the end, and not faster than in `SETTLE_S`
  (an integrator with a slower time constant than meter and PCS together cannot swing).
"""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import msgspec

from dispatch.config import GridConfig
from dispatch.model import Interval, Plan

SURGE = 0.25
CREDIT_S = 60.0  # unused energy is not taken back faster than over this
FADE_S = 30.0
SETTLE_S = 15.0
MARGIN = 0.01  # of the limit: keeps deadband and meter class (1 %) from raising the peak
STEP_S = 0.5  # wall and monotonic time that differ by more: the wall clock was set
GAP_S = 5.0  # a longer pause between two readings counts as unknown, unless the import register tells
REGISTER_MOST = 2.0  # times the fuse: a register that went faster was reset or misread


class Billing(msgspec.Struct, frozen=True):
    """What must survive a restart."""

    month: str = ""  # "2025-09" in the site's time zone; empty: nothing is known
    month_peak_w: float = 0.0
    interval_start_utc_s: float | None = None
    interval_energy_wh: float = 0.0
    saved_utc_s: float | None = None
    import_w: float | None = None  # the last one known


class Allowance(msgspec.Struct, frozen=True):
    """What the budget gives now."""

    limit_w: float
    aim_w: float  # limit less the margin: where import may stay for the whole interval
    import_max_w: float
    left_wh: float  # before the mean exceeds the limit; negative once it has
    left_s: float


class MeteringInterval:
    """The running interval and the month's peak."""

    def __init__(self, grid: GridConfig, timezone: str, deadband_w: float) -> None:
        self._grid, self._zone, self._deadband_w = grid, ZoneInfo(timezone), deadband_w
        self._length_s = float(grid.metering_interval_s)
        self.month, self.month_peak_w = "", 0.0
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
        self.month, self.month_peak_w = saved.month, max(saved.month_peak_w, 0.0)
        self._import_w, self._restored = saved.import_w, saved

    def billing(self) -> Billing:
        """What an heir needs."""
        if self._start is None:
            return self._restored or Billing(month=self.month, month_peak_w=self.month_peak_w)
        return Billing(
            month=self.month,
            month_peak_w=self.month_peak_w,
            interval_start_utc_s=self._start,
            interval_energy_wh=(self._known_ws + self._assumed_ws) / 3600,
            saved_utc_s=self._utc_s,
            import_w=self._import_w,
        )

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
        if saved is not None and saved.interval_start_utc_s is not None and saved.interval_start_utc_s != start:
            self.month_peak_w = max(self.month_peak_w, saved.interval_energy_wh * 3600 / self._length_s)
        self._begin(start)
        if self._import_w is None:
            self._import_w = import_w
        if saved is None or saved.interval_start_utc_s != start:
            self._add_unknown(utc_s - start)
            return
        self._known_ws = saved.interval_energy_wh * 3600
        until_s = utc_s if saved.saved_utc_s is None else min(max(saved.saved_utc_s, start), utc_s)
        self._known_s = until_s - start
        self._add_unknown(utc_s - until_s)

    def _account(self, utc_s: float, mono_s: float, import_w: float | None) -> None:
        assert self._start is not None
        dt_s = max(mono_s - self._mono_s, 0.0)
        jump_s = utc_s - self._utc_s - dt_s
        start = self.start_of(utc_s)
        if start == self._start:
            self._add(dt_s, import_w)
            if jump_s > STEP_S:  # our clock was late: the interval is older than we thought
                self._add_unknown(jump_s)
        elif start > self._start:
            into_s = min(dt_s, utc_s - start)
            left_s = max(self._start + self._length_s - self._utc_s, 0.0)
            self._add(min(dt_s - into_s, left_s), import_w)
            self._close()
            self._begin(start)
            self._add(into_s, import_w)
            if utc_s - start - into_s > STEP_S:
                self._add_unknown(utc_s - start - into_s)
        elif self._start - utc_s < self._length_s:  # set back a little: stay, and wait for the clock to come back
            self._add(dt_s, import_w)
        else:
            self._begin(start)
            self._add_unknown(utc_s - start)

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
        self._start = start
        self._known_ws = self._assumed_ws = self._known_s = self._unknown_s = self._unrated_s = 0.0
        utility = datetime.fromtimestamp(start + self._grid.interval_offset_s, UTC)
        month = utility.astimezone(self._zone).strftime("%Y-%m")
        if month != self.month:
            self.month, self.month_peak_w = month, 0.0

    def _close(self) -> None:
        """The interval is over. Only measured energy raises the peak: an assumed one must not loosen the limit."""
        self.month_peak_w = max(self.month_peak_w, self._known_ws / max(self._length_s, self._known_s))

    # ── budget ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def limit_w(self, plan: Plan | None) -> float:
        """The mean import that must not be exceeded."""
        limit_w = max(self._grid.contracted_peak_w, self.month_peak_w)
        if plan is None:
            return limit_w
        return min(max(plan.peak_target_w, self.month_peak_w), limit_w)

    def allowance(self, plan: Plan | None) -> Allowance:
        """The import that the budget allows now."""
        limit_w = self.limit_w(plan)
        aim_w = limit_w - min(max(self._deadband_w, MARGIN * limit_w), limit_w / 2)
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
        if self._start is None:
            return Interval(0.0, self._length_s, 0.0, 0.0, limit_w, min(limit_w, self._grid.fuse_w))
        used_ws = self._known_ws + self._assumed_ws
        held_w = (limit_w * self._length_s - used_ws) / max(self._times()[1], SETTLE_S)
        return Interval(
            start_utc_s=self._start,
            length_s=self._length_s,
            energy_wh=used_ws / 3600,
            unknown_s=self._unknown_s,
            limit_w=limit_w,
            left_w=min(max(held_w, 0.0), self._grid.fuse_w),
        )

    def _times(self) -> tuple[float, float]:
        """Seconds since the start and to the end of the interval, by the wall clock."""
        if self._start is None:
            return 0.0, self._length_s
        elapsed_s = min(max(self._utc_s - self._start, 0.0), self._length_s)
        return elapsed_s, self._length_s - elapsed_s
