"""Two PCS that fall silent: the meters prove what both do together; without a load meter it is said to be assumed."""

from __future__ import annotations

import msgspec
import pytest
from small_site import a_battery, a_pcs, a_snapshot, site_config

from dispatch.config.schema import BatteryConfig, PcsRatings
from dispatch.control.controller import Controller
from dispatch.model.decision import Decision
from dispatch.model.equipment import Meter, Pcs
from dispatch.model.readings import Quality, Reading, reading
from dispatch.wording.catalogue import words

replace = msgspec.structs.replace
LOAD_W, GRID_W = 50_000.0, 30_000.0
TOTAL_W = LOAD_W - GRID_W


class Pair:
    """A site with two PCS of 30 kW, which together give what grid and load meter differ by."""

    def __init__(self, load_meter: bool, countdown: bool = False) -> None:
        self.countdown = countdown
        battery = BatteryConfig(id="bat1", energy_kwh=100)
        ratings = (PcsRatings(id=id, battery="bat1", charge_w=30_000, discharge_w=30_000) for id in ("pcs1", "pcs2"))
        config = site_config(contracted_peak_w=GRID_W + 500, pcs=tuple(ratings), batteries=(battery,))
        self.controller, self.n, self.load_meter = Controller(config), 0, load_meter
        self.silent_s = {"pcs1": 0.0, "pcs2": 0.0}

    def _pcs(self, id: str, w: float, silent: bool) -> Pcs:
        self.silent_s[id] = self.silent_s[id] + 0.2 if silent else 0.0
        age_s = self.silent_s[id]
        quality = Quality.GOOD if age_s < 0.5 else Quality.STALE
        left = Reading(5.0, age_s, quality)  # of its timeout, when it was last heard
        pcs = a_pcs(Reading(w, age_s, quality), setpoint_w=reading(w), setpoint_enabled=reading(1.0))
        return replace(pcs, id=id, revert_remaining_s=left if self.countdown else Reading())

    def run(self, ticks: int, each_w: float, silent: tuple[str, ...] = ()) -> Decision:
        for _ in range(ticks):
            self.n += 1
            wander_w = 20.0 * (self.n % 3)
            pcs = tuple(self._pcs(id, TOTAL_W / 2, id in silent) for id in self.silent_s)
            now = a_snapshot(0.2 * self.n, LOAD_W - 2 * each_w + wander_w, pcs, a_battery(60.0))
            if self.load_meter:
                now = replace(now, load=Meter("load", reading(LOAD_W + wander_w)))
            decision = self.controller.step(now, None)
        return decision


@pytest.mark.parametrize("each_w", [TOTAL_W / 2, 0.0])
def test_of_two_silent_pcs_the_sum_is_measured(each_w: float) -> None:
    """`each_w`: what they really do; 0: their own timeout has ended the setpoint, and nothing of them says so."""
    site = Pair(load_meter=True)
    site.run(60, TOTAL_W / 2)
    decision = site.run(40, each_w, ("pcs1", "pcs2"))
    text = words(decision.reason)
    assert "measured by grid and load meter" in text
    assert "by all PCS that are silent" in text
    assert "assumed" not in text
    assert decision.battery_w == pytest.approx(2 * each_w, abs=300)
    assert decision.net_load_w == pytest.approx(LOAD_W, abs=300)


@pytest.mark.parametrize(("each_w", "told"), [(TOTAL_W / 2, "discharge 10.0 kW"), (TOTAL_W / 4, "battery at 0 kW")])
def test_of_one_silent_pcs_of_two_its_own_power_is_measured(each_w: float, told: str) -> None:
    """The second: it stops at the moment at which it falls silent. The grid meter that shows this is believed."""
    site = Pair(load_meter=True)
    site.run(60, TOTAL_W / 2)
    decision = site.run(40, each_w, ("pcs2",))
    chain = " ".join(words(t.reason) for t in decision.chain)
    assert f"measured by grid and load meter: {told} (last" in chain
    assert "all PCS that are silent" not in chain
    assert not any("not believed" in e.text for e in decision.events)
    assert decision.implausible == ()


@pytest.mark.parametrize(
    ("ticks", "each_w", "told"),
    [
        (
            40,
            TOTAL_W / 4,
            "it has reverted: grid and load meter show battery at 0 kW, its setpoint (discharge 10.0 kW)",
        ),
        (20, TOTAL_W / 4, "measured by grid and load meter: battery at 0 kW"),  # its timer still runs: something else
    ],
)
def test_a_silent_pcs_has_reverted_where_its_timeout_is_over_and_the_meters_show_it(
    ticks: int, each_w: float, told: str
) -> None:
    """Its timeout ends 5 s after it was last heard; a tick is 0.2 s."""
    site = Pair(load_meter=True, countdown=True)
    site.run(60, TOTAL_W / 2)
    decision = site.run(ticks, each_w, ("pcs2",))
    assert told in " ".join(words(t.reason) for t in decision.chain)


def test_without_a_load_meter_both_are_said_to_be_assumed() -> None:
    """Volts and amperes of the grid meter tell of the grid only."""
    site = Pair(load_meter=False)
    site.run(60, TOTAL_W / 2)
    text = words(site.run(40, TOTAL_W / 2, ("pcs1", "pcs2")).reason)
    assert text.count("assumed to keep its setpoint") == 2
    assert "measured" not in text
