"""What declared nodes do for a grid event beyond caps: when, which, and that it is undone."""

from __future__ import annotations

import math

import msgspec
import pytest
from small_site import a_snapshot, site_config

from dispatch.config.schema import DispatchConfig, NodeTerms
from dispatch.model.equipment import Node
from dispatch.model.events import Event
from dispatch.model.islanding import NodeOrder
from dispatch.model.metering_interval import Interval
from dispatch.model.readings import MISSING, Quality, Reading
from dispatch.model.reasons import Reason
from dispatch.power_caps.cap_controller import GridSide
from dispatch.power_caps.event_nodes import HOLD_S, UNDO_S, EventNodes, joined_orders

ABLE = {"can_stop_starts": True, "can_requeue": True, "can_power_off": True}
NODES = (
    NodeTerms(id="head", critical=True, event_step="requeue", **ABLE),  # the site file refuses it; it is left alone
    NodeTerms(id="caps-only", **ABLE),
    NodeTerms(id="off", event_step="power-off", **ABLE),
    NodeTerms(id="big", event_step="requeue", checkpoint_s=120.0, **ABLE),
    NodeTerms(id="small", event_step="requeue", can_stop_starts=True, can_requeue=True),
)
DRAWN_W = {"head": 9_000.0, "caps-only": 9_000.0, "off": 9_000.0, "big": 5_000.0, "small": 3_000.0}


def config(nodes: tuple[NodeTerms, ...] = NODES) -> DispatchConfig:
    return msgspec.structs.replace(site_config(), nodes=nodes)


class Site:
    """A grid event at a site, tick by tick."""

    def __init__(self, terms: DispatchConfig) -> None:
        self.nodes, self.settle_s = EventNodes(terms), terms.ride_through.settle_s
        self.limit_w, self.missing_w, self.grid_tied = 20_000.0, 0.0, True
        self.read_w: dict[str, float | None] = dict(DRAWN_W)
        self.t_s, self.events = 0.0, list[Event]()
        self.orders: dict[str, NodeOrder] = {}

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds)):
            self.t_s += 1.0
            read = [
                Node(id, w=MISSING if w is None else Reading(w, 0.0, Quality.GOOD)) for id, w in self.read_w.items()
            ]
            now = a_snapshot(self.t_s, nodes=tuple(read))
            interval = Interval(now.utc_s, 900.0, 0.0, 0.0, 30_000.0, 30_000.0)
            net_w = self.missing_w + 4_000 + (self.limit_w if self.limit_w < math.inf else 0.0)
            need = GridSide(net_w, 4_000.0, interval, 30_000.0, self.grid_tied, limit_w=self.limit_w)
            orders, events = self.nodes.step(now, need)
            self.orders = {order.device_id: order for order in orders}
            self.events += events

    def asked(self, field: str) -> set[str]:
        return {id for id, order in self.orders.items() if getattr(order, field)}


@pytest.fixture
def site() -> Site:
    return Site(config())


def test_declared_nodes_start_no_jobs_and_go_off_when_empty_as_soon_as_import_is_limited(site: Site) -> None:
    site.run(1)
    assert site.asked("starts_stopped") == {"off", "big", "small"}
    assert site.asked("off_when_empty") == {"off", "big"}, "the small one has no command for it"
    assert {event.text for event in site.events} == {
        "import is limited, no new jobs on off, big, small; off once empty: off, big"
    }
    site.run(600)
    assert site.asked("saving") == set(), "battery and caps keep the limit"
    assert len(site.events) == 1


def test_nothing_is_asked_of_a_site_that_declares_nothing_or_was_never_limited(site: Site) -> None:
    undeclared = Site(config(tuple(msgspec.structs.replace(node, event_step="caps") for node in NODES)))
    undeclared.missing_w = 50_000.0
    undeclared.run(600)
    assert (undeclared.orders, undeclared.events) == ({}, [])
    site.limit_w = math.inf
    site.run(600)
    assert (site.orders, site.events) == ({}, [])


