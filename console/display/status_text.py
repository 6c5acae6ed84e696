"""Words and sentences of the lines that every view keeps: state, link, mode, why, what comes next, alarms. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import takewhile

from console.display import language
from console.display.formats import ABSENT, IDLE_W, age, cents, hour_minute, kw
from console.display.ink import Ink, Line
from console.display.language import words
from console.display.viewmodel import Link, Model, peak_is_lower_bound
from console.display.wrapping import cut
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
from dispatch.planning.explanations import for_price
from gateway.api.protocol import IqNow, Published

LEAST_PLANNED_W = 1000.0  # a smaller planned battery power is not announced
NEXT_CHANGES = 6
BAND_WH = 20.0  # a narrower band of the register is within the last digit shown
GAP_H = 0.5  # without a record; a longer gap is mentioned

MODES: dict[Mode, tuple[str, Ink]] = {
    Mode.PLAN: ("auto · plan", Ink.PLAIN),
    Mode.RULES: ("auto · rules", Ink.PLAIN),
    Mode.MANUAL: ("MANUAL", Ink.BOLD),
    Mode.SAFE: ("SAFE", Ink.HIGH),
    Mode.OBSERVE: ("observe only", Ink.BOLD),
}
PRIORITY_MARKS: dict[Priority, tuple[str, Ink]] = {
    Priority.HIGH: ("▲1", Ink.HIGH),
    Priority.MEDIUM: ("▲2", Ink.MEDIUM),
    Priority.LOW: ("▲3", Ink.LOW),
}
ROLES = {"viewer": " (view)", "scheduler": " (sched)", "operator": " (op)", "engineer": " (eng)"}
USER_COLUMNS = 11  # for the user and the role
ALARM_STATE_WORDS: dict[AlarmState, str] = {
    AlarmState.UNACKNOWLEDGED: "active",
    AlarmState.ACKNOWLEDGED: "active, acknowledged",
    AlarmState.RETURNED: "gone, not acknowledged",
    AlarmState.NORMAL: "normal",
}


def gpus_text(node: Node) -> str:
    """Busy GPUs of all that a node has: "3/8"; that there is none."""
    if not node.gpus_total:
        return "none"
    busy = node.gpus_busy.good
    return f"{ABSENT if busy is None else f'{busy:.0f}'}/{node.gpus_total}"


def island_state_word(state: IslandState) -> tuple[str, Ink]:
    """The state at the PCC, as shown; anything but grid-tied stands out."""
    return state.value.upper(), Ink.PLAIN if state is IslandState.GRID_TIED else Ink.HIGH


def link_state_word(model: Model) -> tuple[str, Ink]:
    """How the console hears the gateway."""
    if model.link is Link.CONNECTING:
        return "connecting", Ink.DIM
    if model.link is Link.LOST:
        return f"NO GATEWAY {age(model.age_s)}, retrying", Ink.HIGH
    if model.stale:
        return f"STALE {age(model.age_s)}", Ink.MEDIUM
    if model.slow_link:
        return "slow link", Ink.MEDIUM
    if model.welcome is None:
        return "live", Ink.DIM
    role = ROLES.get(model.role, "")
    return f"live {cut(model.welcome.user, USER_COLUMNS - len(role))}{role}", Ink.DIM


def stale_word(reading: Reading, extra_age_s: float) -> str:
    """ "STALE 4s" when a reading may not be used any more, "SUSPECT 1s" when a newer one is doubted, else nothing."""
    if reading.value is None or (reading.quality is Quality.GOOD and not extra_age_s):
        return ""
    if reading.doubted and not extra_age_s:
        return f"SUSPECT {age(reading.age_s or 0.0)}"
    return f"STALE {age((reading.age_s or 0.0) + extra_age_s)}"


def doubt_word(parts: Iterable[Reading | Status]) -> str:
    """ "SUSPECT" where one of the parts of a figure is doubted, else nothing."""
    return "SUSPECT" if any(part.doubted for part in parts) else ""


def old_title(model: Model) -> str:
    """ "STALE 30s" for the title of a panel of figures while no snapshots arrive, else nothing."""
    return f"STALE {age(model.extra_age_s)}" if model.stale else ""


def battery_direction(watts: float | None) -> str:
    """discharge, charge or idle."""
    return "" if watts is None else "idle" if abs(watts) < IDLE_W else "discharge" if watts > 0 else "charge"


def grid_direction(watts: float | None) -> str:
    """import, export or idle."""
    return "" if watts is None else "idle" if abs(watts) < IDLE_W else "import" if watts > 0 else "export"


def flow_arrow(watts: float | None) -> str:
    """Into the site, out of it, nothing flowing, or unknown. The length has no meaning."""
    if watts is None:
        return "· · · · ·"
    return "─────────" if abs(watts) < IDLE_W else "────────▶" if watts > 0 else "◀────────"


def why_text(model: Model) -> str:
    """What the controller does and why; without a gateway, why there is none."""
    if model.published is None and model.past is not None:
        return f"nothing is on record of then: {model.past.record}"
    if model.published is None:
        return model.link_note or "waiting for the first snapshot"
    if model.link is Link.LOST and model.past is None:
        return f"unknown, last values shown: {model.link_note}"
    decision = model.published.decision
    if (ride := decision.ride) is not None and ride.rung:
        return f"ride-through step {ride.rung}, {words(ride.rung_name)}: {words(ride.why)}; {words(decision.reason)}"
    return words(decision.reason) or "no reason given"


def off_list_words(shelved: Sequence[ShelvedAlarm]) -> str:
    """How many alarms are shelved or out of service, and how many of them would be listed; empty: none."""
    stand = sum(one.state in (AlarmState.ACKNOWLEDGED, AlarmState.UNACKNOWLEDGED) for one in shelved)
    stands = f", {stand} {'stands' if stand == 1 else 'stand'}" if stand else ""
    return f"{len(shelved)} off the list{stands}" if shelved else ""


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
        return _joined([*parts, (0.0, "no plan: the rules steer alone")])
    current = plan.at(now_utc_s)
    if current is None:
        return _joined([*parts, (0.0, "the plan has run out: the rules steer alone")])
    last = _planned_direction(current)
    for n, step in enumerate(plan.steps):
        word = _planned_direction(step)
        if step.start_utc_s > now_utc_s and word != last:
            parts.append((step.start_utc_s, _planned_text(plan.steps[n:], timezone)))
            last = word
    return _joined(parts) or "the plan keeps the battery as it is"


def _joined(parts: list[tuple[float, str]]) -> str:
    return " · ".join(text for _, text in sorted(parts)[:NEXT_CHANGES])


def _reserved_text(r: Reservation, timezone: str) -> str:
    return f"{hour_minute(r.start_utc_s, timezone)} {r.name} +{kw(r.power_w).strip()} kW (reserved)"


def _planned_direction(step: PlanStep) -> str:
    """charge, discharge or idle; a power too small to announce is idle."""
    return battery_direction(step.battery_w) if abs(step.battery_w) >= LEAST_PLANNED_W else "idle"


def _planned_text(steps: Sequence[PlanStep], timezone: str) -> str:
    """When a run of one direction begins, its highest power, and what for: the price, or the plan's other reason."""
    first = steps[0]
    word = _planned_direction(first)
    text = f"{hour_minute(first.start_utc_s, timezone)} {word}"
    if word == "idle":
        return text
    run = takewhile(lambda step: _planned_direction(step) == word, steps)
    text += f" {kw(max(abs(step.battery_w) for step in run)).strip()} kW"
    if first.reason is None or for_price(first.reason):
        return f"{text} at {cents(first.price_eur_per_kwh)} ct"
    return f"{text}: {words(first.reason)}"


