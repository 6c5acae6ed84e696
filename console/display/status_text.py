"""Words and sentences of the lines that every view keeps: state, link, mode, why, what comes next, alarms. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import takewhile

from console.display import language
from console.display.formats import ABSENT, IDLE_W, age, cents, hour_minute, kw
from console.display.ink import Ink, Line
from console.display.language import say, say_n, say_of, words
from console.display.viewmodel import Link, Model, peak_is_lower_bound
from console.display.wrapping import columns, cut
from dispatch.alarms.priorities import Priority
from dispatch.alarms.states import Alarm, AlarmState, ShelvedAlarm
from dispatch.model.charge_levels import ChargesNow
from dispatch.model.clock import ClockState
from dispatch.model.decision import Mode
from dispatch.model.equipment import Node
from dispatch.model.islanding import IslandState
from dispatch.model.metering_interval import TOLD_S, Interval
from dispatch.model.plan import Plan, PlanStep
from dispatch.model.readings import Quality, Reading, Status
from dispatch.model.reservations import Reservation
from dispatch.planning.price_steps import for_price
from gateway.api.protocol import IqNow, Published

LEAST_PLANNED_W = 1000.0  # a smaller planned battery power is not announced
NEXT_CHANGES = 6
BAND_WH = 20.0  # a narrower band of the register is within the last digit shown
GAP_H = 0.5  # without a record; a longer gap is mentioned

MODE_INKS: dict[Mode, Ink] = {
    Mode.PLAN: Ink.PLAIN,
    Mode.RULES: Ink.PLAIN,
    Mode.MANUAL: Ink.BOLD,
    Mode.SAFE: Ink.HIGH,
    Mode.OBSERVE: Ink.BOLD,
}
PRIORITY_MARKS: dict[Priority, tuple[str, Ink]] = {
    Priority.HIGH: ("▲1", Ink.HIGH),
    Priority.MEDIUM: ("▲2", Ink.MEDIUM),
    Priority.LOW: ("▲3", Ink.LOW),
}
ROLES = ("viewer", "scheduler", "operator", "engineer")
USER_COLUMNS = 11  # for the user and the role


def mode_word(mode: Mode) -> tuple[str, Ink]:
    """What steers."""
    return say(f"mode.{mode.value}"), MODE_INKS[mode]


def alarm_state_words(state: AlarmState) -> str:
    """How an alarm stands: "active, acknowledged"."""
    return say(f"alarm_state.{state.value}")


def gpus_text(node: Node) -> str:
    """Busy GPUs of all that a node has: "3/8"; that there is none."""
    if not node.gpus_total:
        return say("flow.gpus_none")
    busy = node.gpus_busy.good
    return f"{ABSENT if busy is None else f'{busy:.0f}'}/{node.gpus_total}"


def island_state_word(state: IslandState) -> tuple[str, Ink]:
    """The state at the PCC, as shown; anything but grid-tied stands out."""
    return state_head(state), Ink.PLAIN if state is IslandState.GRID_TIED else Ink.HIGH


def state_name(state: IslandState) -> str:
    """What a state at the PCC is called."""
    return say(f"state.{state.value}")


def state_head(state: IslandState) -> str:
    """The same where it stands out: in the state line, at the head of a view."""
    return say(f"head.{state.value}")


def link_state_word(model: Model) -> tuple[str, Ink]:
    """How the console hears the gateway."""
    if model.link is Link.CONNECTING:
        return say("link.connecting"), Ink.DIM
    if model.link is Link.LOST:
        return say("link.lost", age=age(model.age_s)), Ink.HIGH
    if model.stale:
        return say("age.stale", age=age(model.age_s)), Ink.MEDIUM
    if model.slow_link:
        return say("link.slow"), Ink.MEDIUM
    if model.welcome is None:
        return say("link.live"), Ink.DIM
    role = f" {say(f'role.{model.role}')}" if model.role in ROLES else ""
    return f"{say('link.live')} {cut(model.welcome.user, USER_COLUMNS - columns(role))}{role}", Ink.DIM


def stale_word(reading: Reading, extra_age_s: float) -> str:
    """ "STALE 4s" when a reading may not be used any more, "SUSPECT 1s" when a newer one is doubted, else nothing."""
    if reading.value is None or (reading.quality is Quality.GOOD and not extra_age_s):
        return ""
    if reading.doubted and not extra_age_s:
        return say("age.suspect", age=age(reading.age_s or 0.0))
    return say("age.stale", age=age((reading.age_s or 0.0) + extra_age_s))


def doubt_word(parts: Iterable[Reading | Status]) -> str:
    """ "SUSPECT" where one of the parts of a figure is doubted, else nothing."""
    return say("age.suspect_word") if any(part.doubted for part in parts) else ""


def old_title(model: Model) -> str:
    """ "STALE 30s" for the title of a panel of figures while no snapshots arrive, else nothing."""
    return say("age.stale", age=age(model.extra_age_s)) if model.stale else ""


def seen_text(seen: str | None) -> str:
    """What a switch sees or says, as shown; that it was not read."""
    return say("flow.not_read") if seen is None else say_of("seen", seen)


def battery_direction(watts: float | None) -> str:
    """discharge, charge or idle."""
    if watts is None:
        return ""
    return say("direction.idle" if abs(watts) < IDLE_W else "direction.discharge" if watts > 0 else "direction.charge")


def grid_direction(watts: float | None) -> str:
    """import, export or idle."""
    if watts is None:
        return ""
    return say("direction.idle" if abs(watts) < IDLE_W else "direction.import" if watts > 0 else "direction.export")


def flow_arrow(watts: float | None) -> str:
    """Into the site, out of it, nothing flowing, or unknown. The length has no meaning."""
    if watts is None:
        return "· · · · ·"
    return "─────────" if abs(watts) < IDLE_W else "────────▶" if watts > 0 else "◀────────"


def why_text(model: Model) -> str:
    """What the controller does and why; without a gateway, why there is none."""
    if model.published is None and model.past is not None:
        return say("why.no_record", record=model.past.record)
    if model.published is None:
        return model.link_note or say("why.waiting")
    if model.link is Link.LOST and model.past is None:
        return say("why.unknown", note=model.link_note)
    decision = model.published.decision
    if (ride := decision.ride) is not None and ride.rung:
        figures = {"name": words(ride.rung_name), "why": words(ride.why), "reason": words(decision.reason)}
        return say("why.ride", rung=ride.rung, **figures)
    return words(decision.reason) or say("why.none")


def off_list_words(shelved: Sequence[ShelvedAlarm]) -> str:
    """How many alarms are shelved or out of service, and how many of them would be listed; empty: none."""
    stand = sum(one.state in (AlarmState.ACKNOWLEDGED, AlarmState.UNACKNOWLEDGED) for one in shelved)
    stands = f", {say_n('alarms.stand', stand)}" if stand else ""
    return f"{say('alarms.off_list', n=len(shelved))}{stands}" if shelved else ""


def next_change_text(
    plan: Plan | None, now_utc_s: float | None, timezone: str, reservations: Sequence[Reservation] = ()
) -> str:
    """When the plan next changes to charging, discharging or idling, and what for; the power reserved until then.

    Without a plan, what steers instead.
    """
    if now_utc_s is None:
        return ""
    parts = [(r.start_utc_s, _reserved_text(r, timezone)) for r in reservations if r.start_utc_s > now_utc_s]
    if plan is None or not plan.steps:
        return _joined([*parts, (0.0, say("next.no_plan"))])
    current = plan.at(now_utc_s)
    if current is None:
        return _joined([*parts, (0.0, say("next.run_out"))])
    last = _planned_sign(current)
    for n, step in enumerate(plan.steps):
        sign = _planned_sign(step)
        if step.start_utc_s > now_utc_s and sign != last:
            parts.append((step.start_utc_s, _planned_text(plan.steps[n:], timezone)))
            last = sign
    return _joined(parts) or say("next.keeps")


def _joined(parts: list[tuple[float, str]]) -> str:
    return " · ".join(text for _, text in sorted(parts)[:NEXT_CHANGES])


def _reserved_text(r: Reservation, timezone: str) -> str:
    time = hour_minute(r.start_utc_s, timezone)
    return say("next.reserved", time=time, name=r.name, power=kw(r.power_w).strip())


def _planned_sign(step: PlanStep) -> int:
    """1: discharge, -1: charge, 0: idle; a power too small to announce is idle."""
    return 0 if abs(step.battery_w) < LEAST_PLANNED_W else 1 if step.battery_w > 0 else -1


def _planned_text(steps: Sequence[PlanStep], timezone: str) -> str:
    """When a run of one direction begins, its highest power, and what for: the price, or the plan's other reason."""
    first = steps[0]
    sign = _planned_sign(first)
    text = f"{hour_minute(first.start_utc_s, timezone)} {battery_direction(sign * LEAST_PLANNED_W)}"
    if not sign:
        return text
    run = takewhile(lambda step: _planned_sign(step) == sign, steps)
    text += f" {kw(max(abs(step.battery_w) for step in run)).strip()} kW"
    if first.reason is None or for_price(first.reason):
        return say("next.at_price", what=text, price=cents(first.price_eur_per_kwh))
    return f"{text}: {words(first.reason)}"