def test_as_few_jobs_as_make_up_for_what_is_missing_are_saved_and_requeued(site: Site) -> None:
    site.missing_w = 4_000.0
    site.run(HOLD_S)
    assert site.asked("saving") == set()
    site.run(1)
    assert site.asked("saving") == {"big"}, "5 kW are enough"
    assert site.asked("requeued") == set()
    site.run(119)
    assert site.asked("requeued") == set(), "120 s to save"
    site.run(1)
    assert site.asked("requeued") == {"big"}
    site.missing_w = 500.0  # less than before, and still too much: another one, once the first shows
    site.run(site.settle_s - 1)
    assert site.asked("saving") == {"big"}
    site.run(2)
    assert site.asked("requeued") == {"big", "small"}, "it needs no time to save"
    assert [event.text for event in site.events][1:3] == [
        "jobs on big save: 4.0 kW above the limit for 30 s, battery included",
        "jobs on big go back to the queue: import would still be above the limit",
    ]


def test_a_shortage_that_passes_requeues_nothing(site: Site) -> None:
    site.missing_w = 4_000.0
    site.run(HOLD_S + 60)
    assert site.asked("saving") == {"big"}
    site.missing_w = -1_000.0
    site.run(1)
    assert site.asked("saving") == set()
    site.run(600)
    assert site.asked("requeued") == set()
    site.missing_w = 4_000.0
    site.run(HOLD_S - 1)
    assert site.asked("saving") == set(), "it counts anew"


def test_a_node_that_is_not_read_is_not_requeued_and_off_the_grid_none_is(site: Site) -> None:
    site.missing_w, site.grid_tied = 50_000.0, False
    site.run(600)
    assert site.asked("saving") == set(), "off the grid, ride-through decides"
    site.grid_tied, site.read_w["big"] = True, None
    site.run(HOLD_S + 1)
    assert site.asked("saving") == {"small"}


def test_a_limit_that_the_fuse_keeps_asks_nothing(site: Site) -> None:
    site.limit_w = site_config().grid.fuse_w
    site.run(60)
    assert (site.orders, site.events) == ({}, [])
    site.limit_w -= 1.0
    site.run(1)
    assert site.asked("starts_stopped") == {"off", "big", "small"}


def test_off_the_grid_nothing_begins_and_what_was_asked_stays(site: Site) -> None:
    site.grid_tied = False
    site.run(60)
    assert (site.orders, site.events) == ({}, [])
    site.grid_tied = True
    site.run(1)
    site.grid_tied = False
    site.run(600)
    assert site.asked("starts_stopped") == {"off", "big", "small"}


def test_a_node_that_draws_nothing_is_not_told_to_save(site: Site) -> None:
    site.missing_w, site.read_w["big"] = 4_000.0, 0.0
    site.run(HOLD_S + 1)
    assert site.asked("saving") == {"small"}


def test_what_was_asked_is_undone_a_minute_after_the_limit(site: Site) -> None:
    site.missing_w = 4_000.0
    site.run(300)
    site.limit_w = math.inf
    site.run(UNDO_S)
    assert site.asked("starts_stopped"), "an event may follow another"
    site.run(1)
    assert site.orders == {id: NodeOrder(id) for id in ("off", "big", "small")}, "orders go on, so that it is undone"
    assert site.events[-1].text == "off, big, small take jobs again: nothing limits import any more"
    site.limit_w = 20_000.0
    site.run(HOLD_S + 1)
    assert site.asked("saving") == {"big"}, "a new event begins anew"


def test_ride_through_and_an_event_ask_together() -> None:
    ride = NodeOrder("one", cap_w=500.0, off=True, reason=Reason("ride.kept"))
    event = NodeOrder("one", starts_stopped=True, off_when_empty=True, reason=Reason("event.nodes"))
    (both,) = joined_orders((ride,), (event,))
    assert (both.cap_w, both.off, both.starts_stopped, both.off_when_empty) == (500.0, True, True, False)
    assert both.reason == Reason("ride.kept")
    free = NodeOrder("one", reason=Reason("ride.recovered"))
    assert joined_orders((free,), (event,)) == (event,)
    assert joined_orders((free,), ()) == (free,)
    assert joined_orders((), (event,)) == (event,)


def test_many_nodes_are_counted() -> None:
    many = tuple(NodeTerms(id=f"n{n}", event_step="power-off", **ABLE) for n in range(12))
    site = Site(config(many))
    site.run(1)
    assert "no new jobs on n0, n1, n2, n3, n4, n5, n6, n7 and 4 more; off" in site.events[0].text
