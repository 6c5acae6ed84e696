"""Energy IQ: by hand on two prices, between what it is compared with, and its losses add up."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plan_site import NOON, site

from dispatch.billing.bill import stored_change_kwh
from dispatch.billing.demand_charge import period_of
from dispatch.config.battery_ratings import reserve_soc_pct
from dispatch.config.demand_terms import DemandTerms
from dispatch.config.schema import DispatchConfig
from dispatch.evaluation.energy_iq import Iq, Quarter, assess, day_and_month
from dispatch.model.forecast import QUARTER_S
from dispatch.wording.catalogue import words

QUARTERS = 32  # 8 h


@dataclass
class Day:
    """What a battery did with a load: quarters of a record whose SoC follows the battery power."""

    config: DispatchConfig
    load_w: list[float]
    prices: list[float]
    battery_w: list[float]
    soc_pct: float = 50.0
    drift_pct: float = 0.0  # a quarter, beside the battery power

    def quarters(self, begin_s: int = NOON) -> list[Quarter]:
        result, soc = [], self.soc_pct
        for k, (load, price, battery) in enumerate(zip(self.load_w, self.prices, self.battery_w, strict=True)):
            after = soc + 100 * stored_change_kwh(self.config, QUARTER_S, [battery]) / self.config.energy_kwh
            after += self.drift_pct
            result.append(Quarter(begin_s + k * QUARTER_S, load, 0.0, battery, soc, after, price))
            soc = after
        return result


def why_of(found: Iq) -> str:
    assert found.why is not None
    return words(found.why)


def judged(day: Day, quarters: list[Quarter] | None = None) -> Iq:
    found = day.quarters() if quarters is None else quarters
    return assess(day.config, found, NOON, NOON + len(day.load_w) * QUARTER_S)


def two_prices(battery_w: list[float], **changes: object) -> Day:
    """Four hours at 50, four at 100 EUR/MWh, load 40 kW. A stored kWh is worth 75, so neither an empty end pays nor a
    full one that could have been sold.
    """
    return Day(site(**changes), [40_000.0] * QUARTERS, [50.0] * 16 + [100.0] * 16, battery_w)


BEST = [-40 / 0.9 / 4 * 1000] * 16 + [36 / 4 * 1000.0] * 16  # full to 90 %, and back to where it began
BEST_EUR = 36 * 0.1 - 40 / 0.9 * 0.05 - (40 / 0.9 + 36) * 0.01
KEPT_EUR = 40 * 0.9 * 0.075 - 40 / 0.9 * (0.05 + 0.01)  # full, and nothing sold


def test_two_prices_by_hand() -> None:
    """40 kWh fit into the cells; who moved 36 of them had nine tenths of what was to be had."""
    found = judged(two_prices([0.9 * w for w in BEST]))
    assert found.known_h == found.of_h == 8
    assert found.none is not None
    assert found.none.total_eur == pytest.approx(160 * 0.05 + 160 * 0.1)
    assert found.saved_eur == pytest.approx(0.9 * BEST_EUR, abs=1e-6)
    assert found.iq_pct == pytest.approx(90, abs=0.01)
    assert found.loss is not None
    assert found.loss.forecast_eur == pytest.approx(0.1 * BEST_EUR, abs=1e-4)
    assert (found.loss.orders_eur, found.loss.outages_eur, found.loss.reserve_eur) == (0, 0, 0)


def test_foresight_itself_is_a_hundred_and_no_battery_nothing() -> None:
    assert judged(two_prices(BEST)).iq_pct == pytest.approx(100, abs=0.01)
    assert judged(two_prices([0.0] * QUARTERS)).iq_pct == pytest.approx(0, abs=1e-6)
    assert (judged(two_prices([-w / 2 for w in BEST])).iq_pct or 0) < -50


def test_energy_kept_for_later_is_worth_the_mean_price_only() -> None:
    """Who fills the battery and never sells has little of what was to be had that day."""
    found = judged(two_prices(BEST[:16] + [0.0] * 16))
    assert found.saved_eur == pytest.approx(KEPT_EUR, abs=1e-6)
    assert found.iq_pct == pytest.approx(100 * KEPT_EUR / BEST_EUR, abs=0.1)


@pytest.mark.parametrize(("unable", "ordered"), [(False, True), (True, False), (True, True)])
def test_the_loss_by_cause_is_what_each_constraint_costs(unable: bool, ordered: bool) -> None:
    """Nothing was sold in the dear half because somebody, or an outage, held the battery: an order in an outage is
    the outage's.
    """
    day = two_prices(BEST[:16] + [0.0] * 16)
    quarters = [
        msgspec.structs.replace(q, unable=unable and k >= 16, ordered=ordered and k >= 16)
        for k, q in enumerate(day.quarters())
    ]
    loss = judged(day, quarters).loss
    assert loss is not None
    lost = BEST_EUR - KEPT_EUR
    assert loss.forecast_eur == pytest.approx(0, abs=1e-3)
    assert loss.outages_eur == pytest.approx(lost if unable else 0, abs=1e-3)
    assert loss.orders_eur == pytest.approx(0 if unable else lost, abs=1e-3)


def test_what_an_order_did_not_prevent_is_not_its_fault() -> None:
    """An hour of the dear half was held by an order: all could have been sold in the others."""
    day = two_prices(BEST[:16] + [0.0] * 16)
    quarters = [msgspec.structs.replace(q, ordered=16 <= k < 20) for k, q in enumerate(day.quarters())]
    loss = judged(day, quarters).loss
    assert loss is not None
    assert loss.orders_eur == pytest.approx(0, abs=1e-3)
    assert loss.forecast_eur == pytest.approx(BEST_EUR - KEPT_EUR, abs=1e-3)


def test_the_reserve_is_what_it_costs_to_keep_and_no_loss() -> None:
    """A reserve of half the battery, dear hours first: only the reserve could have been sold."""
    kept = site(reserve={"hours": 1.0, "critical_load_w": 36_000.0})
    assert reserve_soc_pct(kept) == pytest.approx(50)
    found = judged(Day(kept, [40_000.0] * QUARTERS, [100.0] * 16 + [50.0] * 16, [0.0] * QUARTERS))
    assert found.loss is not None
    sold_eur = 36 * (0.1 - 0.01) + 40 * 0.9 * 0.075 - 80 / 0.9 * (0.05 + 0.01)  # empty, then full
    assert found.loss.reserve_eur == pytest.approx(sold_eur - KEPT_EUR, abs=1e-3)
    assert found.loss.forecast_eur == pytest.approx(KEPT_EUR, abs=1e-3)


def test_a_gap_counts_for_nobody_and_is_told() -> None:
    day = two_prices(BEST)
    quarters = [q for k, q in enumerate(day.quarters()) if k not in (4, 5, 20)]
    found = judged(day, quarters)
    assert found.known_h == pytest.approx(8 - 0.75)
    assert found.iq_pct is not None
    assert 50 < found.iq_pct <= 100


def test_an_interval_with_a_gap_is_left_out_whole() -> None:
    day = two_prices(BEST, grid={"metering_interval_s": 3600})
    quarters = [q for k, q in enumerate(day.quarters()) if k != 5]
    assert judged(day, quarters).known_h == 7


def test_too_little_to_say() -> None:
    day = two_prices(BEST)
    found = judged(day, day.quarters()[:20])
    assert found.iq_pct is None
    assert why_of(found) == "only 5 h of it are on record, 6 h are needed"
    assert why_of(judged(day, [])) == "nothing of it is on record with load, battery and SoC"
    flat = Day(site(), [40_000.0] * QUARTERS, [100.0] * QUARTERS, [0.0] * QUARTERS)
    assert why_of(judged(flat)) == "too little was to be had: perfect foresight 0.00 of 32.00 EUR"
    none = Day(site(battery={"energy_kwh": 0.0}), [1.0] * QUARTERS, [1.0] * QUARTERS, [0.0] * QUARTERS)
    quarters = [Quarter(NOON, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0)]
    assert why_of(judged(none, quarters)) == "the site has no battery"


def test_a_day_is_charged_for_what_it_adds_to_the_months_peak() -> None:
    """The month's peak stood at 60 kW in the morning: letting 60 kW through again costs nothing."""
    config = site(tariff={"demand_eur_per_kw_month": 10.0})
    first = Day(config, [60_000.0] * 4 + [10_000.0] * 44, [100.0] * 48, [0.0] * 48)
    second = Day(config, [10_000.0] * 20 + [60_000.0] * 4 + [10_000.0] * 24, [100.0] * 48, [0.0] * 48)
    begin, noon = NOON, NOON + 48 * QUARTER_S
    quarters = first.quarters(begin) + second.quarters(noon)
    day, month = day_and_month(config, quarters, (noon, noon + 48 * QUARTER_S), begin)
    assert day.iq_pct is None  # nothing to save any more that day
    assert month.iq_pct == pytest.approx(0, abs=1e-6)
    assert month.own is not None
    assert month.own.peak_eur == pytest.approx(600)
    alone, _ = day_and_month(config, second.quarters(noon), (noon, noon + 48 * QUARTER_S), noon)
    assert alone.own is not None
    assert alone.own.peak_eur > 100  # on the first day of a month it would have been the month's


