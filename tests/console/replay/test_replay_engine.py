"""The replay: causal, balanced, within bounds, and what it costs is what its bill says."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from replay_cases import CONFIG, FIRST, HOURS, START, a_case, load_w, played, prices, pv_w

from console.replay.compare import compare, night_valley_w
from console.replay.engine import Replay, Schedule
from console.replay.traces import Publication, Trace
from dispatch.billing.bill import stored_change_kwh
from dispatch.billing.market_prices import PriceSeries
from dispatch.config.battery_ratings import reserve_soc_pct
from dispatch.config.schema import BatteryConfig, PcsRatings
from dispatch.planning.inputs import PlanInputs
from dispatch.planning.pipeline import PlanningState, PlanSource


def test_what_comes_out_balances_and_keeps_within_bounds() -> None:
    run = played(a_case(hours=30))
    done, case = run.schedule, run.case
    assert len(done) == 120
    assert run.plan_counts.plans == 120
    assert (run.plan_counts.failed, run.plan_counts.refused, run.plan_counts.safe_steps) == (0, 0, 0)
    assert min(done.soc_pct) >= reserve_soc_pct(CONFIG) - 1e-6
    assert max(done.soc_pct) <= 95 + 1e-6
    assert max(map(abs, done.battery_w)) <= 50_000
    assert max(map(abs, done.battery_w)) > 5_000  # it does something
    assert done.soc_pct[-1] == pytest.approx(50 + stored_change_kwh(CONFIG, 900, done.battery_w))
    assert list(done.load_w) == pytest.approx(case.load.means_w(case.start_s, case.end_s, 900))


def test_the_controller_counts_the_energy_that_was_imported() -> None:
    """Its month's peak is the highest quarter of the schedule: in steps of 5 min the register tells it."""
    run = played(a_case(hours=9, step_s=300))
    done = run.schedule
    grid = [max(a - b - c, 0.0) for a, b, c in zip(done.load_w, done.pv_w, done.battery_w, strict=True)]
    quarters = [sum(grid[k : k + 3]) / 3 for k in range(0, len(grid) - 3, 3)]  # the last one is still running
    assert run.month_peak_w == pytest.approx(max(quarters), rel=1e-6)


@given(st.integers(1, 35), st.lists(st.floats(0, 60_000), min_size=8, max_size=8), st.floats(-200, 600))
@example(7, [55_000.0] * 8, 500.0)  # one third into a quarter hour
@settings(max_examples=3, deadline=None)
def test_what_comes_after_changes_nothing_before(step: int, later_w: list[float], price: float) -> None:
    """Load and PV after T, and prices not published at T, may be anything: every output before T is the same."""
    t_s = START + step * 300
    loads, suns = ([w for w in per for _ in range(3)] for per in (load_w(), pv_w()))

    def outcome(load: list[float], sun: list[float], series: PriceSeries) -> Schedule:
        case = a_case(hours=3, step_s=300, load=Trace(FIRST, 300, load), pv=Trace(FIRST, 300, sun), prices=series)
        return played(case).schedule

    plain = outcome(loads, suns, prices())
    cut, market = (t_s - FIRST) // 300, prices()
    loads[cut : cut + 8] = later_w
    suns[cut : cut + 8] = [w / 3 for w in later_w]
    known_s = Publication(market, CONFIG.timezone).known_at(t_s - 1).end_utc_s
    other = PriceSeries(
        market.start_utc_s,
        tuple(p if s < known_s else price for s, p in zip(market.start_utc_s, market.eur_per_mwh, strict=True)),
        market.end_utc_s,
    )
    changed = outcome(loads, suns, other)
    for name in ("battery_w", "load_w", "pv_w", "soc_pct"):
        assert getattr(changed, name)[:step] == getattr(plain, name)[:step], name
    assert changed.load_w[step:] != plain.load_w[step:]


