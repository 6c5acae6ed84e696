"""The bill, by hand: energy, export, the month's peak, wear, and what is left in the battery."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_site import site_config

from dispatch.billing.bill import Bill, Flow, bill, stored_change_kwh
from dispatch.config.schema import BatteryConfig, DispatchConfig
from dispatch.config.tariff_terms import TariffTerms

MIDNIGHT = 1_758_060_000  # 2025-09-16T22:00:00Z, local midnight in Berlin
HOUR = 3600


def a_config(**tariff: float) -> DispatchConfig:
    """100 kWh, 90 % one way, 2 ct/kWh wear; fees 5 ct, tax 3 ct, margin 1 ct, 10 EUR/kW unless given."""
    terms = {
        "fee_eur_per_kwh": 0.05,
        "tax_eur_per_kwh": 0.03,
        "export_margin_eur_per_kwh": 0.01,
        "demand_eur_per_kw_month": 10.0,
    }
    battery = BatteryConfig(
        id="bat1", energy_kwh=100, charge_efficiency=0.9, discharge_efficiency=0.9, wear_eur_per_kwh=0.02
    )
    return msgspec.structs.replace(site_config(), batteries=(battery,), tariff=TariffTerms(**(terms | tariff)))


def a_day(battery_kw: float) -> Flow:
    """20 kW of load; 100 EUR/MWh until noon and 200 after; charging in the morning, discharging in the afternoon."""
    return Flow(
        start_utc_s=MIDNIGHT,
        step_s=900,
        load_w=[20_000.0] * 96,
        pv_w=[0.0] * 96,
        eur_per_mwh=[100.0] * 48 + [200.0] * 48,
        battery_w=[-1000 * battery_kw] * 48 + [1000 * battery_kw * 0.81] * 48,
    )


def charged(config: DispatchConfig, flow: Flow) -> Bill:
    return bill(config, flow, stored_change_kwh(config, flow.step_s, flow.battery_w))


def test_two_price_day_without_a_battery() -> None:
    """240 kWh at 18 ct and 240 at 28 ct; peak 20 kW."""
    result = charged(a_config(), a_day(0.0))
    assert result.energy_eur == pytest.approx(240 * 0.18 + 240 * 0.28)
    assert result.peak_eur == pytest.approx(200.0)
    assert result.total_eur == pytest.approx(310.40)
    assert result.peaks_w == {"2025-09": pytest.approx(20_000.0)}


def test_two_price_day_with_a_battery() -> None:
    """Charging 2 kW for 12 h stores 21.6 kWh; 1.62 kW for 12 h takes them out again. 22 kW is the peak.

    Energy 264 x 0.18 + (240 - 19.44) x 0.28 = 47.52 + 61.7568; wear (24 + 19.44) x 0.02 = 0.8688; peak 220.
    """
    result = charged(a_config(), a_day(2.0))
    assert result.stored_eur == pytest.approx(0.0, abs=1e-9)
    assert result.energy_eur == pytest.approx(109.2768)
    assert result.wear_eur == pytest.approx(0.8688)
    assert result.peak_eur == pytest.approx(220.0)
    assert result.total_eur == pytest.approx(330.1456)


def test_vat_and_export() -> None:
    """One hour: half of it imports 10 kW, half exports 4 kW. 19 % VAT on what is imported, the margin on exports."""
    flow = Flow(
        start_utc_s=MIDNIGHT,
        step_s=1800,
        load_w=[10_000.0, 2_000.0],
        pv_w=[0.0, 6_000.0],
        eur_per_mwh=[100.0, 60.0],
        battery_w=[0.0, 0.0],
    )
    config = msgspec.structs.replace(
        a_config(vat_pct=19), grid=msgspec.structs.replace(a_config().grid, metering_interval_s=3600)
    )
    result = charged(config, flow)
    assert result.energy_eur == pytest.approx(5 * 0.18 * 1.19 - 2 * 0.05)
    assert (result.import_kwh, result.export_kwh) == (pytest.approx(5.0), pytest.approx(2.0))
    # the hour's register: 5 kWh in, and what went out earns nothing back in it
    assert result.peaks_w == {"2025-09": pytest.approx(5_000.0)}


def test_energy_left_over_is_worth_the_import_it_saves_and_missing_energy_what_it_takes() -> None:
    """Mean import price 23 ct: 10 kWh more in the cells give 9 at the terminals, 10 less take 11.1."""
    flow = a_day(0.0)
    assert bill(a_config(), flow, 10.0).stored_eur == pytest.approx(10 * 0.23 * 0.9)
    assert bill(a_config(), flow, -10.0).stored_eur == pytest.approx(-10 * 0.23 / 0.9)


def test_each_local_month_has_its_own_peak() -> None:
    """22:00 UTC on 30 September is midnight in Berlin: the quarter before it belongs to September."""
    flow = Flow(
        start_utc_s=1_759_269_600 - 900,
        step_s=300,
        load_w=[30_000.0] * 3 + [10_000.0, 10_000.0, 40_000.0],
        pv_w=[0.0] * 6,
        eur_per_mwh=[0.0] * 6,
        battery_w=[0.0] * 6,
    )
    result = bill(a_config(), flow)
    assert result.peaks_w == {"2025-09": pytest.approx(30_000.0), "2025-10": pytest.approx(20_000.0)}
    assert result.peak_eur == pytest.approx(500.0)


def test_shed_compute_lowers_the_load_and_is_charged() -> None:
    flow = msgspec.structs.replace(a_day(0.0), shed_w=[2_000.0] * 96)
    result = bill(a_config(), flow, shed_eur_per_kwh=0.3)
    assert result.shed_eur == pytest.approx(48 * 0.3)
    assert result.import_kwh == pytest.approx(432.0)


def test_a_step_that_does_not_fit_the_metering_interval_is_refused() -> None:
    with pytest.raises(ValueError, match="step of 840 s: expected to divide the metering interval of 900 s"):
        bill(a_config(), msgspec.structs.replace(a_day(0.0), step_s=840))


@given(st.floats(0.1, 10), st.lists(st.floats(-50_000, 50_000), min_size=4, max_size=40))
@settings(max_examples=50, deadline=None)
def test_scaling_every_price_scales_the_bill(factor: float, net_w: list[float]) -> None:
    """Market, fees, margin, demand charge and wear together."""
    base = a_config(tax_eur_per_kwh=0.0)
    flow = Flow(
        start_utc_s=MIDNIGHT,
        step_s=900,
        load_w=[max(w, 0.0) for w in net_w],
        pv_w=[max(-w, 0.0) for w in net_w],
        eur_per_mwh=[100.0 - 10 * k for k in range(len(net_w))],
        battery_w=[w / 2 for w in net_w],
    )
    scaled = msgspec.structs.replace(
        base,
        tariff=TariffTerms(
            fee_eur_per_kwh=0.05 * factor,
            export_margin_eur_per_kwh=0.01 * factor,
            demand_eur_per_kw_month=10 * factor,
        ),
        batteries=(msgspec.structs.replace(base.batteries[0], wear_eur_per_kwh=0.02 * factor),),
    )
    dearer = msgspec.structs.replace(flow, eur_per_mwh=[factor * p for p in flow.eur_per_mwh])
    assert charged(scaled, dearer).total_eur == pytest.approx(factor * charged(base, flow).total_eur, abs=1e-6)