def unmeasured_texts(interval: Interval) -> Iterator[str]:
    """What of the interval's energy is not measured, and between which bounds it lies; nothing where all is sure."""
    low_wh, high_wh = interval.low_wh, interval.high_wh
    if interval.never_read:
        yield "grid meter never read"
    elif interval.unknown_s >= TOLD_S:
        yield f"{interval.unknown_s:.0f} s of it not measured"
        if low_wh is not None:
            between = (
                f"at least {low_wh / 1000:.2f}" if high_wh is None else f"{low_wh / 1000:.2f} to {high_wh / 1000:.2f}"
            )
            yield f"{between} kWh"
    elif low_wh is not None and high_wh is not None and high_wh - low_wh >= BAND_WH:
        yield f"± {(high_wh - low_wh) / 2000:.2f} kWh by the register's step"


def interval_mean_text(interval: Interval, elapsed_s: float) -> str:
    """The mean import so far; "~": part of it is assumed; a dash where the meter was never read."""
    mean_w = None if interval.never_read or elapsed_s < 1 else interval.energy_wh * 3600 / elapsed_s
    return f"interval{'~' if interval.unknown_s >= TOLD_S and mean_w is not None else ' '}{kw(mean_w)}"


def interval_gap_text(interval: Interval) -> str:
    """How much of the interval was not measured: "gap 42s"; that nothing was, or that it is not known; empty: all."""
    if math.isinf(interval.unknown_s):
        return "gap ?"
    if interval.never_read:
        return "unread"
    return f"gap {age(interval.unknown_s)}" if interval.unknown_s >= TOLD_S else ""