def test_a_plan_on_the_quarter_hour_begins_with_an_empty_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    """The quarter that has just ended is closed and counts as the month's peak before the plan is made."""
    seen: list[PlanningState] = []
    inputs = PlanSource.inputs

    def noting(self: PlanSource, now: PlanningState, series: PriceSeries) -> PlanInputs:
        seen.append(now)
        return inputs(self, now, series)

    monkeypatch.setattr(PlanSource, "inputs", noting)
    done = played(a_case(hours=2, step_s=300)).schedule
    grid = [max(a - b - c, 0.0) for a, b, c in zip(done.load_w, done.pv_w, done.battery_w, strict=True)]
    quarters = [sum(grid[k : k + 3]) / 3 for k in range(0, len(grid), 3)]
    assert [now.utc_s for now in seen] == [START + 900.0 * k for k in range(8)]
    for k, now in enumerate(seen):
        assert now.interval_energy_wh == 0
        assert now.month_peak_w == pytest.approx(max([0.0, *quarters[:k]]), abs=1e-6)


def test_prices_of_tomorrow_are_known_from_noon_utc() -> None:
    """Local midnights, also on the day that has 25 hours."""
    published = Publication(prices(), "Europe/Berlin")
    assert published.known_at(START + 13 * 3600 + 3599).end_utc_s == START + 24 * 3600  # 11:59:59 UTC
    assert published.known_at(START + 14 * 3600).end_utc_s == START + 48 * 3600
    autumn = int(datetime(2025, 10, 24, 22, tzinfo=UTC).timestamp())
    long_series = PriceSeries(tuple(autumn + 3600 * k for k in range(96)), (50.0,) * 96, autumn + 96 * 3600)
    late = Publication(long_series, "Europe/Berlin").known_at(autumn + 13 * 3600 + 2 * 3600)
    assert late.end_utc_s == autumn + 49 * 3600


def test_the_day_with_25_hours() -> None:
    """From local midnight to local midnight, 100 quarters: every one is planned, and 7 hours lie before 6 o'clock."""
    midnight = int(datetime(2025, 10, 25, 22, tzinfo=UTC).timestamp())
    before, length_s = midnight - 3 * 86400, 6 * 86400
    market = PriceSeries(
        tuple(range(before, before + length_s, 3600)), tuple(50.0 + k % 24 for k in range(144)), before + length_s
    )
    run = played(
        a_case(
            load=Trace(before, 900, load_w()),
            pv=Trace(before, 900, pv_w()),
            prices=market,
            start_s=midnight,
            end_s=midnight + 25 * 3600,
        )
    )
    assert (len(run.schedule), run.plan_counts.plans, run.plan_counts.failed, run.plan_counts.refused) == (
        100,
        100,
        0,
        0,
    )
    scored = compare(run.case, run.schedule)
    assert list(scored.bills["skerry"].peaks_w) == ["2025-10"]
    valley = night_valley_w(run.case, run.case.end_s)
    assert [k for k, w in enumerate(valley) if w < 0][-1] < 28  # 28 quarters before 6 o'clock, not 24
    assert next(k for k, w in enumerate(valley) if w > 0) >= 32


def test_the_four_bills() -> None:
    """Foresight is the cheapest, no battery has no wear, and the share captured is what the bills say."""
    run = played(a_case(hours=24))
    scored = compare(run.case, run.schedule)
    totals = {name: one.total_eur for name, one in scored.bills.items()}
    assert list(totals) == ["none", "night_valley", "skerry", "perfect_foresight"]
    assert totals["perfect_foresight"] <= min(totals.values()) + 0.01
    assert scored.bills["none"].wear_eur == 0
    share = (totals["none"] - totals["skerry"]) / (totals["none"] - totals["perfect_foresight"])
    assert scored.captured_pct("skerry") == pytest.approx(100 * share)
    assert scored.captured_pct("none") == 0


def test_scoring_uses_the_finest_trace() -> None:
    """A load of one minute's rows, replayed in quarters: export in one minute is not netted with import in the next."""
    minutes = [10_000.0 if k % 2 else 0.0 for k in range(60 * HOURS)]
    config = msgspec.structs.replace(
        CONFIG, batteries=(), pcs=(), reserve=msgspec.structs.replace(CONFIG.reserve, hours=0)
    )
    sun = Trace(FIRST, 900, [5_000.0] * (4 * HOURS))
    run = played(a_case(hours=1, config=config, load=Trace(FIRST, 60, minutes), pv=sun))
    none = compare(run.case, run.schedule).bills["none"]
    assert none.import_kwh == pytest.approx(2.5)
    assert none.export_kwh == pytest.approx(2.5)


