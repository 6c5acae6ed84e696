"""A grid event in the control loop: battery first, then caps, never the reserve; the limit rises in steps after it."""

from __future__ import annotations

import msgspec
import pytest
from small_site import T0, a_battery, a_pcs, a_snapshot, site_config

from dispatch.config.battery_ratings import reserve_soc_pct
from dispatch.config.schema import BatteryConfig, CapsConfig, NodeTerms
from dispatch.control.controller import Controller
from dispatch.events.book import EventBook
from dispatch.events.life_cycle import Moment, limits_now
from dispatch.events.model import EventState, Wanted
from dispatch.model.equipment import Node
from dispatch.model.readings import reading
from dispatch.orders.signal_book import SiteLimits

NODES_W = 20_000.0  # of two deferrable nodes, without caps
OTHER_W = 10_000.0
BELOW_W = 375.0  # the target: 1.5 times the deadband


CAPPED = (NodeTerms(id="one", cap_w=2_000), NodeTerms(id="two", cap_w=2_000))
REQUEUED_W = 500.0  # of a node without jobs


class Plant:
    """30 kW of load, 40 kWh of battery with a reserve of 10 kWh; PCS and nodes follow within a tick of a second."""

    def __init__(self, soc_pct: float, nodes: tuple[NodeTerms, ...] = CAPPED) -> None:
        batteries = (BatteryConfig(id="bat1", energy_kwh=40),)
        base = site_config(reserve_h=1, contracted_peak_w=60_000, delay_max_s=0.1, batteries=batteries)
        config = msgspec.structs.replace(base, caps=CapsConfig(max_share=0.9), nodes=nodes)
        self.config = config
        self.controller, self.book = Controller(config), EventBook(SiteLimits(critical_load_w=10_000))
        self.soc_pct, self.t_s, self.pcs_w = soc_pct, 0.0, 0.0
        self.caps_w = dict[str, float]()
        self.requeued: tuple[str, ...] = ()
        self.imports_w = list[float]()

    def run(self, seconds: int) -> None:
        for _ in range(seconds):
            self.t_s += 1.0
            drawn_w = {id: min(NODES_W / 2, self.caps_w.get(id, NODES_W)) for id in ("one", "two")}
            drawn_w |= dict.fromkeys(self.requeued, REQUEUED_W)
            import_w = OTHER_W + sum(drawn_w.values()) - self.pcs_w
            self.imports_w.append(import_w)
            self.soc_pct -= self.pcs_w / 0.94 / 3.6e6 / 0.4
            now = a_snapshot(
                self.t_s,
                import_w,
                pcs=a_pcs(self.pcs_w),
                battery=a_battery(self.soc_pct),
                nodes=tuple(Node(id, w=reading(w)) for id, w in drawn_w.items()),
            )
            decision = self.controller.step(now, None, signals=limits_now(self.book.standing, now.utc_s, BELOW_W))
            caps = decision.caps
            moment = Moment(
                utc_s=now.utc_s,
                dt_s=1.0,
                import_w=import_w,
                without_battery_w=30_000.0,
                contracted_peak_w=60_000.0,
                shed_w=0.0 if caps is None else caps.shed_w,
                capped=() if caps is None else tuple(id for id, _ in caps.nodes),
                starts_stopped=tuple(order.device_id for order in decision.nodes if order.starts_stopped),
                requeued=tuple(order.device_id for order in decision.nodes if order.requeued),
            )
            self.book.advance(moment)
            self.pcs_w = decision.battery_w or 0.0
            self.caps_w = {} if caps is None else dict(caps.nodes)
            self.requeued = moment.requeued

    @property
    def state(self) -> EventState:
        (state,) = (*self.book.standing, *self.book.ended)
        return state


def test_the_battery_holds_the_limit_until_it_nears_the_reserve_and_caps_take_over() -> None:
    """15 of 30 kW: the battery holds 15 kW for three minutes, until its reserve is near; then the nodes give them."""
    plant = Plant(soc_pct=34.0)
    plant.run(5)
    plant.book.start(Wanted(drop_w=15_000.0, end_utc_s=T0 + 600, ramp_s=60.0), "otto", T0 + plant.t_s)
    plant.run(120)
    assert plant.state.limit_w == 15_000
    assert plant.caps_w == {}, "battery first"
    assert plant.pcs_w == pytest.approx(15_000 + BELOW_W, abs=1)
    plant.run(474)
    assert sum(plant.caps_w.values()) == pytest.approx(NODES_W - 15_000 - BELOW_W, abs=300)
    assert plant.pcs_w < 500
    assert plant.soc_pct > reserve_soc_pct(plant.config) - 0.1, "the reserve is kept, but for the deadband of the PCS"
    held = plant.imports_w[8:599]
    kept = sum(w <= 15_000 for w in held) / len(held)
    assert kept >= 0.99, f"held in {kept:.2%} of all seconds"
    figures = plant.state.figures
    assert figures.shed_wh == pytest.approx(15_000 * 360 / 3600, rel=0.15), "for six of ten minutes"
    assert figures.capped_s.keys() == {"one", "two"}
    plant.run(75)
    assert plant.caps_w == {}
    assert plant.state.over_utc_s is not None


def test_what_battery_and_caps_cannot_give_jobs_that_can_be_requeued_do() -> None:
    """As above, with nodes that take no caps: one of them is enough, and has a minute to save."""
    able = NodeTerms(id="one", event_step="requeue", can_stop_starts=True, can_requeue=True, checkpoint_s=60.0)
    plant = Plant(34.0, (able, msgspec.structs.replace(able, id="two")))
    plant.run(5)
    plant.book.start(Wanted(limit_w=22_000.0, end_utc_s=T0 + 900, ramp_s=60.0), "otto", T0 + plant.t_s)
    plant.run(300)
    assert plant.state.figures.starts_stopped == ("one", "two")
    assert plant.requeued == (), "battery first"
    plant.run(594)
    assert plant.requeued == ("one",)
    assert plant.soc_pct > reserve_soc_pct(plant.config) - 0.1
    assert plant.imports_w[-1] <= 22_000
    assert plant.state.figures.over_s <= 180, "half a minute of shortage, a minute to save, as the reserve nears"
    plant.run(130)
    assert plant.requeued == ()
    assert plant.state.figures.requeued == ("one",)
