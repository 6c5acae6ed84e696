"""Which charge on peaks is the plan's main one: the dearest of those that count within a month."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from plan_site import ask, hourly, site

from dispatch.billing.peak_charges import coming_charges, main_charge
from dispatch.config.charges import Charge, TariffWindow
from dispatch.config.schema import DispatchConfig
from dispatch.model.charge_levels import ChargeLevel
from dispatch.planning.pipeline import PlanningState, PlanSource
from dispatch.planning.planner import make_plan
from dispatch.planning.validator import check_plan

WINTER = TariffWindow(id="winter", months=("nov-mar",), days=("mon-fri",), times=("06:00-22:00",))
ALL = Charge(id="all", kind="max", price=2.1)
HIGH = Charge(id="high", kind="max", price=6.6, windows=("winter",))  # in proportion as in Sundsvall, 2024


def a_site(*charges: Charge) -> DispatchConfig:
    return site(tariff={"charge": charges, "window": (WINTER,)}, timezone="Europe/Stockholm")


def noon(month: int, day: int) -> int:
    return int(datetime(2025, month, day, 12, tzinfo=ZoneInfo("Europe/Stockholm")).timestamp())


@pytest.mark.parametrize(
    ("month", "day", "main"), [(6, 16, "all"), (9, 30, "all"), (10, 6, "high"), (1, 15, "high"), (4, 2, "all")]
)
def test_a_winter_charge_is_the_main_one_from_a_month_before_it(month: int, day: int, main: str) -> None:
    config = a_site(ALL, HIGH)
    assert main_charge(config).id == "high"
    assert coming_charges(config, noon(month, day))[0].id == main
    assert {terms.id for terms in coming_charges(config, noon(month, day))} == {"all", "high"}


def test_a_summer_s_plan_is_that_without_the_winter_charge() -> None:
    """The peak that is expected is that of the charge which counts: up to it nothing costs more."""
    now = noon(6, 16)
    loads_w = [30_000.0] * 16 + [50_000.0] * 8 + [20_000.0]
    plans = []
    for charges in ((ALL, HIGH), (ALL,)):
        config = a_site(*charges)
        levels = tuple(ChargeLevel(charge.id, charge is ALL, 20e3, 20e3, 20e3) for charge in charges)
        inputs = ask(
            config,
            hourly([100.0] * 48, now),
            loads_w,
            now_utc_s=now,
            soc_pct=40.0,
            month_peak_w=20e3,
            levels=levels,
            peak_prior_w=42e3,
        )
        plans.append(make_plan(inputs))
        assert check_plan(plans[-1], inputs) == []
    assert plans[0].cost_eur == pytest.approx(plans[1].cost_eur, abs=1e-3)
    assert plans[0].targets_w["all"] == pytest.approx(plans[1].targets_w["all"], abs=1)
    assert plans[0].targets_w["all"] == pytest.approx(42_000, abs=1)


def test_the_forecaster_of_the_peak_is_fed_anew_for_another_main_charge() -> None:
    """What was fed before is not lost, and the hours that do not count are those of the new charge."""
    config = a_site(ALL, HIGH)
    source = PlanSource(config)
    before, after = noon(9, 30), noon(10, 6)
    for k in range(8):
        source.observe_load(before - 900 * (8 - k), 20_000.0)
    for now, net_w in ((before, [20_000.0] * 8), (after, [-60_000.0] * 8)):
        state = PlanningState(
            utc_s=float(now), load_w=20_000.0, pv_w=0.0, soc_pct=50.0, month_peak_w=0.0, interval_energy_wh=0.0
        )
        source.make(source.inputs(state, hourly([100.0] * 48, now)))
        assert source._peak.net_w() == net_w