def test_no_battery_is_a_site_too() -> None:
    config = msgspec.structs.replace(
        CONFIG, batteries=(), pcs=(), reserve=msgspec.structs.replace(CONFIG.reserve, hours=0)
    )
    run = played(a_case(hours=2, config=config))
    assert set(run.schedule.battery_w) == {0.0}
    assert compare(run.case, run.schedule).captured_pct("skerry") is None


def test_two_batteries_one_of_them_behind_two_pcs() -> None:
    """Each stays within its own limits, and the site's SoC is that of both."""
    small = BatteryConfig(id="bat2", energy_kwh=30, soc_min_pct=10, soc_max_pct=90, discharge_efficiency=0.85)
    extra = (
        PcsRatings(id="pcs2", battery="bat1", charge_w=20_000, discharge_w=20_000),
        PcsRatings(id="pcs3", battery="bat2", charge_w=10_000, discharge_w=15_000),
    )
    config = msgspec.structs.replace(CONFIG, batteries=(*CONFIG.batteries, small), pcs=(*CONFIG.pcs, *extra))
    run = played(a_case(hours=8, config=config))
    assert (run.plan_counts.plans, run.plan_counts.failed, run.plan_counts.refused) == (32, 0, 0)
    assert min(run.schedule.soc_pct) >= reserve_soc_pct(config) - 1e-6
    assert max(run.schedule.soc_pct) <= (95 * 100 + 90 * 30) / 130 + 1e-6
    first, second = run._batteries
    assert 5 - 1e-9 <= first.soc_pct <= 95 + 1e-9
    assert 10 - 1e-9 <= second.soc_pct <= 90 + 1e-9
    assert run.schedule.soc_pct[-1] == pytest.approx((first.stored_kwh + second.stored_kwh) / 1.3)


def test_without_prices_the_peak_is_still_defended() -> None:
    """No plan can trade; nothing is raised, and the bill says that prices are missing."""
    run = played(a_case(hours=4, prices=PriceSeries((), (), 0)))
    assert run.plan_counts.failed == 0
    scored = compare(run.case, run.schedule)
    assert any("prices" in note for note in scored.notes)


def test_the_night_valley_rule() -> None:
    """Charges from 00 to 06 local, discharges from 07 to 21, exports nothing, stays above the reserve."""
    case = a_case(hours=24, step_s=300)
    battery_w = night_valley_w(case, case.end_s)
    hours = [k / 12 for k in range(288)]
    assert all(w <= 0 for h, w in zip(hours, battery_w, strict=True) if h < 6)
    assert min(battery_w) < -5_000
    assert all(w >= 0 for h, w in zip(hours, battery_w, strict=True) if 7 <= h < 21)
    assert all(w == 0 for h, w in zip(hours, battery_w, strict=True) if h >= 21 or 6 <= h < 7)
    change = stored_change_kwh(CONFIG, 300, battery_w)
    assert 50 + change >= reserve_soc_pct(CONFIG) - 1e-6


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"step_s": 420}, "step of 420 s: expected to divide the metering interval of 900 s"),
        ({"step_s": 1}, "expected at least 10 s"),
        ({"start_s": START + 7}, "expected whole steps of 900 s"),
        ({"end_s": START}, "expected whole steps"),
    ],
)
def test_steps_that_do_not_fit_are_refused(changes: dict[str, int], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Replay(a_case(**changes))  # type: ignore[arg-type]


def test_in_an_outage_of_the_feed_the_prices_before_it_stay_known() -> None:
    noon_s = START + 14 * 3600  # 12:00 UTC
    published = Publication(prices(), "Europe/Berlin", (noon_s - 7200, noon_s + 86_400))
    assert published.known_at(noon_s - 7201).end_utc_s == START + 24 * 3600
    assert published.known_at(noon_s).end_utc_s == START + 24 * 3600
    assert published.known_at(noon_s + 86_399).end_utc_s == START + 24 * 3600
    assert published.known_at(noon_s + 86_400).end_utc_s > START + 48 * 3600