def unmeasured_texts(interval: Interval) -> Iterator[str]:
    """What of the interval's energy is not measured, and between which bounds it lies; nothing where all is sure."""
    low_wh, high_wh = interval.low_wh, interval.high_wh
    if interval.never_read:
        yield say("interval.never_read")
    elif interval.unknown_s >= TOLD_S:
        yield say("interval.unmeasured", seconds=f"{interval.unknown_s:.0f}")
        if low_wh is not None and high_wh is None:
            yield say("interval.at_least", low=f"{low_wh / 1000:.2f}")
        elif low_wh is not None and high_wh is not None:
            yield say("interval.between", low=f"{low_wh / 1000:.2f}", high=f"{high_wh / 1000:.2f}")
    elif low_wh is not None and high_wh is not None and high_wh - low_wh >= BAND_WH:
        yield say("interval.step", band=f"{(high_wh - low_wh) / 2000:.2f}")


def interval_mean_text(interval: Interval, elapsed_s: float) -> str:
    """The mean import so far; "~": part of it is assumed; a dash where the meter was never read."""
    mean_w = None if interval.never_read or elapsed_s < 1 else interval.energy_wh * 3600 / elapsed_s
    return f"{say('interval.mean')}{'~' if interval.unknown_s >= TOLD_S and mean_w is not None else ' '}{kw(mean_w)}"


