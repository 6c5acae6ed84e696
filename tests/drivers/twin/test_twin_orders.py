"""A manual order in lock-step: the tick after it is given, the PCS holds it; the tick after it ends, the rules do."""

from __future__ import annotations

from twin_sites import site_of

from dispatch.config.schema import DispatchConfig, GridConfig
from dispatch.control.controller import Controller
from dispatch.model.decision import Mode
from dispatch.model.orders import Order, OrderKind
from dispatch.orders.book import OrderBook
from drivers.clock import VirtualClock
from drivers.twin.lockstep import LockstepSite

TICK_S = 0.2


def test_order_to_effect_is_one_tick() -> None:
    site = site_of(None)
    lockstep, book = LockstepSite(site, VirtualClock(site.start_utc_s)), OrderBook()
    config = DispatchConfig(
        grid=GridConfig(fuse_a=160, contracted_peak_w=60_000, export_limit_w=50_000, ramp_w_per_s=500),
        timezone="Europe/Berlin",
        batteries=tuple(p.battery.config for p in site.pcs),
        pcs=tuple(p.ratings for p in site.pcs),
    )
    controller = Controller(config)
    values = [15_000.0, -8_000.0, 100.0, 20_000.0]
    given = {25 * (n + 1): w for n, w in enumerate(values)}  # tick -> W; each lasts ten ticks
    held = []
    for tick in range(125):
        lockstep.advance(TICK_S)
        snapshot = lockstep.snapshot(tick)
        book.expire(snapshot.mono_s)
        if tick in given:
            ends_s = snapshot.mono_s + 1.99
            book.put(Order("o1", OrderKind.SETPOINT, given[tick], "", "alice", "test", 0.0, 0.0, ends_s))
        decision = controller.step(snapshot, None, orders=book.active)
        lockstep.apply(decision)
        held.append((site.pcs[0].control.setpoint_w, decision.mode))
    for tick, w in given.items():
        assert held[tick - 1][1] is Mode.RULES
        assert held[tick] == (w, Mode.MANUAL), "the tick that first sees the order writes it, past ramp and deadband"
        assert [mode for _, mode in held[tick : tick + 11]] == [Mode.MANUAL] * 10 + [Mode.RULES]
