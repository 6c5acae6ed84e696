"""Setpoints that a device does not keep: refused, fought over; and none of that where writes are only under way."""

from __future__ import annotations

import random

from small_site import a_pcs, a_snapshot, site_config

from dispatch.alarms.conditions import conditions
from dispatch.alarms.definitions import DEFINITIONS
from dispatch.alarms.facts import Facts
from dispatch.alarms.states import AlarmBook
from dispatch.config.schema import PcsRatings
from dispatch.control.controller import Controller
from dispatch.control.setpoint_monitor import SetpointMonitor, tolerance_w
from dispatch.model.decision import Contested
from dispatch.model.equipment import Pcs
from dispatch.model.readings import reading, status

CONFIG = site_config()
ALARM = "setpoint-mismatch:pcs1"


def holding(w: float, enabled: float = 1, **changes: object) -> Pcs:
    return a_pcs(w, setpoint_w=reading(w), setpoint_enabled=reading(enabled), **changes)


def watch_for(seconds: float, asked: object, held: object, rate_hz: float = 5.0) -> list[tuple[Contested, ...]]:
    """What the monitor says at each look; `asked` and `held` give W at a time (`held` may give a Pcs)."""
    monitor, said = SetpointMonitor(CONFIG), []
    for n in range(round(seconds * rate_hz)):
        t_s = n / rate_hz
        pcs = held(t_s)  # type: ignore[operator]
        snapshot = a_snapshot(t_s, pcs=pcs if isinstance(pcs, Pcs) else holding(pcs))
        said.append(monitor.update(snapshot, {"pcs1": asked(t_s)}))  # type: ignore[operator]
    return said


def test_a_value_that_the_device_refuses_is_told_within_seconds() -> None:
    said = watch_for(10, lambda t: 9_000, lambda t: 3_000)
    assert not any(said[:10])  # the first two seconds it may be under way
    assert said[20] == (Contested("pcs1", 3_000, 1.0),)


def test_a_setpoint_that_is_not_enabled_counts() -> None:
    assert watch_for(5, lambda t: 9_000, lambda t: holding(9_000, enabled=0))[-1]


def test_local_control_and_no_setpoint_do_not_count() -> None:
    assert not any(watch_for(10, lambda t: 9_000, lambda t: holding(3_000, control=status("local"))))
    assert not any(watch_for(10, lambda t: None, lambda t: 3_000))


def test_setpoints_that_change_at_every_tick_and_arrive_late_are_fine() -> None:
    """At 5 Hz, read back one second late; and on a fast twin, whose looks are two site seconds apart."""
    for rate_hz, late_s in ((5.0, 1.0), (0.5, 2.0)):
        chance = random.Random(3)
        values = [chance.uniform(-60_000, 60_000) for _ in range(400)]

        def asked(t_s: float, values: list[float] = values, rate_hz: float = rate_hz) -> float:
            return values[max(round(t_s * rate_hz), 0)]

        def held(t_s: float, late_s: float = late_s, asked: object = asked) -> float:
            return asked(t_s - late_s)  # type: ignore[operator]

        assert not any(watch_for(60, asked, held, rate_hz))


def test_a_device_fought_over_raises_the_alarm_though_each_overwriting_is_undone_at_once() -> None:
    """Another master writes once a second; the tick finds it, and at the next look our value is back."""
    controller, book, listed = Controller(CONFIG), AlarmBook(DEFINITIONS), []
    for n in range(250):
        t_s = 0.2 * n
        foreign = n % 5 == 0 and 25 <= n < 100
        pcs = a_pcs(10_000, setpoint_w=reading(-20_000 if foreign else 10_300), setpoint_enabled=reading(1))
        snapshot = a_snapshot(t_s, 30_000, pcs)
        decision = controller.step(snapshot, None)
        facts = Facts(config=CONFIG, plan_age_s=0.0, prices_expected=False, written_w={"pcs1": decision.battery_w or 0})
        book.update(conditions(snapshot, decision, facts), snapshot.utc_s, t_s)
        listed.append([a.state.value for a in book.active() if a.id == ALARM])
    assert not any(listed[:25])
    assert listed[99] == ["unacknowledged"]
    assert listed[-1] == ["returned"]


def test_the_tolerance_goes_by_the_rating_of_that_pcs() -> None:
    ratings = tuple(
        PcsRatings(id=id, battery="bat1", charge_w=w / 2, discharge_w=w)
        for id, w in (("pcs1", 60_000), ("pcs2", 10_000))
    )
    config = site_config(pcs=ratings)
    room_w = [tolerance_w(config, id) - config.rules.deadband_w for id in ("pcs1", "pcs2", "another")]
    assert room_w == [600, 100, 0]
