"""Load and PV forecasts: functions of the past, honest bands; the peak that could have been held."""

import math
import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatch.config.schema import BatteryConfig, DispatchConfig, GridConfig, PcsRatings
from dispatch.forecasting.load import LoadForecaster
from dispatch.forecasting.pv import PvForecaster
from dispatch.planning.peak.prior import held_peak_w
from dispatch.wording.catalogue import words

T0 = 1_750_000_500 // 900 * 900
DAY = 96


def daily(k: int) -> float:
    return 30_000 + 10_000 * math.sin(2 * math.pi * k / DAY)


def fed(loads: list[float], start: int = T0) -> LoadForecaster:
    forecaster = LoadForecaster()
    for k, w in enumerate(loads):
        assert forecaster.observe(start + 900 * k, w)
    return forecaster


def test_the_last_quarter_is_held_while_there_is_no_profile() -> None:
    forecast = fed([20_000, 40_000, 33_000]).predict(T0 + 2700, 8)
    assert forecast.start_utc_s == T0 + 2700
    assert forecast.load_w == (33_000,) * 8
    assert all(low <= 20_000 and high >= 40_000 for low, high in zip(forecast.low_w, forecast.high_w, strict=True))
    assert "horizons" in words(forecast.notes[0])


def test_nothing_known() -> None:
    forecast = LoadForecaster().predict(T0 + 100, 3)
    assert (forecast.start_utc_s, forecast.load_w) == (T0, (0.0, 0.0, 0.0))
    assert "0 W" in words(forecast.notes[0])
    present = LoadForecaster().predict(T0, 2, now_w=10_000)
    assert present.load_w == (10_000, 10_000)
    assert present.low_w[0] < 10_000 < present.high_w[0]


def test_present_load_stands_in_only_after_a_gap() -> None:
    forecaster = fed([20_000] * 5)
    assert forecaster.predict(T0 + 5 * 900, 1, now_w=50_000).load_w == (20_000,)
    assert forecaster.predict(T0 + 9 * 900, 1, now_w=50_000).load_w == (50_000,)


def test_a_forecast_drawn_in_parts_is_the_one_drawn_at_once() -> None:
    loads = [daily(k) + 3_000 * (k % 7) for k in range(4 * DAY)]
    asked, fresh = fed(loads), fed(loads)
    end = T0 + 900 * len(loads)
    asked.predict(end, 5)
    asked.predict(end + 4500, 3, now_w=9_000)  # another start, another load now
    assert asked.predict(end, 40) == fresh.predict(end, 40)
    assert asked.predict(end, 8).high_w == fresh.predict(end, 40).high_w[:8]
    known = [1_000.0] * 4 + [9_000.0] * 141
    assert asked.predict(end, 40, known_w=known) == fed(loads).predict(end, 40, known_w=known)
    assert asked.observe(end, 70_000)
    assert fresh.observe(end, 70_000)
    assert asked.predict(end + 900, 40) == fresh.predict(end + 900, 40)


def test_a_load_that_repeats_daily_is_learnt_from_its_own_past() -> None:
    n = 9 * DAY
    forecast = fed([daily(k) for k in range(n)]).predict(T0 + 900 * n, 36 * 4)
    truth = [daily(n + k) for k in range(36 * 4)]
    assert max(abs(a - b) for a, b in zip(forecast.load_w[1:], truth[1:], strict=True)) < 1_500
    held = [abs(daily(n - 1) - b) for b in truth]
    assert sum(abs(a - b) for a, b in zip(forecast.load_w, truth, strict=True)) < 0.2 * sum(held)


def test_a_random_walk_keeps_persistence() -> None:
    rng, loads, w = random.Random(3), [], 40_000.0
    for _ in range(9 * DAY):
        w = min(80_000.0, max(5_000.0, w + rng.gauss(0, 1_500)))
        loads.append(w)
    forecast = fed(loads).predict(T0 + 900 * len(loads), 1)
    assert forecast.load_w[0] == pytest.approx(loads[-1], rel=0.1)


