"""Several batteries as one: SoC, energy, efficiency, limits; what a missing one means, and one out of service."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plan_site import ask, hourly, site

from dispatch.config.battery_ratings import (
    bms_share,
    full_kwh,
    full_soc_pct,
    lowest_kwh,
    lowest_soc_pct,
    mean_efficiency,
    reserve_soc_pct,
    site_soc_pct,
    wear_eur_per_kwh,
    worst_efficiency,
)
from dispatch.config.schema import BatteryConfig, DispatchConfig, PcsRatings, ReserveConfig
from dispatch.model.battery_bank import BatteryBank, combined_soc, known_soc
from dispatch.model.equipment import Battery, Meter, Pcs
from dispatch.model.readings import MISSING, Quality, Reading, reading, status
from dispatch.model.snapshot import Snapshot
from dispatch.planning.planner import make_plan
from dispatch.planning.validator import check_plan

percent = st.floats(0, 100)
energies = st.floats(1, 10_000)
efficiencies = st.floats(0.5, 1.0)
ratings = st.builds(
    lambda kwh, ends, eff, wear: {
        "energy_kwh": kwh,
        "soc_min_pct": min(ends),
        "soc_max_pct": max(ends),
        "charge_efficiency": eff[0],
        "discharge_efficiency": eff[1],
        "wear_eur_per_kwh": wear,
    },
    energies, st.tuples(percent, percent), st.tuples(efficiencies, efficiencies), st.floats(0, 1),
)  # fmt: skip
banks = st.lists(st.tuples(ratings, percent), min_size=1, max_size=4)


def config_of(rated: list[dict[str, Any]], rating_w: float = 60_000) -> DispatchConfig:
    """A site with these batteries, bat1 and on, each with a PCS of its own."""
    ids = [f"bat{n}" for n in range(1, len(rated) + 1)]
    return msgspec.structs.replace(
        site(),
        reserve=ReserveConfig(hours=1, critical_load_w=10_000),
        batteries=tuple(BatteryConfig(id=name, **keys) for name, keys in zip(ids, rated, strict=True)),
        pcs=tuple(
            PcsRatings(id=f"pcs{n}", battery=name, charge_w=rating_w, discharge_w=rating_w)
            for n, name in enumerate(ids, 1)
        ),
    )


def seen(batteries: list[Battery], pcs: list[Pcs] | None = None) -> Snapshot:
    """A snapshot of these; without `pcs`, one that runs for each."""
    running = [Pcs(f"pcs{n}", w=reading(0.0), state=status("running")) for n in range(1, len(batteries) + 1)]
    return Snapshot(1, 0.0, 0.0, Meter("grid"), pcs=tuple(pcs or running), batteries=tuple(batteries))


def bank_of(members: list[tuple[float, float | None]], pcs: list[Pcs] | None = None) -> BatteryBank:
    """(rated kWh, SoC) of each."""
    config = config_of([{"energy_kwh": kwh} for kwh, _ in members])
    return BatteryBank(config, seen([Battery(f"bat{n}", reading(pct)) for n, (_, pct) in enumerate(members, 1)], pcs))


# ── SoC ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@given(banks)
def test_soc_lies_between_the_members_and_is_stored_over_rated_energy(
    members: list[tuple[dict[str, Any], float]],
) -> None:
    soc = [pct for _, pct in members]
    bank = bank_of([(keys["energy_kwh"], pct) for keys, pct in members])
    assert bank.soc_pct is not None
    assert min(soc) <= bank.soc_pct <= max(soc)
    stored_kwh = sum(keys["energy_kwh"] * pct / 100 for keys, pct in members)
    assert bank.soc_pct / 100 * bank.config.energy_kwh == pytest.approx(stored_kwh)
    assert bank.soc_pct == site_soc_pct(bank.config, {f"bat{n}": pct for n, pct in enumerate(soc, 1)})


@given(banks)
def test_the_order_of_batteries_does_not_matter(members: list[tuple[dict[str, Any], float]]) -> None:
    found = set()
    for order in permutations(members):
        bank = bank_of([(keys["energy_kwh"], pct) for keys, pct in order])
        config = config_of([keys for keys, _ in order])
        found.add((
            bank.soc_pct, mean_efficiency(config), worst_efficiency(config), wear_eur_per_kwh(config),
            lowest_kwh(config), full_kwh(config), lowest_soc_pct(config), full_soc_pct(config),
        ))  # fmt: skip
    assert len(found) == 1


@given(ratings, percent)
def test_a_single_battery_is_itself_to_the_bit(keys: dict[str, Any], soc_pct: float) -> None:
    config, bank = config_of([keys]), bank_of([(keys["energy_kwh"], soc_pct)])
    own = (keys["charge_efficiency"], keys["discharge_efficiency"])
    assert bank.soc_pct == bank.available_pct == soc_pct
    assert mean_efficiency(config) == worst_efficiency(config) == own
    assert wear_eur_per_kwh(config) == keys["wear_eur_per_kwh"]
    assert (lowest_soc_pct(config), full_soc_pct(config)) == (keys["soc_min_pct"], keys["soc_max_pct"])


@given(st.lists(st.tuples(energies, percent), min_size=2, max_size=4), st.data())
def test_one_missing_soc_is_a_missing_soc_whoever_it_is(
    members: list[tuple[float, float | None]], data: st.DataObject
) -> None:
    n = data.draw(st.integers(0, len(members) - 1))
    members[n] = (members[n][0], None)
    bank = bank_of(members)
    assert bank.soc == MISSING
    assert (bank.soc_pct, bank.available_pct) == (None, None)
    assert known_soc(bank.batteries) == tuple(f"bat{k}" for k in range(1, len(members) + 1) if k != n + 1)
    unheard = BatteryBank(bank.config, seen(list(bank.snapshot.batteries[:n] + bank.snapshot.batteries[n + 1 :])))
    assert unheard.soc == MISSING, "a battery that the snapshot does not even name is missing too"


def test_a_rating_that_the_bms_reports_does_not_move_the_soc() -> None:
    """80 % and 20 % of equal batteries: 50, whether each BMS tells its rating, none does, or one tells another."""
    config = config_of([{"energy_kwh": 100}, {"energy_kwh": 100}])
    for told in ((1e5, 1e5), (1e5, None), (None, None), (9e4, 1e5)):
        batteries = [Battery(f"bat{n}", reading(80 - 60 * (n - 1)), energy_wh=reading(told[n - 1])) for n in (1, 2)]
        assert BatteryBank(config, seen(batteries)).soc_pct == 50


def test_the_soc_is_as_old_and_as_bad_as_the_worst_reading() -> None:
    config = config_of([{"energy_kwh": 150}, {"energy_kwh": 50}])
    old, fresh = Reading(80.0, 9.0, Quality.STALE), Reading(20.0, 0.5, Quality.GOOD)
    bank = BatteryBank(config, seen([Battery("bat1", old), Battery("bat2", fresh)]))
    assert bank.soc == Reading(65.0, 9.0, Quality.STALE)
    assert bank.soc_pct is None
    assert known_soc(bank.batteries) == ("bat1", "bat2")


def test_several_batteries_without_weights_have_no_soc_together() -> None:
    """As a console sees it that listens to a gateway which does not tell the ratings."""
    one, other = Battery("bat1", reading(80.0)), Battery("bat2", reading(20.0))
    assert combined_soc([one, other], {}) == combined_soc([one, other], {"bat1": 100.0}) == MISSING
    assert combined_soc([one], {}) == one.soc_pct
    assert combined_soc([], {"bat1": 100.0}) == MISSING


# ── what the site file says ─────────────────────────────────────────────────────────────────────────────────────────


def test_accounts_reckon_with_the_mean_and_promises_with_the_worst() -> None:
    """150 kWh at 96 % and 50 kWh at 88 %; 5 % of one and 25 % of the other are out of reach: 20 kWh of 200."""
    keys = {"soc_max_pct": 95, "wear_eur_per_kwh": 0.01}
    big = keys | {"energy_kwh": 150, "soc_min_pct": 5, "charge_efficiency": 0.96, "discharge_efficiency": 0.96}
    small = {"energy_kwh": 50, "soc_min_pct": 25, "soc_max_pct": 75, "charge_efficiency": 0.88}
    config = config_of([big, small | {"discharge_efficiency": 0.80, "wear_eur_per_kwh": 0.03}])
    assert mean_efficiency(config) == pytest.approx((0.94, 0.92))
    assert worst_efficiency(config) == (0.88, 0.80)
    assert wear_eur_per_kwh(config) == pytest.approx(0.015)
    assert (lowest_kwh(config), full_kwh(config)) == pytest.approx((20, 180))
    assert (lowest_soc_pct(config), full_soc_pct(config)) == pytest.approx((10, 90))
    assert reserve_soc_pct(config) == pytest.approx(10 + 100 * 10 / 0.80 / 200)


def test_a_site_without_a_battery_loses_nothing_and_stores_nothing() -> None:
    config = msgspec.structs.replace(site(), batteries=(), pcs=())
    assert mean_efficiency(config) == worst_efficiency(config) == (1, 1)
    assert (wear_eur_per_kwh(config), lowest_kwh(config), full_kwh(config), reserve_soc_pct(config)) == (0, 0, 0, 0)
    bank = BatteryBank(config, seen([]))
    assert (bank.soc, bank.available_share, bank.discharge_w) == (MISSING, 1.0, 0.0)


@given(
    st.lists(
        st.builds(
            lambda kwh, low, eff: {"energy_kwh": kwh, "soc_min_pct": low, "charge_efficiency": eff[0]}
            | {"discharge_efficiency": eff[1]},
            st.floats(20, 400), st.floats(0, 30), st.tuples(st.floats(0.8, 1), st.floats(0.8, 1)),
        ),
        min_size=1,
        max_size=3,
    ),
    st.floats(30, 90),
)  # fmt: skip
@settings(max_examples=15)
def test_the_validator_finds_the_same_figures_by_itself(rated: list[dict[str, Any]], soc_pct: float) -> None:
    """It reads the site file anew; a plan made with the mean efficiency and the SoC limits must pass it."""
    config = config_of(rated)
    inputs = ask(config, hourly([40.0] * 12 + [200.0] * 12), [60_000], soc_pct=soc_pct)
    plan = make_plan(inputs)
    assert check_plan(plan, inputs) == []
    assert any(abs(step.battery_w) > 1000 for step in plan.steps)


# ── power, and what is out of service ───────────────────────────────────────────────────────────────────────────────


def limited(n: int, soc_pct: float, limit_w: float | None, **states: str) -> Battery:
    """A battery whose BMS allows so much at its terminals."""
    return Battery(f"bat{n}", reading(soc_pct), discharge_limit_w=reading(limit_w), **_words(states))


def a_pcs(n: int, setting_w: float | None = None, **states: str) -> Pcs:
    """A PCS, running unless told otherwise."""
    return Pcs(f"pcs{n}", discharge_limit_w=reading(setting_w), **_words({"state": "running"} | states))


def _words(states: dict[str, str]) -> dict[str, Any]:
    return {name: status(word) for name, word in states.items()}


def test_power_is_the_sum_of_the_least_limit_of_each() -> None:
    """Rated 60 kW each: one is held to 40 kW by its setting, one to 50 kW x 0.94 by its BMS, one by its rating."""
    config = config_of([{"energy_kwh": 100}] * 3)
    batteries = [limited(n, 50, limit_w) for n, limit_w in ((1, 90_000), (2, 50_000), (3, 90_000))]
    bank = BatteryBank(config, seen(batteries, [a_pcs(1, 40_000), a_pcs(2), a_pcs(3)]))
    assert bank.discharge_w == pytest.approx(40_000 + 47_000 + 60_000)
    stale = Reading(50_000.0, 60.0, Quality.STALE)
    batteries[1] = msgspec.structs.replace(batteries[1], discharge_limit_w=stale)
    assert BatteryBank(config, seen(batteries)).discharge_w == pytest.approx(60_000 + 47_000 + 60_000)
    unread = msgspec.structs.replace(bank.snapshot, batteries=bank.snapshot.batteries[:2])
    assert BatteryBank(config, unread).discharge_w is None


def test_pcs_that_share_a_battery_share_its_limits() -> None:
    rated = config_of([{"energy_kwh": 100}])
    second = PcsRatings(id="pcs2", battery="bat1", charge_w=20_000, discharge_w=20_000)
    config = msgspec.structs.replace(rated, pcs=(*rated.pcs, second))
    assert [bms_share(config, p) for p in config.pcs] == [0.75, 0.25]
    bank = BatteryBank(config, seen([limited(1, 50, 40_000)], [a_pcs(1), a_pcs(2)]))
    assert bank.discharge_w == pytest.approx(40_000 * 0.94)
    one_off = BatteryBank(config, seen([limited(1, 50, 40_000)], [a_pcs(1), a_pcs(2, state="off")]))
    assert one_off.available_share == 1
    assert one_off.discharge_w == pytest.approx(30_000 * 0.94)


@pytest.mark.parametrize(
    ("pcs", "battery"), [({"state": "fault"}, {}), ({"state": "off"}, {}), ({}, {"state": "emergency_stop"})]
)
def test_a_battery_out_of_service_is_stored_energy_but_not_available(
    pcs: dict[str, str], battery: dict[str, str]
) -> None:
    """150 kWh at 60 % and 50 kWh at 20 % make 50 %; with the large one out, 10 of 100 kWh are left to use: 5 points."""
    config = config_of([{"energy_kwh": 150}, {"energy_kwh": 50}])
    batteries = [limited(1, 60, 90_000, **battery), limited(2, 20, 90_000)]
    bank = BatteryBank(config, seen(batteries, [a_pcs(1, **pcs), a_pcs(2)]))
    assert bank.soc_pct == 50
    assert bank.available_share == pytest.approx(0.1)
    assert bank.available_pct == pytest.approx(5)
    assert bank.discharge_w == 60_000


@pytest.mark.parametrize("state", ["starting", "standby", "sleeping", "shutting_down", None])
def test_a_state_that_passes_takes_nobody_out_of_service(state: str | None) -> None:
    bank = bank_of([(100, 80), (100, 20)], [a_pcs(1), Pcs("pcs2", state=status(state))])
    assert (bank.soc_pct, bank.available_pct) == (50, 50)


def test_with_none_in_service_all_count() -> None:
    config = config_of([{"energy_kwh": 100}, {"energy_kwh": 100}])
    down = [a_pcs(1, state="fault"), a_pcs(2, state="off")]
    bank = BatteryBank(config, seen([limited(1, 80, 90_000), limited(2, 20, 90_000)], down))
    assert (bank.soc_pct, bank.available_pct, bank.discharge_w) == (50, 50, 120_000)


@given(st.lists(st.tuples(energies, percent, st.sampled_from(["running", "fault"])), min_size=1, max_size=4))
def test_what_is_available_is_never_more_than_what_is_stored(members: list[tuple[float, float, str]]) -> None:
    pcs = [a_pcs(n, state=state) for n, (_, _, state) in enumerate(members, 1)]
    bank = bank_of([(kwh, pct) for kwh, pct, _ in members], pcs)
    assert bank.soc_pct is not None
    assert bank.available_pct is not None
    assert 0 <= bank.available_share <= 1
    assert bank.available_pct <= bank.soc_pct
