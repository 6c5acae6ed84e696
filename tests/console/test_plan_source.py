"""What the joined forecasts and the month's peak make of a plan."""

from pathlib import Path

import msgspec

from console.plan_source import Now, PlanSource
from console.site import load
from dispatch.model import Plan
from dispatch.tariff import PriceSeries

SITE = Path(__file__).parents[2] / "sites" / "yardstick-de.toml"
T0 = 1_751_328_000  # 2025-07-01
QUARTERS = 6 * 96


def planned(*, outlook: bool) -> Plan:
    """A plan after six days of 30 kW with 60 kW for three hours a day."""
    config = load(SITE).dispatch
    config = msgspec.structs.replace(config, plan=msgspec.structs.replace(config.plan, peak_outlook=outlook))
    source = PlanSource(config)
    for k in range(QUARTERS):
        source.observe_load(T0 + 900 * k, 60_000.0 if k % 96 >= 84 else 30_000.0)
        source.observe_pv(T0 + 900 * k, 0.0)
    now_s = T0 + 900 * QUARTERS
    prices = PriceSeries(tuple(now_s + 3600 * h for h in range(36)), (80.0,) * 36, now_s + 36 * 3600)
    now = Now(utc_s=now_s, load_w=30_000.0, pv_w=0.0, soc_pct=60.0, month_peak_w=0.0, interval_energy_wh=0.0)
    inputs = source.inputs(now, prices)
    plan, faults = source.make(inputs, source.recent_net_w())
    assert faults == []
    return plan


def test_the_outlook_holds_what_the_battery_can_and_may_be_switched_off() -> None:
    # 21 h of 30 kW and 3 h of 60 kW: 33.75 kW is the mean, which a battery without losses would hold
    told, alone = planned(outlook=True), planned(outlook=False)
    assert 33_750 <= told.peak_target_w <= 36_000
    assert alone.peak_target_w > told.peak_target_w + 2_000
