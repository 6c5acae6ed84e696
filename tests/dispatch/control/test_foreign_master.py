"""Another controller writes to the PCS: it is alarmed, our setpoints stop, and are tried again later."""

from __future__ import annotations

from small_site import a_pcs, a_snapshot, site_config

from dispatch.alarms.conditions import conditions
from dispatch.alarms.facts import Facts
from dispatch.control.controller import Controller
from dispatch.control.foreign_master import FIRST_OFF_S, OVERWRITES, ForeignMasters
from dispatch.model.decision import Decision
from dispatch.model.readings import reading
from dispatch.wording.catalogue import alarm_text, words

CONFIG = site_config()
TICK_S = 1.0


class Fight:
    """A controller on a PCS that holds what it was asked last, or what a foreign master wrote since."""

    def __init__(self) -> None:
        self.controller, self.t_s, self.asked_w = Controller(CONFIG), 0.0, 0.0
        self.written: list[tuple[float, float]] = []

    def tick(self, foreign_w: float | None = None) -> Decision:
        held_w = self.asked_w if foreign_w is None else foreign_w
        pcs = a_pcs(held_w, setpoint_w=reading(held_w), setpoint_enabled=reading(1))
        snapshot = a_snapshot(self.t_s, 30_000 - held_w, pcs)
        decision = self.controller.step(snapshot, None)
        w = decision.setpoints[0].w
        if w is not None:
            self.asked_w = w
            self.written.append((self.t_s, w))
        self.found = conditions(snapshot, decision, Facts(config=CONFIG, plan_age_s=0.0, prices_expected=False))
        self.t_s += TICK_S
        return decision

    def run(self, seconds: float, every_s: float | None = None) -> Decision:
        """Let time pass; the foreign master writes once in `every_s`."""
        for n in range(round(seconds / TICK_S)):
            foreign = every_s is not None and n % round(every_s / TICK_S) == 0
            decision = self.tick(-20_000.0 if foreign else None)
        return decision


def test_our_writes_stop_and_are_tried_again() -> None:
    fight = Fight()
    fight.run(10)
    assert fight.written
    decision = fight.run(40, every_s=5)
    assert [f.device_id for f in decision.foreign] == ["pcs1"]
    assert decision.setpoints[0].w is None
    alarm = fight.found["foreign-master:pcs1"]
    assert alarm.active
    assert "it had it hold -20.0 kW; ours are tried again in 1" in alarm_text("foreign-master:pcs1", alarm.detail).cause
    assert any("another controller writes to pcs1" in words(trace.reason) for trace in decision.chain)
    stopped_s = fight.written[-1][0]
    assert fight.run(FIRST_OFF_S - 60).setpoints[0].w is None
    assert fight.written[-1][0] == stopped_s
    decision = fight.run(90)
    assert decision.setpoints[0].w is not None, "the other one has gone: ours again"
    assert not fight.found["foreign-master:pcs1"].active


def test_one_that_writes_seldom_is_noticed_too() -> None:
    fight = Fight()
    fight.run(10)
    assert not fight.run(59.9, every_s=60).foreign
    assert fight.run(300, every_s=60).foreign


def test_a_device_that_refuses_a_value_or_reverts_once_is_not_fought_over() -> None:
    masters = ForeignMasters()
    for n in range(500):
        masters.update(n * TICK_S, {"pcs1": (True, 3_000.0)})  # it never held ours
    for k in range(3 * OVERWRITES):  # lost for a minute each time, and found at its reversion value
        masters.update(200.0 + 60 * k, {"pcs1": (False, 9_000.0)})
        masters.update(230.0 + 60 * k, {"pcs1": (True, 0.0)})
    assert masters.found(3_000.0) == ()


def test_each_further_fight_costs_twice_the_time_up_to_an_hour() -> None:
    masters, t_s, offs = ForeignMasters(), 0.0, []
    for _ in range(5):
        for _ in range(OVERWRITES):
            masters.update(t_s, {"pcs1": (False, 9_000.0)})
            masters.update(t_s + 1, {"pcs1": (True, 0.0)})
            t_s += 6
        offs.append(masters.found(t_s - 5)[0].again_s)
        t_s += offs[-1]
    assert offs == [600, 1200, 2400, 3600, 3600]
