"""Export in a replay: kept below its limit inside the steps, or it is said; PV is limited where that pays."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from replay_cases import CONFIG, FIRST, HOURS, START, a_case, load_w, played

from console.replay.compare import ScoredPeriod, compare
from console.replay.fast_loop import net_rows_w, within_export
from console.replay.output import write_schedule
from console.replay.remarks import export_means_w, over_export
from console.replay.traces import Trace
from dispatch.billing.market_prices import PriceSeries
from dispatch.config.schema import PcsRatings, PvTerms, TariffTerms

ROOF = msgspec.structs.replace(CONFIG, pv=(PvTerms(id="roof", peak_w=60_000, curtail=True),))
SUN = Trace(FIRST, 900, [45_000.0] * (4 * HOURS))
DARK = Trace(FIRST, 900, [0.0] * (4 * HOURS))


def priced(*eur_per_mwh: float) -> PriceSeries:
    """Hours from the start of the replay on, 80 EUR/MWh before."""
    values = (80.0,) * ((START - FIRST) // 3600) + eur_per_mwh
    return PriceSeries(tuple(FIRST + 3600 * k for k in range(len(values))), values, FIRST + 3600 * len(values))


def test_a_load_that_dips_inside_the_steps_is_never_exported_above_the_limit() -> None:
    """20 kW in the mean, every third minute 2 kW: at 900 EUR/MWh the battery exports all that it may."""
    minutes = [2_000.0 if k % 3 == 0 else 29_000.0 for k in range(60 * HOURS)]
    case = a_case(hours=3, load=Trace(FIRST, 60, minutes), pv=DARK, prices=priced(900.0, 900.0, 50.0, 50.0), soc_pct=90)
    done = played(case).schedule
    export_w = [-w for w in ScoredPeriod(case, done.end_s).grid_w(done)]
    assert max(export_w) == pytest.approx(30_000, abs=20)
    assert list(over_export(CONFIG.grid, START, 60, [-w for w in export_w])) == []


def test_power_that_keeps_the_interval_is_given_though_the_load_dips() -> None:
    two = msgspec.structs.replace(
        CONFIG, pcs=(CONFIG.pcs[0], PcsRatings(id="pcs2", battery="bat1", charge_w=25_000, discharge_w=25_000))
    )
    held = within_export(two, {"pcs1": 30_000.0, "pcs2": 15_000.0}, 6_000.0, needed_w=0.0)
    assert held == {"pcs1": pytest.approx(24_000), "pcs2": pytest.approx(12_000)}
    assert sum(within_export(two, held, 0.0, needed_w=34_000.0).values()) == pytest.approx(34_000)
    assert within_export(two, held, 10_000.0, needed_w=0.0) == held


def test_rows_inside_a_step() -> None:
    load = Trace(FIRST, 300, [1_000.0, 4_000.0, 7_000.0, 9_000.0])
    pv = Trace(FIRST, 900, [500.0, 0.0])
    assert net_rows_w(load, pv, FIRST, 900) == pytest.approx([500.0, 3_500.0, 6_500.0])
    assert net_rows_w(load, pv, FIRST, 60) == pytest.approx([500.0])


def test_pv_is_limited_where_export_costs_as_by_foresight(tmp_path: Path) -> None:
    dear = msgspec.structs.replace(ROOF, tariff=TariffTerms(fee_eur_per_kwh=0.2))
    case = a_case(hours=4, config=dear, pv=SUN, prices=priced(-80.0, -80.0, 20.0, 20.0), soc_pct=80)
    run = played(case)
    done = run.schedule
    assert run.plan_counts.refused == run.plan_counts.failed == 0
    grid = [a - b - c for a, b, c in zip(done.load_w, done.pv_w, done.battery_w, strict=True)]
    assert min(grid[:8]) >= -20, "nothing is exported at -80"
    assert min(grid[8:]) < -10_000, "at 20 it is"
    assert sum(done.curtailed_w[:8]) > 0 == sum(done.curtailed_w[8:])
    scored = compare(case, done)
    assert scored.bills["skerry"].total_eur < scored.bills["none"].total_eur
    assert scored.bills["perfect_foresight"].export_kwh < scored.bills["none"].export_kwh - 40, "it limits PV, too"
    assert scored.bills["perfect_foresight"].total_eur < scored.bills["none"].total_eur - 3
    write_schedule(tmp_path / "schedule.csv", done)
    head, first, *_ = (tmp_path / "schedule.csv").read_text().splitlines()
    row = dict(zip(head.split(","), first.split(","), strict=True))
    assert float(row["pv_w"]) + float(row["curtailed_w"]) == pytest.approx(45_000)


def test_the_limit_is_kept_by_limiting_pv() -> None:
    case = a_case(hours=2, config=ROOF, pv=Trace(FIRST, 900, [70_000.0] * (4 * HOURS)), soc_pct=95)
    done = played(case).schedule
    assert max(done.curtailed_w) > 10_000
    assert list(over_export(ROOF.grid, START, 900, ScoredPeriod(case, done.end_s).grid_w(done))) == []


def test_what_is_above_the_limit_is_said() -> None:
    case = a_case(hours=1, pv=Trace(FIRST, 900, [80_000.0] * (4 * HOURS)), soc_pct=95)
    remarks = compare(case, played(case).schedule).notes
    highest = 80 - load_w()[(START - FIRST) // 900] / 1000
    assert highest > 30
    said = [r for r in remarks if r.startswith("export: ")]
    assert len(said) == 1
    assert "above the 30.0 kW of grid.export_limit_w for 1 h" in said[0]


def test_over_a_window_its_mean_counts() -> None:
    grid = msgspec.structs.replace(CONFIG.grid, export_window_s=900)
    minutes = [-40_000.0] * 9 + [0.0] * 6 + [-31_000.0] * 15
    assert export_means_w(CONFIG.grid, 60, minutes)[0] == 40_000
    assert export_means_w(grid, 60, minutes)[14] == pytest.approx(24_000)
    assert len(list(over_export(grid, START, 60, minutes))) == 1
    assert list(over_export(grid, START, 60, [-30_000.0] * 30)) == []
