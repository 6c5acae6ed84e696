"""Inputs in other units and steps than the replay's: the right bill, or a question; never a wrong figure in silence."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from replay_cases import CONFIG, START, a_case, played

from console.replay.compare import compare
from console.replay.remarks import doubtful_load, doubtful_pv
from console.replay.samples import read_samples
from console.replay.traces import LOAD_COLUMNS, Trace, TraceFileError, read_trace
from dispatch.billing.market_prices import PriceSeries

HOURS = 6
DUTY_EUR_PER_KWH = CONFIG.tariff.fee_eur_per_kwh + CONFIG.tariff.tax_eur_per_kwh


def sliced(step_s: int) -> PriceSeries:
    """Prices finer than what is billed: each hour begins dear, and ends cheap; its mean is 90 EUR/MWh."""
    count = HOURS * 3600 // step_s
    per_hour = 3600 // step_s
    prices = [90.0 + 60 * ((per_hour - 1) / 2 - k % per_hour) / per_hour for k in range(count)]
    return PriceSeries(tuple(START + step_s * k for k in range(count)), tuple(prices), START + HOURS * 3600)


@pytest.mark.parametrize(
    ("metering_s", "step_s"), [(1800, 300), (1800, 900), (1800, 1800), (3600, 900), (3600, 1800), (3600, 3600)]
)
@pytest.mark.parametrize("load_step_s", [900, 3600])
@pytest.mark.parametrize("price_step_s", [300, 900])
def test_a_bill_has_the_mean_of_prices_that_are_finer_than_its_steps(
    metering_s: int, step_s: int, load_step_s: int, price_step_s: int
) -> None:
    """20 kW for 6 h at 90 EUR/MWh on the mean, whatever the steps: all four bills can be had."""
    grid = msgspec.structs.replace(CONFIG.grid, metering_interval_s=metering_s)
    load = Trace(START - 86_400, load_step_s, [20_000.0] * (2 * 86_400 // load_step_s))
    case = a_case(
        hours=HOURS,
        step_s=step_s,
        config=msgspec.structs.replace(CONFIG, grid=grid),
        load=load,
        pv=Trace(load.start_s, load_step_s, [0.0] * len(load.w)),
        prices=sliced(price_step_s),
    )
    bills = compare(case, played(case).schedule).bills
    assert bills["none"].energy_eur == pytest.approx(20 * HOURS * (0.090 + DUTY_EUR_PER_KWH))
    assert list(bills["none"].peaks_w.values()) == [pytest.approx(20_000)]
    assert set(bills) == {"none", "night_valley", "skerry", "perfect_foresight"}
    assert bills["perfect_foresight"].total_eur <= bills["none"].total_eur + 0.01


@pytest.mark.parametrize(
    ("highest_w", "said"),
    [
        (55.0, "load.csv: the highest load is 0.055 kW beside a connection of 100.0 kW: is the column in W, or in kW?"),
        (940.0, "the highest load is 0.94 kW"),
        (1_100.0, ""),
        (159_000.0, ""),  # fuse, battery and PV together
        (60_000_000.0, "the highest load is 60000.0 kW, more than fuse, battery and PV together can supply (160.0 kW)"),
        (0.0, "the highest load is 0 kW"),
    ],
)
def test_a_load_in_another_unit_is_asked_about(highest_w: float, said: str) -> None:
    grid = msgspec.structs.replace(CONFIG.grid, fuse_a=100_000 / 690)
    found = list(doubtful_load("load.csv", highest_w, msgspec.structs.replace(CONFIG, grid=grid), 10_000))
    assert [said in line for line in found] == ([True] if said else [])


@pytest.mark.parametrize(
    ("highest_w", "said"),
    [
        (9.8, "pv.csv: the highest PV power is 0.0098 kW beside peak_w = 10.0 kW"),
        (9_800.0, ""),
        (16_000.0, "16 kW"),
        (0.0, ""),
    ],
)
def test_a_pv_power_in_another_unit_is_asked_about(highest_w: float, said: str) -> None:
    found = list(doubtful_pv("pv.csv", highest_w, 10_000))
    assert [said in line for line in found] == ([True] if said else [])
    assert not list(doubtful_pv("pv.csv", highest_w, 0.0)), "the site file does not say what is usual"


def test_a_power_that_no_site_has_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "load.csv"
    path.write_text("start_utc,load_w\n2025-10-05T00:00:00Z,20000\n2025-10-05T00:15:00Z,1e12\n")
    with pytest.raises(TraceFileError, match=r"load.csv:3: load_w = '1e12': expected W, at most 1e\+09"):
        read_trace(path, LOAD_COLUMNS)
    with pytest.raises(TraceFileError, match=r"load.csv:3: load_w = '1e12': expected a power in W, >= 0 and at most"):
        read_samples(path)