def interval_gap_text(interval: Interval) -> str:
    """How much of the interval was not measured: "gap 42s"; that nothing was, or that it is not known; empty: all."""
    if math.isinf(interval.unknown_s):
        return say("interval.gap_unknown")
    if interval.never_read:
        return say("interval.unread")
    return say("interval.gap", age=age(interval.unknown_s)) if interval.unknown_s >= TOLD_S else ""


def peak_label(published: Published) -> str:
    """What the peak of the billing period is called: a lower bound, or known; of listed charges what is free now."""
    if published.charges is not None:
        return say("peak.free_now")
    return say("peak.at_least" if peak_is_lower_bound(published) else "peak.so_far")


def limiting_texts(now: ChargesNow, timezone: str) -> list[str]:
    """Which of several charges on peaks limits import now, and until when: the longest text first."""
    what = now.charge or say("charges.none")
    if now.until_utc_s is None:
        return [what, ""]
    return [say("charges.until", what=what, until=hour_minute(now.until_utc_s, timezone)), what, ""]


def iq_texts(iq: IqNow | None) -> list[str]:
    """Energy IQ of today, else of yesterday, and of the month so far: the longest text first.

    The hours known are mentioned where the record has gaps; a dash where there are too few; nothing before the first
    result.
    """
    if iq is None:
        return []
    month = "" if iq.month_pct is None else say("iq.month", pct=f"{iq.month_pct:.0f}")
    if iq.today_pct is not None:
        gaps = iq.today_known_h < iq.today_of_h - GAP_H
        day = say("iq.today", pct=f"{iq.today_pct:.0f}")
        if gaps:
            day += f" {say('iq.hours', known=f'{iq.today_known_h:.0f}', of=f'{iq.today_of_h:.0f}')}"
    elif iq.yesterday_pct is not None:
        day = say("iq.yesterday", pct=f"{iq.yesterday_pct:.0f}")
    else:
        return [say("iq.only", what=month or "—")]
    return [f"{day} · {month}", day] if month else [day]


def alarm_text(alarm: Alarm, model: Model) -> str:
    """One alarm in the alarms line: title, since, first-out, whether it has gone."""
    text = f"{language.alarm_text(alarm.id).title} {hour_minute(alarm.since_utc_s, model.timezone)}"
    if alarm.first_out:
        text += f" {say('alarms.first')}"
    return text + (f" {say('alarms.gone')}" if alarm.state is AlarmState.RETURNED else "")


def clock_line(clock: ClockState) -> Line:
    """The same in a few words."""
    if not clock.known:
        return say("clock.not_known"), Ink.MEDIUM
    if clock.synchronised is None:
        return say("clock.not_monitored"), Ink.DIM
    if clock.synchronised:
        return say("clock.synchronised"), Ink.PLAIN
    return say("clock.not_synchronised"), Ink.LOW


def clock_texts(clock: ClockState) -> Iterator[str]:
    """What is known of the time of a real site: whether it is, and what the kernel says of its synchronisation."""
    if not clock.known:
        yield say("clock.not_known")
        yield say("clock.no_bills")
        return
    if clock.synchronised is None:
        yield say("clock.known")
        yield say("clock.unreadable", note=clock.note)
    elif clock.synchronised:
        yield say("clock.is_synchronised")
        if clock.max_error_s is not None:
            yield say("clock.error", error=f"{clock.max_error_s:.3f}")
    else:
        yield say("clock.is_not_synchronised")
        yield say("clock.no_server")