def test_the_band_covers_what_it_says_out_of_sample() -> None:
    rng, forecaster, w = random.Random(5), LoadForecaster(), 40_000.0
    inside = {0: 0, 3: 0}
    asked = 0
    loads = []
    for _ in range(16 * DAY):  # noise around a level that jumps now and then, as jobs make it
        w = rng.uniform(20_000, 60_000) if rng.random() < 0.02 else w
        loads.append(max(0.0, w + rng.gauss(0, 1_000)))
    for k, load in enumerate(loads[:-4]):
        forecaster.observe(T0 + 900 * k, load)
        if k > 8 * DAY:
            forecast = forecaster.predict(T0 + 900 * (k + 1), 4)
            asked += 1
            for ahead in inside:
                inside[ahead] += forecast.low_w[ahead] <= loads[k + 1 + ahead] <= forecast.high_w[ahead]
    assert 0.86 <= inside[0] / asked <= 0.94
    assert 0.86 <= inside[3] / asked <= 0.94


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=60), st.data())
def test_only_the_past_counts_and_the_band_holds_the_forecast(loads: list[float], data: st.DataObject) -> None:
    gaps = data.draw(st.sets(st.integers(0, len(loads) - 1)))
    forecaster, twin = LoadForecaster(), LoadForecaster()
    for k, w in enumerate(loads):
        if k not in gaps:
            forecaster.observe(T0 + 900 * k, w)
            twin.observe(T0 + 900 * k, w)
    one = forecaster.predict(T0 + 900 * len(loads), 150)
    assert one == twin.predict(T0 + 900 * len(loads), 150)
    assert all(0 <= a <= b <= c for a, b, c in zip(one.low_w, one.load_w, one.high_w, strict=True))


def test_a_clock_set_back_and_bad_numbers() -> None:
    forecaster = fed([20_000, 21_000])
    assert not forecaster.observe(T0, 99_000)
    assert forecaster.predict(T0 + 1800, 1).load_w == (21_000,)
    with pytest.raises(ValueError, match="multiple of 900"):
        forecaster.observe(T0 + 10, 1.0)
    with pytest.raises(ValueError, match="leave out unknown"):
        forecaster.observe(T0 + 2700, float("nan"))


def sun(k: int) -> float:
    return max(0.0, 10_000 * math.sin(math.pi * (k % DAY / 4 - 6) / 12))


MIDNIGHT = T0 // 86400 * 86400


def test_pv_is_the_recent_days_scaled_by_the_last_hour() -> None:
    forecaster = PvForecaster("UTC")
    now = 3 * DAY + 44  # 11:00 on the fourth day, which is half as bright
    for k in range(now):
        forecaster.observe(MIDNIGHT + 900 * k, sun(k) * (0.5 if k >= 3 * DAY else 1.0))
    forecast = forecaster.predict(MIDNIGHT + 900 * now, DAY)
    assert forecast[0] == pytest.approx(0.54 * sun(now), rel=0.03)
    assert forecast[-1] == pytest.approx(3.5 / 4 * sun(now + DAY - 1), rel=0.01)  # tomorrow: the mean of four days
    assert forecast[60] == 0  # night


def test_pv_on_the_first_day_fades_with_the_sun_and_never_grows() -> None:
    forecaster = PvForecaster("UTC")
    forecaster.observe(MIDNIGHT + 900 * 36, 4_000)  # 09:00
    forecast = forecaster.predict(MIDNIGHT + 900 * 37, DAY)
    assert forecast[0] == 4_000
    assert max(forecast) == 4_000
    assert forecast[48] == 0
    assert all(a >= b for a, b in pairwise(forecast[:48]))
    assert PvForecaster("UTC").predict(MIDNIGHT, 2) == (0.0, 0.0)


def config(energy_kwh: float) -> DispatchConfig:
    return DispatchConfig(
        grid=GridConfig(fuse_a=160, contracted_peak_w=60_000),
        timezone="UTC",
        batteries=(
            BatteryConfig(
                id="b",
                energy_kwh=energy_kwh,
                soc_min_pct=0,
                soc_max_pct=100,
                charge_efficiency=1,
                discharge_efficiency=1,
            ),
        ),
        pcs=(PcsRatings(id="p", battery="b", charge_w=30_000, discharge_w=30_000),),
    )


def test_the_peak_that_could_have_been_held() -> None:
    loads = [10_000.0] * 8 + [50_000.0] * 4 + [10_000.0] * 8  # one hour 40 kW above
    assert held_peak_w(loads, config(20)) == pytest.approx(30_000, abs=20)  # 20 kWh shave 20 kW
    assert held_peak_w(loads, config(1_000)) == pytest.approx(20_000, abs=20)  # then the PCS is the limit
    assert held_peak_w([], config(20)) == 0
