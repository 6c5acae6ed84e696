"""Steps, slews and leap smears of the wall clock: whatever it does, no interval is lost, and none is billed twice.

The oracle integrates the true import over true time. It knows nothing of the product but its results.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dispatch.billing.billing_memory import Billing
from dispatch.billing.interval_budget import MeteringInterval
from dispatch.config.schema import GridConfig

MANY = int(os.environ.get("SKERRY_SOAK_CLOCK", "0"))  # examples of the long form
TICK_S = 4.0
QUARTER_S = 900
# Moments two hours after a change of the clocks or the end of a month or a year, by local time.
TURNS = {
    "Europe/Berlin": ["2025-10-26T01:00", "2025-03-30T01:00", "2025-12-31T23:00", "2025-09-30T22:00"],
    "Europe/London": ["2025-10-26T01:00", "2025-03-30T01:00", "2025-12-31T23:59"],
    "America/New_York": ["2025-11-02T06:00", "2025-03-09T07:00", "2025-11-01T04:00"],
    "Australia/Lord_Howe": ["2025-10-04T15:30", "2025-04-05T15:00", "2025-09-30T13:30"],
    "Asia/Kolkata": ["2025-09-30T18:30", "2025-12-31T18:30"],
}
PLACES = [(zone, datetime.fromisoformat(at).replace(tzinfo=UTC).timestamp()) for zone in TURNS for at in TURNS[zone]]


def power_w(seed: int, true_s: float) -> float:
    """Import that differs from interval to interval and within each; W."""
    slot = int(true_s // 300)
    return 5_000.0 + (slot * 7_919 + seed * 104_729) % 60_000


def truth(zone: str, seed: int, from_s: float, to_s: float) -> dict[str, float]:
    """The highest mean of the intervals that lie wholly between two instants, W, by month of the site."""
    peaks: dict[str, float] = defaultdict(float)
    start_s = -(-from_s // QUARTER_S) * QUARTER_S
    while start_s + QUARTER_S <= to_s:
        mean_w = sum(power_w(seed, start_s + k + 0.5) for k in range(QUARTER_S)) / QUARTER_S
        month = f"{datetime.fromtimestamp(start_s, ZoneInfo(zone)):%Y-%m}"
        peaks[month] = max(peaks[month], mean_w)
        start_s += QUARTER_S
    return peaks


def run(
    zone: str, seed: int, begin_s: float, end_s: float, wrong_by_s: Callable[[float], float]
) -> tuple[MeteringInterval, dict[str, float]]:
    """Measure from one true instant to another on a clock that is wrong by so much; the peaks found, by month."""
    interval = MeteringInterval(GridConfig(fuse_a=160, contracted_peak_w=30_000), zone, 250)
    steps = round((end_s - begin_s) / TICK_S)
    for n in range(steps + 1):
        true_s = begin_s + n * TICK_S
        # what the meter shows between two ticks is linear: the oracle's slots change at ticks
        interval.advance(true_s + wrong_by_s(n * TICK_S), 500.0 + n * TICK_S, power_w(seed, true_s))
        interval.budget(None)
    billing = interval.billing()
    found = {month: so_far.peak_w for month, so_far in billing.earlier.items()}
    return interval, found | {billing.month: billing.month_peak_w}


steps = st.one_of(
    st.sampled_from([-86_400.0, 86_400.0, -3_600.0, 3_600.0, -1.0, 1.0, 900.0]), st.floats(-86_400, 86_400)
)


@given(
    place=st.sampled_from(PLACES),
    seed=st.integers(0, 10_000),
    changes=st.lists(st.tuples(st.integers(100, 9_000), steps), max_size=4),
)
@example(("Europe/Berlin", PLACES[3][1]), 1, [(4_000, 86_400.0)])  # the first of a month on the day before
@example(("Europe/Berlin", PLACES[3][1]), 2, [(100, -86_400.0), (9_000, 86_400.0)])
@settings(max_examples=MANY or 12, deadline=None)
def test_once_the_clock_is_right_each_month_has_its_own_peak(
    place: tuple[str, float], seed: int, changes: list[tuple[int, float]]
) -> None:
    zone, turn_s = place
    begin_s, end_s = turn_s - 6_000.0, turn_s + 6_000.0

    def wrong_by_s(elapsed_s: float) -> float:
        """By the last change before; right in the last 40 minutes."""
        return 0.0 if elapsed_s > 9_600 else next((s for at_s, s in sorted(changes)[::-1] if at_s <= elapsed_s), 0.0)

    _, found = run(zone, seed, begin_s, end_s, wrong_by_s)
    true_w = truth(zone, seed, begin_s, end_s)
    small = sum(abs(s) for _, s in changes if abs(s) < 6)  # what was fitted, not placed
    for month, peak_w in true_w.items():
        off_w = 60_000 * (2 * TICK_S + 4 * small) / QUARTER_S
        assert found.get(month, 0.0) == pytest.approx(peak_w, abs=off_w), (month, found)
    for month in set(found) - set(true_w):
        assert found[month] == 0.0, f"{month}: no interval of it was measured"
    assert all(true_w[month] > 0 for month in true_w)


@given(place=st.sampled_from(PLACES), seed=st.integers(0, 999), ppm=st.floats(-500, 500), smear=st.booleans())
@settings(max_examples=MANY or 4, deadline=None)
def test_a_clock_that_is_slewed_or_smeared_loses_nothing(
    place: tuple[str, float], seed: int, ppm: float, smear: bool
) -> None:
    """The kernel's slew is 500 ppm at most; a leap second smeared over a day is 11.6 ppm."""
    zone, turn_s = place
    begin_s, end_s, rate = turn_s - 3_600.0, turn_s + 3_600.0, 1e-6 * (11.6 if smear else ppm)
    _, found = run(zone, seed, begin_s, end_s, lambda elapsed_s: rate * (elapsed_s - 7_200.0))
    for month, peak_w in truth(zone, seed, begin_s, end_s).items():
        assert found[month] == pytest.approx(peak_w, abs=60_000 * (2 * TICK_S + 4) / QUARTER_S)


