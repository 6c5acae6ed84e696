"""A silent switch together with a PCS that repeats old readings: nothing is written to one that may be forming."""

from __future__ import annotations

import math
import random

import msgspec
import pytest
from checked_day import Day
from genset_site import GensetSite, without_source
from soak_sizes import examples

from dispatch.control.forming_doubt import MOVES_S
from dispatch.model.equipment import Pcs, Switch
from dispatch.model.readings import MISSING
from dispatch.model.snapshot import Snapshot
from dispatch.wording.catalogue import words
from drivers.twin.faults import Fault

SLACK_S = 0.6  # three ticks


def forming_writes(site: GensetSite, seconds: float, frozen_s: float) -> list[float]:
    """When a setpoint went to the PCS while it formed, later than its standing still can be seen."""
    found = []
    for _ in range(round(seconds / 0.2)):
        decision = site.run(0.2)
        written = any(setpoint.w is not None for setpoint in decision.setpoints)
        if written and site.site.pcs[0].forming and site.site.t_s > frozen_s + MOVES_S + SLACK_S:
            found.append(site.site.t_s)
    return found


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(examples(5)))
def test_no_setpoint_goes_to_a_pcs_that_formed_behind_a_silent_switch(seed: int) -> None:
    chance = random.Random(seed)
    site = GensetSite(chance.uniform(4_000, 30_000), soc_pct=chance.choice([30.0, 60.0]))
    site.run(2) if chance.random() < 0.5 else site.on_genset()
    begins = [lambda: setattr(site, "change", without_source), lambda: site.site.faults.put(Fault("frozen", "pcs1"))]
    chance.shuffle(begins)
    for begin in begins:
        begin()
        site.run(chance.choice([0.2, 1.0, 4.0]))
    site.genset.stopped = True
    site.outage()
    assert forming_writes(site, 12, site.site.t_s) == []
    assert site.site.pcs[0].forming
    site.genset.stopped = chance.random() < 0.3
    site.grid_back()
    assert forming_writes(site, 12, site.site.t_s - MOVES_S - SLACK_S) == []


def test_it_says_so_and_the_readings_that_move_again_end_it() -> None:
    site = GensetSite(18_000.0)
    site.run(3)

    def unread(snapshot: Snapshot) -> Snapshot:  # a meter without a reading is no witness
        return without_source(msgspec.structs.replace(snapshot, grid=msgspec.structs.replace(snapshot.grid, w=MISSING)))

    site.on_genset()
    site.change = unread
    decision = site.run(1)
    assert decision.battery_w == 0.0, "on the generator, with a load that is not known"
    site.site.faults.put(Fault("frozen", "pcs1"))
    decision = site.run(4)
    assert decision.setpoints[0].w is None
    reasons = " ".join(words(trace.reason) for trace in decision.chain)
    assert "the values of pcs1 stand still for" in reasons
    site.site.faults.clear("pcs1")
    assert site.run(1).setpoints[0].w is not None


def test_a_flow_through_a_meter_on_the_bus_proves_a_source() -> None:
    """A PCS that carries the site alone leaves nothing to flow there."""
    site = GensetSite(18_000.0)
    site.on_genset()
    site.change = without_source
    site.site.faults.put(Fault("frozen", "pcs1"))
    assert site.run(5).setpoints[0].w is not None


def resting(snapshot: Snapshot) -> Snapshot:
    """A silent switch, and a PCS that shows no V and Hz, and its power in steps of 100 W."""

    def rounded(pcs: Pcs) -> Pcs:
        w = pcs.w if pcs.w.value is None else msgspec.structs.replace(pcs.w, value=round(pcs.w.value, -2))
        return msgspec.structs.replace(pcs, w=w, v=MISSING, hz=MISSING)

    switches = tuple(Switch(switch.id) for switch in snapshot.switches)
    return msgspec.structs.replace(snapshot, switches=switches, pcs=tuple(rounded(pcs) for pcs in snapshot.pcs))


def test_a_fuse_is_kept_though_a_pcs_at_rest_shows_no_sign_of_life() -> None:
    """The grid meter on the grid's side shows just what the load leaves over: the PCS gives what it says."""
    load = {"w": 20_000.0}
    day = Day(load_w=lambda t_s: load["w"] + 40.0 * math.sin(t_s))
    assert not day.config.meters_on_bus & {"grid"}
    day.run(20).run(20, resting)
    fuse_w = day.config.grid.fuse_w
    load["w"] = fuse_w + 20_000.0
    assert day.run(10, resting).twin.grid_w < fuse_w


def test_a_pcs_that_formed_while_it_repeated_old_words_balances_nothing() -> None:
    """Loads before the switch draw from the grid as much as any: what the site's own meter shows is not among it."""
    day = Day(load_w=lambda t_s: 25_000.0 + 40.0 * math.sin(t_s))
    day.run(20)
    before = day.shown[-1]

    def repeats(snapshot: Snapshot) -> Snapshot:
        """The grid's meter shows another load that lies before the switch."""
        w = msgspec.structs.replace(before.grid.w, value=6_000.0 + 40.0 * math.sin(snapshot.mono_s))
        grid = msgspec.structs.replace(before.grid, w=w)
        return msgspec.structs.replace(resting(snapshot), pcs=before.pcs, grid=grid)

    day.outage(60)
    day.run(MOVES_S + SLACK_S, repeats)
    begun = len(day.decisions)
    day.run(20, repeats)
    assert day.twin.pcs[0].forming
    assert all(s.w is None for d in day.decisions[begun:] for s in d.setpoints)