def test_a_day_adds_its_share_where_days_are_averaged() -> None:
    """Of two days of 60 kW each, 10 EUR/kW on the mean of both, the second adds 30 kW; the month has 60."""
    config = site(tariff={"demand": DemandTerms(eur_per_kw=10.0, top_days=2)})
    day = Day(config, [60_000.0] * 4 + [10_000.0] * 36, [100.0] * 40, [0.0] * 40)
    second = NOON + 86_400
    quarters = day.quarters(NOON - 4 * 3600) + day.quarters(second - 4 * 3600)
    judged_day, month = day_and_month(config, quarters, (second - 4 * 3600, second + 6 * 3600), NOON - 4 * 3600)
    assert month.own is not None
    assert month.own.peak_eur == pytest.approx(600)
    assert month.peaks_w == {"2025-09-16": pytest.approx(60_000), "2025-09-17": pytest.approx(60_000)}
    assert judged_day.own is not None
    assert judged_day.best is not None
    shaved = month.best_peaks_w["2025-09-17"]
    assert judged_day.own.peak_eur == pytest.approx(10 * (60 - shaved / 1000) / 2, abs=0.01)
    assert judged_day.best.peak_eur == pytest.approx(0, abs=0.01)


records = st.lists(
    st.tuples(st.floats(0, 60_000), st.floats(-50, 400), st.floats(-9_000, 9_000), st.booleans(), st.booleans()),
    min_size=24,
    max_size=40,
)