def test_a_clock_ahead_at_the_end_of_a_month_leaves_no_peak_in_the_next() -> None:
    """Found: 30 September measured by a clock a day ahead stayed October's peak, and October could import as much."""
    zone, turn_s = "Europe/Berlin", datetime(2025, 9, 30, 22, tzinfo=UTC).timestamp()
    begin_s = turn_s - 6 * 3_600.0
    interval, found = run(zone, 3, begin_s, begin_s + 7_200.0, lambda elapsed_s: 86_400.0 if elapsed_s < 6_000 else 0.0)
    assert found.get("2025-10", 0.0) == 0.0
    assert interval.month == "2025-09"
    assert interval.month_peak_w == pytest.approx(truth(zone, 3, begin_s, begin_s + 7_200)["2025-09"], abs=600)


@given(seed=st.integers(0, 999), place=st.sampled_from(PLACES), known_at_s=st.integers(300, 9_000))
@settings(max_examples=MANY or 4, deadline=None)
def test_before_the_clock_is_known_nothing_is_billed_and_then_all_is_placed(
    seed: int, place: tuple[str, float], known_at_s: int
) -> None:
    zone, turn_s = place
    begin_s, end_s = turn_s - 6_000.0, turn_s + 6_000.0
    interval = MeteringInterval(GridConfig(fuse_a=160, contracted_peak_w=30_000), zone, 250)
    for n in range(round(12_000 / TICK_S) + 1):
        true_s, known = begin_s + n * TICK_S, n * TICK_S >= known_at_s
        utc_s = true_s if known else n * TICK_S  # a clock that begins in 1970
        interval.advance(utc_s, 7.0 + n * TICK_S, power_w(seed, true_s), utc_known=known)
        assert interval.budget(None).guard.limit_w >= 30_000
        if not known:
            assert (interval.month, interval.month_peak_w) == ("", 0.0)
            assert interval.budget(None).guard.limit_w == 30_000, "the contracted peak is kept"
    billing = interval.billing()
    found = {month: so_far.peak_w for month, so_far in billing.earlier.items()} | {billing.month: billing.month_peak_w}
    true_w = truth(zone, seed, begin_s, end_s)
    assert set(found) == set(true_w)
    for month, peak_w in true_w.items():
        assert found[month] == pytest.approx(peak_w, abs=60_000 * 2 * TICK_S / QUARTER_S)
    (placed,) = (notice for notice in interval.notices() if notice.code == "interval.placed")
    assert placed.figures["placed_s"] == pytest.approx(known_at_s, abs=2 * TICK_S)


