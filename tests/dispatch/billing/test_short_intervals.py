"""Meters of 5 and 10 minutes: tick, plan of quarter hours, bill, foresight and Energy IQ."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from plan_site import ask, hourly, site

from dispatch.billing.bill import Flow, bill
from dispatch.billing.charges.invoice import invoice
from dispatch.billing.charges.stretch import Metered
from dispatch.billing.interval_budget import MeteringInterval
from dispatch.billing.peak_charges import charge_peaks_w, peak_charges
from dispatch.config.charges import Charge
from dispatch.config.schema import DispatchConfig
from dispatch.evaluation.energy_iq import Quarter, assess
from dispatch.evaluation.foresight import idle_schedule, perfect_battery_w
from dispatch.planning.planner import make_plan
from dispatch.planning.validator import check_plan

BERLIN = "Europe/Berlin"
MIDNIGHT = int(datetime(2025, 9, 16, tzinfo=ZoneInfo(BERLIN)).timestamp())
LENGTHS = (300, 600)
FLAT = hourly([100.0] * 30, MIDNIGHT)


def a_site(length_s: int, **changes: Any) -> DispatchConfig:
    grid = {"metering_interval_s": length_s, "contracted_peak_w": 60_000.0}
    return site(tariff={"demand_eur_per_kw_month": 10.0}, grid=grid, **changes)


@pytest.mark.parametrize("length_s", LENGTHS)
def test_the_tick_counts_the_meters_own_interval(length_s: int) -> None:
    """40 kW over one interval are its peak, and the next one begins without debt."""
    config = a_site(length_s)
    interval = MeteringInterval(config.grid, BERLIN, 250, peak_charges(config))
    for t_s in range(0, 2 * length_s + 4, 4):
        interval.advance(MIDNIGHT + t_s, t_s, 40_000.0 if t_s <= length_s else 10_000.0)
    assert interval.month_peak_w == pytest.approx(40_000, rel=0.02)
    assert interval.view(interval.budget(None)).length_s == length_s


@pytest.mark.parametrize("length_s", LENGTHS)
@pytest.mark.parametrize("into_s", [0, 100, 400, 700, 890])
def test_a_plan_keeps_each_quarter_hour_below_the_peak(length_s: int, into_s: int) -> None:
    """What the running interval has imported counts once that interval is the last one in its quarter hour."""
    config, load_w = a_site(length_s), [50_000.0] * 4 + [30_000.0]
    inputs = ask(config, FLAT, load_w, now_utc_s=MIDNIGHT + into_s, soc_pct=60.0, month_peak_w=40_000.0)
    inputs = msgspec.structs.replace(inputs, interval_energy_wh=41_000 * (into_s % length_s) / 3600)
    plan = make_plan(inputs)
    assert check_plan(plan, inputs) == []
    assert max(step.grid_w for step in plan.steps) <= 40_001
    assert plan.peak_target_w == pytest.approx(40_000, abs=1)
    ends_s = (into_s // length_s + 1) * length_s
    left_s = 900 - into_s
    own_w = (41_000 * (into_s % length_s) + plan.steps[0].grid_w * left_s) / length_s
    assert (own_w <= 40_010) or ends_s != 900


@pytest.mark.parametrize("length_s", LENGTHS)
def test_foresight_and_energy_iq_take_a_quarter_hours_mean(length_s: int) -> None:
    short, quarter = a_site(length_s), a_site(900)
    net_w, prices = [20_000.0] * 30 + [60_000.0] * 4 + [20_000.0] * 14, [100.0] * 48
    ways = [
        perfect_battery_w(c, 900, net_w, prices, idle_schedule(c, MIDNIGHT, 900, 48, 50.0)) for c in (short, quarter)
    ]
    assert ways[0] == pytest.approx(ways[1], abs=1e-3)
    flows = [
        Flow(start_utc_s=MIDNIGHT, step_s=900, load_w=net_w, pv_w=[0.0] * 48, eur_per_mwh=prices, battery_w=ways[0])
    ]
    assert bill(short, flows[0]).total_eur == pytest.approx(bill(quarter, flows[0]).total_eur)
    quarters = [Quarter(MIDNIGHT + 900 * k, w, 0.0, 0.0, 50.0, 50.0, 100.0) for k, w in enumerate(net_w)]
    found = [assess(c, quarters, MIDNIGHT, MIDNIGHT + 48 * 900) for c in (short, quarter)]
    assert found[0].known_h == 12
    assert found[0].best == found[1].best
    assert list(found[0].peaks_w.values()) == [60_000.0]


def test_the_bill_of_five_minutes_is_by_five_minutes() -> None:
    """60 kW for 5 minutes are 60 kW on a meter of 5 minutes, 30 kW on one of 10, and quarter hours cannot tell."""
    charge = Charge(id="excess", kind="excess", excess_by="hours", price=12.0, contract_kw=40.0, interval_min=5)
    kwh = [60 / 12, 0.0] + [1.0] * 10
    for length_s, eur in ((300, 600.0), (600, 300.0)):
        config = a_site(length_s)
        metered = Metered(start_utc_s=MIDNIGHT, step_s=300, import_kwh=kwh, eur_per_mwh=[0.0] * 12)
        assert float(sum(line.net for line in invoice(config.tariff, BERLIN, length_s, metered).lines)) == eur
    config = site(tariff={"charge": (charge,)}, grid={"metering_interval_s": 300})
    metered = Metered(start_utc_s=MIDNIGHT, step_s=300, import_kwh=kwh, eur_per_mwh=[0.0] * 12)
    assert float(sum(line.net for line in invoice(config.tariff, BERLIN, 300, metered).lines)) == 1.0  # 5 minutes
    with pytest.raises(ValueError, match="expected to divide the interval of 300 s"):
        invoice(config.tariff, BERLIN, 300, msgspec.structs.replace(metered, step_s=900))
    flow = Flow(
        start_utc_s=MIDNIGHT,
        step_s=900,
        load_w=[50_000.0, 20_000.0],
        pv_w=[0.0] * 2,
        eur_per_mwh=[0.0] * 2,
        battery_w=[0.0] * 2,
    )
    assert bill(config, flow).peak_eur == pytest.approx(12.0 / 4)
    paid_w = charge_peaks_w(config, MIDNIGHT, 900, [50_000.0, 20_000.0])
    assert paid_w == {"2025-09@excess": 40_250.0}  # a quarter of an hour above 40 kW