forms = st.builds(
    DemandTerms,
    eur_per_kw=st.just(2.0),
    per=st.sampled_from(["month", "year"]),
    top_days=st.integers(1, 3),
    floor_w=st.sampled_from([0.0, 20_000.0]),
    windows=st.sampled_from([(), ("tue 15:00-20:00",)]),
)
paid = st.dictionaries(st.sampled_from(["2025-09-01", "2025-09-16"]), st.floats(0, 60_000))


@given(records, st.floats(-0.4, 0.2), forms, paid, st.sampled_from([0.0, 100.0]))
@settings(max_examples=25, deadline=None)
def test_nobody_beats_foresight_and_the_causes_add_up(
    rows: list[tuple[float, float, float, bool, bool]],
    drift_pct: float,
    terms: DemandTerms,
    days_w: dict[str, float],
    co2_eur_per_tonne: float,
) -> None:
    """Whatever a battery did, with losses of its own and SoC beyond its limits at times, on every demand charge."""
    tariff = {"demand": terms, "co2_g_per_kwh": 400.0, "co2_eur_per_tonne": co2_eur_per_tonne}
    config = site(reserve={"hours": 1.0, "critical_load_w": 18_000.0}, tariff=tariff)
    paid_w = days_w if terms.top_days > 1 else {period_of(terms, day): w for day, w in days_w.items()}
    loads, prices, battery, unable, ordered = (list(column) for column in zip(*rows, strict=True))
    done = Day(config, loads, prices, battery, drift_pct=drift_pct).quarters()
    quarters = [msgspec.structs.replace(q, unable=u, ordered=o) for q, u, o in zip(done, unable, ordered, strict=True)]
    found = assess(config, quarters, NOON, NOON + len(rows) * QUARTER_S, paid_w)
    assert found.own is not None
    assert found.best is not None
    assert found.loss is not None
    loss = found.own.minimised_eur - found.best.minimised_eur
    assert loss >= -0.01
    assert found.loss.forecast_eur + found.loss.orders_eur + found.loss.outages_eur == pytest.approx(loss, abs=1e-6)
    for part in (found.loss.forecast_eur, found.loss.orders_eur, found.loss.outages_eur, found.loss.reserve_eur):
        assert part >= -0.01
