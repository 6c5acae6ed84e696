"""Another controller writes to the PCS: it is alarmed, our setpoints stop, and are tried again later."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from small_site import a_pcs, a_snapshot, site_config

from dispatch.alarms.conditions import conditions
from dispatch.alarms.facts import Facts
from dispatch.control.controller import Controller
from dispatch.control.foreign_master import CALM_S, FIRST_OFF_S, OVERWRITES, ForeignMasters
from dispatch.control.setpoint_monitor import Look
from dispatch.model.decision import Decision
from dispatch.model.readings import reading, status
from dispatch.wording.catalogue import alarm_text, words

CONFIG = site_config()
TICK_S = 1.0
OURS = Look(ours=True, another=False, held_w=9_000.0)


def another(held_w: float) -> Look:
    """It holds a setpoint that is not ours."""
    return Look(ours=False, another=True, held_w=held_w)


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
        masters.update(n * TICK_S, {"pcs1": another(3_000.0)})  # it never held ours
    for k in range(3 * OVERWRITES):  # lost for a minute each time, and found at its reversion value
        masters.update(200.0 + 60 * k, {"pcs1": OURS})
        masters.update(230.0 + 60 * k, {"pcs1": another(0.0)})
    assert masters.found(3_000.0) == ()


def test_each_further_fight_costs_twice_the_time_up_to_an_hour() -> None:
    masters, t_s, offs = ForeignMasters(), 0.0, []
    for _ in range(5):
        for _ in range(OVERWRITES):
            masters.update(t_s, {"pcs1": OURS})
            masters.update(t_s + 1, {"pcs1": another(0.0)})
            t_s += 6
        offs.append(masters.found(t_s - 5)[0].again_s)
        t_s += offs[-1]
    assert offs == [600, 1200, 2400, 3600, 3600]
    t_s += CALM_S
    for _ in range(OVERWRITES):
        masters.update(t_s, {"pcs1": OURS})
        masters.update(t_s + 1, {"pcs1": another(0.0)})
        t_s += 6
    assert masters.found(t_s - 5)[0].again_s == FIRST_OFF_S, "a day later it is the first again"


Held = Callable[[float, list[tuple[float, float]]], dict[str, float]]  # of the time and what was asked, with its times


def seconds_stopped(held: Held, states: str = "running", load_w: tuple[float, float] = (30_000.0, 90_000.0)) -> int:
    """For how long nothing is asked of a PCS at a load that changes each 30 s; `held` says what it holds."""
    controller, asked, stopped = Controller(CONFIG), [(-1.0, 0.0)], 0
    for t_s in range(330):
        found = held(t_s, asked)
        w = found["setpoint_w"]
        readings = {"setpoint_enabled": reading(1)} | {name: reading(value) for name, value in found.items()}
        pcs = a_pcs(w, **{"state": status(states), **readings})
        decision = controller.step(a_snapshot(t_s, load_w[t_s // 30 % 2] - w, pcs), None)
        stopped += bool(decision.foreign)
        if (setpoint := decision.setpoints[0].w) is not None and setpoint != asked[-1][1]:
            asked.append((t_s, setpoint))
    assert len(asked) > 5
    return stopped


@pytest.mark.parametrize("late_s", [1, 3, 8])
def test_a_slow_pcs_is_no_foreign_master(late_s: int) -> None:
    def held(t_s: float, asked: list[tuple[float, float]]) -> dict[str, float]:
        return {"setpoint_w": next(w for at_s, w in reversed(asked) if at_s <= t_s - late_s or at_s < 0)}

    assert seconds_stopped(held) == 0


def test_nor_one_that_rounds_coarsely() -> None:
    """Our setpoint moves a little, and the one it holds by a whole step."""

    def held(t_s: float, asked: list[tuple[float, float]]) -> dict[str, float]:
        return {"setpoint_w": round(asked[-1][1] / 5_000) * 5_000.0}

    assert seconds_stopped(held, load_w=(41_000, 45_000)) == 0


@pytest.mark.parametrize("cap_w", [0.0, 5_000.0])
def test_a_pcs_that_limits_itself_is_none(cap_w: float) -> None:
    """It takes our setpoint, and some seconds later sets its own limit, which it reports; again and again."""

    def held(t_s: float, asked: list[tuple[float, float]]) -> dict[str, float]:
        w = asked[-1][1]
        limited = t_s % 20 > 15
        return {"setpoint_w": min(w, cap_w) if limited else w, "discharge_limit_w": cap_w if limited else 60_000.0}

    assert seconds_stopped(held) == 0


def test_nor_one_that_is_throttled() -> None:
    def held(t_s: float, asked: list[tuple[float, float]]) -> dict[str, float]:
        return {"setpoint_w": asked[-1][1] / 2 if t_s % 20 > 15 else asked[-1][1]}

    assert seconds_stopped(held, states="throttled") == 0
    assert seconds_stopped(held) > 0, "where it does not say so, somebody else commands it"


@pytest.mark.parametrize("to_w", [0.0, -5_000.0])
def test_nor_one_whose_timer_runs_out_too_early(to_w: float) -> None:
    def held(t_s: float, asked: list[tuple[float, float]]) -> dict[str, float]:
        reverted = t_s % 20 > 15
        left_s = 0.0 if reverted else 30.0
        w = to_w if reverted else asked[-1][1]
        return {"setpoint_w": w, "revert_to_w": to_w, "revert_after_s": 60.0, "revert_remaining_s": left_s}

    assert seconds_stopped(held) == 0


def test_nor_one_that_disables_its_setpoint() -> None:
    def held(t_s: float, asked: list[tuple[float, float]]) -> dict[str, float]:
        return {"setpoint_w": asked[-1][1], "setpoint_enabled": float(t_s % 20 < 16)}

    assert seconds_stopped(held) == 0


@pytest.mark.parametrize("foreign_w", [0.0, -50_000.0, 60_000.0])
def test_a_foreign_master_is_noticed_whatever_it_writes(foreign_w: float) -> None:
    """Also 0 W while the timer runs, or all that the PCS can do, at a load that keeps our setpoint moving."""

    def held(t_s: float, asked: list[tuple[float, float]]) -> dict[str, float]:
        w = foreign_w if 18 < t_s % 30 < 24 else asked[-1][1]
        limits = {"charge_limit_w": 50_000.0, "discharge_limit_w": 60_000.0}
        return {"setpoint_w": w, "revert_to_w": 0.0, "revert_after_s": 60.0, "revert_remaining_s": 30.0, **limits}

    assert seconds_stopped(held) > 0
