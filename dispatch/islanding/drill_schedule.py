"""Determines when a drill is due by the site file, and whether to announce it, start it, or report it as missed.

A schedule is a phrase in the site's local time, such as

    monthly, first Tuesday 10:00, only if the forecast leaves the reserve

first weekly, monthly or quarterly (January, April, July, October); then, unless weekly, first, second, third, fourth or
last; a weekday in English; a time of day; and, if wanted, the condition. A time of day that a change of the clocks
leaves out is taken as if the clocks had not been changed yet; one that comes twice is taken the first time.

Pure: the caller says what time it is and keeps `ScheduleMemory`.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

import msgspec

from dispatch.config.battery_ratings import reserve_soc_pct
from dispatch.config.schema import DispatchConfig
from dispatch.islanding.drill_prechecks import ENERGY_MARGIN, floor_soc_pct, planned_pct
from dispatch.model.plan import Plan
from dispatch.model.reasons import Reason, plain

EXPECTED = (
    'a schedule such as "monthly, first Tuesday 10:00" (weekly, monthly or quarterly; unless weekly: first, second, '
    'third, fourth or last; a weekday; a time of day), with or without ", only if the forecast leaves the reserve"'
)
CONDITION = "only if the forecast leaves the reserve"
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
ORDINALS = {"first": 1, "second": 2, "third": 3, "fourth": 4, "last": -1}
MONTHS = {"monthly": tuple(range(1, 13)), "quarterly": (1, 4, 7, 10)}
PHRASE = re.compile(r"(weekly|monthly|quarterly)\s*,\s*(?:(\w+)\s+)?(\w+)\s+(\d{1,2}):(\d{2})\s*(?:,\s*(.+?))?\s*")
FORGET_S = 400 * 86_400.0  # runs longer ago than this are not told of any more
RETRY_S = 900.0  # an unattended drill whose pre-checks fail is tried again so often, until its time is up


class Schedule(msgspec.Struct, frozen=True):
    """A schedule as parsed. `nth` 0: every week; -1: the last of the month. `weekday` 0 is Monday."""

    months: tuple[int, ...]
    nth: int
    weekday: int
    hour: int
    minute: int
    if_reserve: bool


def parse(text: str) -> Schedule:
    """A schedule of its phrase. Raises ValueError with what was expected."""
    match = PHRASE.fullmatch(text.strip().lower())
    if match is None:
        raise ValueError(EXPECTED)
    every, ordinal, weekday, hour, minute, condition = match.groups()
    nth = 0 if every == "weekly" and ordinal is None else ORDINALS.get(ordinal or "", 0)
    ordered = (nth == 0 and ordinal is None) if every == "weekly" else nth != 0
    known = weekday in WEEKDAYS and int(hour) < 24 and int(minute) < 60 and condition in (None, CONDITION)
    if not (ordered and known):
        raise ValueError(EXPECTED)
    months = MONTHS.get(every, ())
    return Schedule(months, nth, WEEKDAYS.index(weekday), int(hour), int(minute), condition is not None)


def next_run(schedule: Schedule, zone: ZoneInfo, after_utc_s: float) -> float:
    """The first run later than `after_utc_s`, UTC s."""
    day = datetime.fromtimestamp(after_utc_s, zone).date() - timedelta(days=1)
    while True:  # at most from one quarter's day to the next
        if _is_day(schedule, day):
            utc_s = _instant(schedule, zone, day)
            if utc_s > after_utc_s:
                return utc_s
        day += timedelta(days=1)


def _is_day(schedule: Schedule, day: date) -> bool:
    if day.weekday() != schedule.weekday:
        return False
    if schedule.nth == 0:
        return True
    if day.month not in schedule.months:
        return False
    if schedule.nth < 0:
        return (day + timedelta(days=7)).month != day.month
    return (day.day - 1) // 7 + 1 == schedule.nth


def _instant(schedule: Schedule, zone: ZoneInfo, day: date) -> float:
    return datetime.combine(day, time(schedule.hour, schedule.minute), zone).astimezone(UTC).timestamp()


class ScheduleMemory(msgspec.Struct, frozen=True):
    """What is kept over a restart: up to which run everything has been said, and the last try of an unattended one."""

    handled_utc_s: float | None = None  # None: the schedule has never been looked at
    tried_utc_s: float | None = None
    refused: Reason | str | None = None  # why the last try was not begun; in 0.1.0 a sentence, or ""

    @property
    def why_refused(self) -> Reason | None:
        """Why the last try was not begun."""
        if isinstance(self.refused, str):
            return plain(self.refused) if self.refused else None
        return self.refused


class ScheduleVerdict(msgspec.Struct, frozen=True):
    """What is to be done now."""

    action: Literal["none", "announce", "start", "missed", "done"]
    why: Reason | None  # None where there is nothing to say
    next_utc_s: float
    due_utc_s: float | None  # a run that is due and has not been run yet
    memory: ScheduleMemory


def judge(
    config: DispatchConfig,
    now_utc_s: float,
    memory: ScheduleMemory,
    last_started_utc_s: float | None,
    plan: Plan | None,
    soc_pct: float | None,
) -> ScheduleVerdict:
    """Judge the schedule of `config.drills`, which must have one.

    last_started_utc_s: when the last drill was begun, whoever asked for it, also one that still runs.
    """
    terms, zone = config.drills, ZoneInfo(config.timezone)
    schedule = parse(terms.schedule)
    next_s = next_run(schedule, zone, now_utc_s)
    handled_s = memory.handled_utc_s
    if handled_s is None or handled_s > next_s:  # new, or kept by a clock that was wrong
        handled_s, memory = now_utc_s, ScheduleMemory(handled_utc_s=now_utc_s)
    run_s = next_run(
        schedule, zone, max(handled_s, now_utc_s - FORGET_S)
    )  # one look tells of one run, the oldest first
    if run_s > now_utc_s:
        return ScheduleVerdict("none", None, next_s, None, memory)
    after_s, over = next_run(schedule, zone, run_s), ScheduleMemory(handled_utc_s=run_s)
    due = datetime.fromtimestamp(run_s, zone).isoformat(timespec="minutes")
    if last_started_utc_s is not None and run_s <= last_started_utc_s < after_s:
        return ScheduleVerdict("done", Reason("schedule.done", {"due_local": due}), next_s, None, over)
    if now_utc_s > run_s + 3600 * terms.window_h or after_s <= now_utc_s:
        why = memory.why_refused or (
            Reason("schedule.not_begun_at_all") if terms.unattended else Reason("schedule.nobody_started")
        )
        missed = Reason("schedule.missed", {"due_local": due, "why": why})
        return ScheduleVerdict("missed", missed, next_s, None, over)
    unmet = None if not schedule.if_reserve else forecast_obstacle(config, now_utc_s, plan, soc_pct)
    if unmet is not None:
        return ScheduleVerdict("none", unmet, next_s, run_s, msgspec.structs.replace(memory, refused=unmet))
    if not terms.unattended:
        memory = msgspec.structs.replace(memory, refused=None)
        start_it = Reason("schedule.start_it", {"drill_min": terms.minutes, "due_local": due})
        return ScheduleVerdict("announce", start_it, next_s, run_s, memory)
    if memory.tried_utc_s is not None and 0 <= now_utc_s - memory.tried_utc_s < RETRY_S:
        refused = memory.why_refused
        not_begun = None if refused is None else Reason("schedule.not_begun", {"why": refused})
        return ScheduleVerdict("none", not_begun, next_s, run_s, memory)
    tried = msgspec.structs.replace(memory, tried_utc_s=now_utc_s)
    return ScheduleVerdict("start", Reason("schedule.start", {"schedule": terms.schedule}), next_s, run_s, tried)


def forecast_obstacle(
    config: DispatchConfig, now_utc_s: float, plan: Plan | None, soc_pct: float | None
) -> Reason | None:
    """What of the forecast speaks against a drill now; None when it leaves the reserve.

    The plan's lowest SoC while the drill lasts, less what the upper edge of the load's band takes in it with the margin
    of the pre-checks and no help of PV, must not fall below the reserve.
    """
    if plan is None:
        return Reason("schedule.no_plan")
    end_s = now_utc_s + 60 * config.drills.minutes
    steps = [s for s in plan.steps if s.start_utc_s < end_s and s.start_utc_s + plan.step_s > now_utc_s]
    if not steps or steps[-1].start_utc_s + plan.step_s < end_s or soc_pct is None:
        return Reason("schedule.soc_not_read") if soc_pct is None else Reason("schedule.plan_too_short")
    lowest_pct = min([soc_pct, *(s.soc_pct for s in steps)])
    need_pct = ENERGY_MARGIN * planned_pct(config, max(s.load_high_w for s in steps), config.drills.minutes)
    floor_pct = max(reserve_soc_pct(config), floor_soc_pct(config))
    if lowest_pct - need_pct >= floor_pct:
        return None
    return Reason("schedule.reserve", {"lowest_pct": lowest_pct, "need_pct": need_pct, "floor_pct": floor_pct})
