"""By how much a proof may raise the billed peak: reckoned by hand for a quarter hour."""

from __future__ import annotations

import pytest

from dispatch.commissioning.peak_risk import peak_risk
from dispatch.commissioning.preconditions import Site
from dispatch.config.demand_terms import DemandTerms
from dispatch.config.schema import BatteryConfig, DispatchConfig, GridConfig, PcsRatings
from dispatch.model.decision import Decision, Mode, RuleTrace, Setpoint
from dispatch.model.equipment import Meter
from dispatch.model.islanding import IslandState
from dispatch.model.metering_interval import Interval
from dispatch.model.readings import Quality, Reading
from dispatch.model.reasons import Reason, RuleId
from dispatch.model.snapshot import Snapshot
from dispatch.wording.catalogue import words

CONFIG = DispatchConfig(
    grid=GridConfig(fuse_a=160, contracted_peak_w=60_000, meter_delay_max_s=2.0),
    timezone="Europe/Berlin",
    batteries=(BatteryConfig(id="bat1", energy_kwh=100),),
    pcs=(PcsRatings(id="pcs1", battery="bat1", charge_w=40_000, discharge_w=40_000),),
)
TERMS = DemandTerms(eur_per_kw=10.0)
REVERT_S = 60.0
# 10 s of calm, 14 stages of 5 s and 3 s more, 85 s of silence
PROOF_S = 10 + 14 * 8 + 85
CHARGED_WS = (0.05 + 0.15 + 0.3) * 40_000 * 8


def site(*, import_w: float, load_w: float, free_w: float, energy_wh: float, past_s: float) -> Site:
    decision = Decision(
        seq=1,
        utc_s=900.0 + past_s,
        mode=Mode.RULES,
        island=IslandState.GRID_TIED,
        setpoints=(Setpoint("pcs1", load_w - import_w),),
        battery_w=load_w - import_w,
        net_load_w=load_w,
        import_target_w=None,
        binding=RuleId.IDLE,
        reason=Reason("found.none"),
        chain=(RuleTrace(RuleId.RESERVE, -40_000.0, 40_000.0, None, False, Reason("found.none")),),
    )
    snapshot = Snapshot(
        seq=1, utc_s=900.0 + past_s, mono_s=100.0, grid=Meter("grid", w=Reading(import_w, 0.1, Quality.GOOD))
    )
    interval = Interval(900.0, 900.0, energy_wh, 0.0, 60_000.0, 60_000.0)
    return Site(snapshot, decision, interval=interval, free_peak_w=free_w)


def test_a_battery_that_holds_the_peak_down_lets_go_of_it() -> None:
    """30 kW of load, 20 kW of import since the interval began 100 s ago, a peak of 20.5 kW so far."""
    now = site(import_w=20_000, load_w=30_000, free_w=20_500, energy_wh=20_000 * 100 / 3600, past_s=100)
    found = peak_risk(CONFIG, "pcs1", now, TERMS, REVERT_S)
    reach_w = (20_000 * 100 + 30_000 * PROOF_S + CHARGED_WS + 20_000 * (800 - PROOF_S)) / 900
    assert found is not None
    assert found.figures["reach_w"] == pytest.approx(reach_w)
    assert found.figures["by_w"] == pytest.approx(reach_w - 20_500)
    assert found.figures["eur"] == pytest.approx((reach_w - 20_500) / 1000 * 10)
    assert "2.0 kW above the 20.5 kW" in words(found)


def test_what_is_reached_anyway_is_no_rise() -> None:
    low = site(import_w=20_000, load_w=30_000, free_w=25_000, energy_wh=20_000 * 100 / 3600, past_s=100)
    assert peak_risk(CONFIG, "pcs1", low, TERMS, REVERT_S) is None
    resting = site(import_w=30_000, load_w=30_000, free_w=20_000, energy_wh=0, past_s=0)
    found = peak_risk(CONFIG, "pcs1", resting, TERMS, REVERT_S)
    assert found is not None
    assert found.figures["by_w"] == pytest.approx(CHARGED_WS / 900), "only the steps that charge"


def test_near_the_end_of_an_interval_the_next_one_counts_too() -> None:
    late = site(import_w=1_000, load_w=30_000, free_w=2_000, energy_wh=0, past_s=890)
    found = peak_risk(CONFIG, "pcs1", late, TERMS, REVERT_S)
    assert found is not None
    in_next_s = PROOF_S - 10
    reach_w = (30_000 * in_next_s + CHARGED_WS + 1_000 * (900 - in_next_s)) / 900
    assert found.figures["reach_w"] == pytest.approx(reach_w)


def test_without_a_demand_charge_or_a_reading_nothing_is_said() -> None:
    now = site(import_w=20_000, load_w=30_000, free_w=0, energy_wh=0, past_s=100)
    assert peak_risk(CONFIG, "pcs1", now, DemandTerms(), REVERT_S) is None
    assert peak_risk(CONFIG, "pcs1", now._replace(interval=None), TERMS, REVERT_S) is None
    assert peak_risk(CONFIG, "pcs1", now._replace(decision=None), TERMS, REVERT_S) is None