def peak_label(published: Published) -> str:
    """What the peak of the billing period is called: a lower bound, or known; of listed charges what is free now."""
    if published.charges is not None:
        return "free now"
    return "peak at least" if peak_is_lower_bound(published) else "peak so far"


def limiting_texts(now: ChargesNow, timezone: str) -> list[str]:
    """Which of several charges on peaks limits import now, and until when: the longest text first."""
    what = now.charge or "no charge on peaks"
    if now.until_utc_s is None:
        return [what, ""]
    return [f"{what} until {hour_minute(now.until_utc_s, timezone)}", what, ""]


def iq_texts(iq: IqNow | None) -> list[str]:
    """Energy IQ of today, else of yesterday, and of the month so far: the longest text first.

    The hours known are mentioned where the record has gaps; a dash where there are too few; nothing before the first
    result.
    """
    if iq is None:
        return []
    month = "" if iq.month_pct is None else f"month {iq.month_pct:.0f}"
    if iq.today_pct is not None:
        gaps = iq.today_known_h < iq.today_of_h - GAP_H
        day = f"Energy IQ {iq.today_pct:.0f} today"
        day += f" ({iq.today_known_h:.0f} of {iq.today_of_h:.0f} h)" if gaps else ""
    elif iq.yesterday_pct is not None:
        day = f"Energy IQ {iq.yesterday_pct:.0f} yesterday"
    else:
        return [f"Energy IQ {month or '—'}"]
    return [f"{day} · {month}", day] if month else [day]


def alarm_text(alarm: Alarm, model: Model) -> str:
    """One alarm in the alarms line: title, since, first-out, whether it has gone."""
    text = f"{language.alarm_text(alarm.id).title} {hour_minute(alarm.since_utc_s, model.timezone)}"
    if alarm.first_out:
        text += " (first)"
    return text + (" (gone)" if alarm.state is AlarmState.RETURNED else "")


def clock_line(clock: ClockState) -> Line:
    """The same in a few words."""
    if not clock.known:
        return "TIME NOT KNOWN", Ink.MEDIUM
    if clock.synchronised is None:
        return "clock not monitored", Ink.DIM
    return ("clock synchronised", Ink.PLAIN) if clock.synchronised else ("clock NOT SYNCHRONISED", Ink.LOW)


def clock_texts(clock: ClockState) -> Iterator[str]:
    """What is known of the time of a real site: whether it is, and what the kernel says of its synchronisation."""
    if not clock.known:
        yield "TIME NOT KNOWN"
        yield "nothing is billed or planned until the clock is synchronised or set"
        return
    if clock.synchronised is None:
        yield "known"
        yield f"whether it is synchronised cannot be read: {clock.note}"
    elif clock.synchronised:
        yield "synchronised"
        if clock.max_error_s is not None:
            yield f"error at most {clock.max_error_s:.3f} s by its time server"
    else:
        yield "NOT SYNCHRONISED"
        yield "the kernel's clock follows no time server"