def restarted(before: MeteringInterval, zone: str) -> MeteringInterval:
    after = MeteringInterval(GridConfig(fuse_a=160, contracted_peak_w=30_000), zone, 250)
    after.restore(msgspec.convert(msgspec.to_builtins(before.billing()), Billing))
    return after


@given(
    place=st.sampled_from(PLACES),
    seed=st.integers(0, 999),
    ends_s=st.integers(1_000, 8_000),
    off_s=st.sampled_from([20.0, 300.0, 3_000.0, 7 * 86_400.0]),
    wrong_s=st.sampled_from([0.0, -30.0, 86_400.0, -86_400.0, None]),
    known_s=st.integers(200, 2_500),
)
@settings(max_examples=MANY or 10, deadline=None)
def test_over_a_restart_no_interval_is_billed_above_what_was_imported(
    place: tuple[str, float], seed: int, ends_s: int, off_s: float, wrong_s: float | None, known_s: int
) -> None:
    """Off for a while, then up with a clock that is wrong (None: not known) until it is set right."""
    zone, turn_s = place
    begin_s = turn_s - 6_000.0
    interval, _ = run(zone, seed, begin_s, begin_s + ends_s, lambda _: 0.0)
    again_s = begin_s + ends_s + off_s
    after = restarted(interval, zone)
    for n in range(round(4_000 / TICK_S) + 1):
        at_s = n * TICK_S
        wrong = at_s < known_s and wrong_s is None
        utc_s = at_s if wrong else again_s + at_s + (wrong_s or 0.0) * (at_s < known_s)
        after.advance(utc_s, 9.0 + at_s, power_w(seed, again_s + at_s), utc_known=not wrong)
    billing = after.billing()
    found = {month: so_far.peak_w for month, so_far in billing.earlier.items()} | {billing.month: billing.month_peak_w}
    measured = truth(zone, seed, begin_s, begin_s + ends_s)
    later = truth(zone, seed, again_s, again_s + 4_000)
    off_w = 60_000 * 4 * TICK_S / QUARTER_S
    whole = truth(zone, seed, begin_s - QUARTER_S, again_s + 4_000 + QUARTER_S)
    for month, peak_w in found.items():
        assert peak_w <= whole.get(month, 0.0) + off_w, f"{month}: more than was imported in any interval"
        assert peak_w >= max(measured.get(month, 0.0), later.get(month, 0.0)) - off_w, f"{month}: an interval is lost"
    assert set(measured) | set(later) <= set(found)


def test_a_memory_read_late_does_not_replace_the_import_measured_since_the_start() -> None:
    interval = MeteringInterval(GridConfig(fuse_a=160, contracted_peak_w=30_000), "Europe/Berlin", 250)
    for t_s in range(3):
        interval.advance(float(t_s), float(t_s), 12_000.0, utc_known=False)
    interval.recover(Billing(month="2025-09", month_peak_w=20_000.0, import_w=90_000.0))
    interval.advance(63.0, 63.0, None, utc_known=False)  # a minute without a reading counts at the last one
    assert interval.view(interval.budget(None)).energy_wh == pytest.approx(12_000 * 63 / 3600)
