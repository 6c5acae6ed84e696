"""Which limits PV inverters get, from figures given by hand; how they work on a site: `tests/drivers/twin`."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_site import a_plan, a_snapshot, site_config

from dispatch.config.schema import DispatchConfig, PvTerms
from dispatch.control.pv_curtailment import FOLLOW_S, PvCurtailment, Site, fallback_limits, prices_now, shares
from dispatch.model.equipment import Pv
from dispatch.model.islanding import IslandState
from dispatch.model.readings import MISSING, reading
from dispatch.wording.catalogue import words

EAST, WEST = PvTerms(id="east", peak_w=20_000, curtail=True), PvTerms(id="west", peak_w=20_000, curtail=True)
ROOF = PvTerms(id="roof", peak_w=10_000)


def config(*pv: PvTerms) -> DispatchConfig:
    return msgspec.structs.replace(site_config(export_limit_w=5_000), pv=pv)


def site(t_s: float, pv_w: dict[str, float | None], **changes: Any) -> Site:
    """A full battery at rest and 3 kW of load, unless told otherwise."""
    found = tuple(Pv(id, w=MISSING if w is None else reading(w)) for id, w in pv_w.items())
    base: dict[str, Any] = {
        "state": IslandState.GRID_TIED, "joined": True, "on_battery": False,
        "net_w": 3_000 - sum(w or 0 for w in pv_w.values()), "battery_low_w": 0.0,
        "battery_asked_w": 0.0, "battery_does_w": 0.0, "allowed_w": 5_000.0,
    }  # fmt: skip
    return Site(snapshot=a_snapshot(t_s, pv=found), **(base | changes))


def total_w(limits: Any) -> float:
    return sum(limit.w for limit in limits)


def test_load_and_allowed_export_are_shared_out() -> None:
    limits = PvCurtailment(config(EAST, WEST)).step(site(0, {"east": 12_000, "west": 12_000}))
    assert [limit.w for limit in limits] == [pytest.approx(3_800), pytest.approx(3_800)]
    assert {limit.reason.code for limit in limits} == {"curtail.export"}


def test_an_inverter_in_the_shade_leaves_its_share_to_the_other() -> None:
    curtailment = PvCurtailment(config(EAST, WEST))
    curtailment.step(site(0, {"east": 12_000, "west": 1_000}))
    limits = curtailment.step(site(6, {"east": 3_800, "west": 1_000}))
    assert limits[0].w > 5_000
    assert total_w(limits) <= 8_000


def test_an_inverter_that_is_not_limited_counts_with_what_it_gives() -> None:
    curtailment = PvCurtailment(config(EAST, ROOF))
    (limit,) = curtailment.step(site(0, {"east": 12_000, "roof": 6_000}))
    assert limit.w == pytest.approx(2_000 - 200)
    curtailment.step(site(2, {"east": 1_700, "roof": 6_000}, net_w=None))
    (limit,) = curtailment.step(site(6, {"east": 1_700, "roof": None}, net_w=None))
    assert (limit.w, limit.reason.code) == (0, "curtail.load_unknown")


def test_a_discharging_battery_counts_against_export_while_the_load_is_not_known() -> None:
    curtailment = PvCurtailment(config(EAST))
    curtailment.step(site(0, {"east": 12_000}))
    lost = site(6, {"east": 7_500}, net_w=None, battery_asked_w=2_000.0, battery_does_w=1_500.0)
    (limit,) = curtailment.step(lost)
    assert limit.w is not None
    assert limit.w <= 3_000


def test_a_battery_that_takes_less_than_it_is_asked_is_believed() -> None:
    curtailment = PvCurtailment(config(EAST))
    stuck = {"battery_low_w": -60_000.0, "battery_asked_w": -9_000.0, "battery_does_w": -4_000.0}
    (limit,) = curtailment.step(site(0, {"east": 17_000}, **stuck))
    assert (limit.w, limit.reason.code) == (None, "curtail.none")
    (limit,) = curtailment.step(site(FOLLOW_S, {"east": 17_000}, **stuck))
    assert limit.w == pytest.approx(3_000 + 4_000 + 5_000 - 200)


def test_a_limit_is_lowered_at_once_and_raised_slowly() -> None:
    curtailment = PvCurtailment(config(EAST))
    held = [curtailment.step(site(0, {"east": 12_000}))[0].w]
    for t_s, net_w in ((0.2, -10_000), (0.4, -6_000), (2.0, 6_000), (5.5, 6_000)):
        held.append(curtailment.step(site(t_s, {"east": 12_000}, net_w=net_w))[0].w)
    assert held[0] == pytest.approx(7_800)
    assert held[1] == pytest.approx(6_800)
    assert held[1] == held[2] == held[3]
    assert held[4] is None


@pytest.mark.parametrize("state", [IslandState.UNKNOWN, IslandState.OPENING, IslandState.FAULT])
def test_limits_stay_until_the_site_is_known_to_be_off_the_grid(state: IslandState) -> None:
    """A fault may last for hours on a site whose switch is closed; PV must not export freely meanwhile."""
    curtailment = PvCurtailment(config(EAST))
    unknown = {"state": state, "joined": False, "battery_asked_w": None}
    assert curtailment.step(site(0, {"east": 12_000}, **unknown)) == (), "what was found stays before any decision"
    curtailment.step(site(1, {"east": 12_000}))
    (kept,) = curtailment.step(site(2, {"east": 7_800}, **unknown))
    assert (kept.w, kept.reason.code) == (7_800, "curtail.state_unknown")
    (tied,) = curtailment.step(site(3, {"east": 7_800}, **(unknown | {"joined": True, "net_w": -7_000})))
    assert tied.w is not None
    assert tied.w < 7_800, "joined to the grid it is limited as ever"
    (off,) = curtailment.step(site(4, {"east": 5_000}, **(unknown | {"on_battery": True})))
    assert (off.w, off.reason.code) == (None, "curtail.off_grid")


def test_before_the_net_load_was_known_what_was_found_stays() -> None:
    assert PvCurtailment(config(EAST)).step(site(0, {"east": 12_000}, net_w=None)) == ()


def test_a_silent_inverter_counts_with_its_limit_while_the_load_is_not_known() -> None:
    curtailment = PvCurtailment(config(EAST, WEST))
    curtailment.step(site(0, {"east": 12_000, "west": 12_000}))
    curtailment.step(site(2, {"east": 3_800, "west": 3_800}, net_w=None))
    (limit,) = curtailment.step(site(6, {"east": 3_800, "west": None}, net_w=None))
    assert limit.w <= 5_000 - 3_800


def test_the_reason_names_the_limit_in_force() -> None:
    curtailment = PvCurtailment(config(EAST))
    for t_s, net_w in ((0.0, -10_000.0), (0.2, -8_500.0)):
        (limit,) = curtailment.step(site(t_s, {"east": 12_000}, net_w=net_w))
        assert limit.reason.figures["limit_w"] == limit.w == pytest.approx(6_800)


def test_nothing_is_asked_of_a_sleeping_or_silent_inverter() -> None:
    curtailment = PvCurtailment(config(EAST, WEST))
    silent = site(0, {"east": None})
    asleep = msgspec.structs.replace(silent.snapshot, pv=(Pv("west", w=reading(0.0), asleep=True),))
    assert curtailment.step(silent) == curtailment.step(msgspec.structs.replace(silent, snapshot=asleep)) == ()


def test_what_inverters_fall_back_to_keeps_the_limit_without_any_load() -> None:
    limits = fallback_limits(config(EAST, WEST, ROOF))
    assert limits == {"east": 2_000, "west": 2_000}
    assert sum(limits.values()) + 5_000 * ROOF.peak_w / 50_000 == 5_000


@given(
    total=st.floats(0, 40_000),
    powers=st.tuples(st.floats(0, 20_000), st.floats(0, 20_000)),
    before=st.dictionaries(st.sampled_from(["east", "west"]), st.floats(0, 20_000)),
)
def test_shares_add_up_to_the_total(total: float, powers: tuple[float, float], before: dict[str, float]) -> None:
    found = [Pv("east", w=reading(powers[0])), Pv("west", w=reading(powers[1]))]
    given_w = shares(total, found, {"east": EAST, "west": WEST}, before)
    assert sum(given_w.values()) == pytest.approx(total, abs=1e-6)
    assert all(w >= 0 for w in given_w.values())


def test_nothing_is_exported_where_that_costs() -> None:
    """The battery takes what it is asked to, and not what it could."""
    curtailment = PvCurtailment(config(EAST))
    dear = {
        "prices": (0.05, -0.02),
        "battery_low_w": -60_000.0,
        "battery_asked_w": -4_000.0,
        "battery_does_w": -4_000.0,
    }
    (limit,) = curtailment.step(site(0, {"east": 12_000}, **dear))
    assert limit.w == pytest.approx(3_000 + 4_000 - 200)
    assert limit.reason.code == "curtail.price"
    assert "export earns -2.0 ct/kWh" in words(limit.reason)
    (limit,) = curtailment.step(site(6, {"east": 6_800}, **(dear | {"prices": None})))
    assert limit.w is None


def test_where_import_pays_pv_does_not_charge() -> None:
    paid = {"prices": (-0.05, -0.2), "battery_low_w": -60_000.0, "battery_asked_w": -4_000.0}
    (limit,) = PvCurtailment(config(EAST)).step(site(0, {"east": 12_000}, **paid))
    assert limit.w == pytest.approx(3_000 - 200)


def test_a_battery_that_discharges_does_not_keep_pv_from_the_load() -> None:
    """Else it would go on supplying what PV could, with PV limited for its sake."""
    out = {"prices": (0.05, -0.02), "battery_asked_w": 2_000.0, "battery_does_w": 2_000.0, "net_w": 2_000.0}
    (limit,) = PvCurtailment(config(EAST)).step(site(0, {"east": 1_000}, **out))
    assert limit.w is not None
    assert limit.w >= 2_800


@pytest.mark.parametrize(
    ("state", "changes", "prices"),
    [
        (IslandState.GRID_TIED, {}, (0.21, -0.01)),
        (IslandState.GRID_TIED, {"assumed": True}, None),
        (IslandState.GRID_TIED, {"sell_eur_per_kwh": 0.0}, None),
        (IslandState.GRID_TIED, {"sell_eur_per_kwh": None}, None),
        (IslandState.GENSET, {}, None),
        (IslandState.ISLANDED, {}, None),
    ],
)
def test_only_published_prices_on_the_grid_count(
    state: IslandState, changes: dict[str, Any], prices: tuple[float, float] | None
) -> None:
    step = msgspec.structs.replace(a_plan(0.0).steps[0], **({"sell_eur_per_kwh": -0.01} | changes))
    assert prices_now(step, state) == prices
