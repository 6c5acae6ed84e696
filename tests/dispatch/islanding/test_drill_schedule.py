"""When drills are due: any zone, any day, any change of the clocks; announced, begun, waiting, missed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_site import T0, site_config

from dispatch.config.off_grid import DrillsConfig
from dispatch.config.schema import DispatchConfig, ReserveConfig
from dispatch.islanding.drill_schedule import (
    CONDITION,
    WEEKDAYS,
    Schedule,
    ScheduleMemory,
    ScheduleVerdict,
    judge,
    next_run,
    parse,
)
from dispatch.model.plan import Plan, PlanStep
from dispatch.model.reasons import Reason, plain
from dispatch.wording.catalogue import words

BERLIN = ZoneInfo("Europe/Berlin")
ZONES = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC", "America/Sao_Paulo"]
INSTANTS = st.floats(datetime(2000, 1, 1, tzinfo=UTC).timestamp(), datetime(2060, 1, 1, tzinfo=UTC).timestamp())


@st.composite
def phrases(draw: st.DrawFn) -> str:
    every = draw(st.sampled_from(["weekly", "monthly", "quarterly"]))
    nth = "" if every == "weekly" else draw(st.sampled_from(["first", "second", "third", "fourth", "last"])) + " "
    weekday = draw(st.sampled_from(WEEKDAYS)).capitalize()
    return f"{every}, {nth}{weekday} {draw(st.integers(0, 23)):02d}:{draw(st.integers(0, 59)):02d}"


def at(text: str, zone: ZoneInfo = BERLIN) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()


def local(utc_s: float, zone: ZoneInfo = BERLIN) -> str:
    return f"{datetime.fromtimestamp(utc_s, zone):%Y-%m-%d %H:%M}"


@given(phrase=phrases(), zone=st.sampled_from(ZONES), now_s=INSTANTS)
def test_runs_follow_each_other_and_keep_the_wall_clock(phrase: str, zone: str, now_s: float) -> None:
    schedule, place = parse(phrase), ZoneInfo(zone)
    after = next_run(schedule, place, now_s)
    assert now_s < after
    assert next_run(schedule, place, (now_s + after) / 2) == after, "nothing lies between"
    longest_days = 7 if not schedule.months else 36 if len(schedule.months) == 12 else 99
    assert next_run(schedule, place, after) - after <= (longest_days + 0.1) * 86_400, "nothing is skipped"
    run = datetime.fromtimestamp(after, place)
    wall = run.replace(hour=schedule.hour, minute=schedule.minute, second=0)
    skipped = wall.astimezone(UTC).astimezone(place).replace(tzinfo=None) != wall.replace(tzinfo=None)
    assert skipped or (run.hour, run.minute, run.weekday()) == (schedule.hour, schedule.minute, schedule.weekday)
    assert not schedule.months or run.month in schedule.months


@given(year=st.integers(2000, 2059), zone=st.sampled_from(ZONES), nth=st.sampled_from(["first", "fourth", "last"]))
def test_one_run_a_month(year: int, zone: str, nth: str) -> None:
    schedule, place = parse(f"monthly, {nth} Tuesday 10:00"), ZoneInfo(zone)
    utc_s, days = at(f"{year}-01-01T00:00", place) - 1, []
    for _ in range(12):
        utc_s = next_run(schedule, place, utc_s)
        days.append(datetime.fromtimestamp(utc_s, place))
    assert [d.month for d in days] == list(range(1, 13))
    low, high = {"first": (1, 7), "fourth": (22, 28), "last": (22, 31)}[nth]
    assert all(low <= d.day <= high and d.year == year for d in days)
    if nth == "last":
        assert all((d + timedelta(days=7)).month != d.month for d in days)


def test_the_clocks_change() -> None:
    schedule = parse("weekly, Sunday 02:30")
    assert local(next_run(schedule, BERLIN, at("2026-03-28T12:00"))) == "2026-03-29 03:30"  # 02:30 does not exist
    twice = next_run(schedule, BERLIN, at("2026-10-24T12:00"))
    assert datetime.fromtimestamp(twice, UTC).hour == 0, "the first of the two 02:30"
    assert local(next_run(schedule, BERLIN, twice)) == "2026-11-01 02:30"


@pytest.mark.parametrize(
    ("phrase", "parsed"),
    [
        ("monthly, first Tuesday 10:00", Schedule(tuple(range(1, 13)), 1, 1, 10, 0, False)),
        (f"Monthly, FIRST tuesday 10:00, {CONDITION}", Schedule(tuple(range(1, 13)), 1, 1, 10, 0, True)),
        ("weekly,Sunday 6:05", Schedule((), 0, 6, 6, 5, False)),
        ("quarterly, last friday 22:00", Schedule((1, 4, 7, 10), -1, 4, 22, 0, False)),
    ],
)
def test_phrases(phrase: str, parsed: Schedule) -> None:
    assert parse(phrase) == parsed


@pytest.mark.parametrize(
    "phrase",
    ["daily, 10:00", "monthly, Tuesday 10:00", "monthly, fifth Tuesday 10:00", "weekly, first Tuesday 10:00",
     "monthly, first Tuesday 24:00", "monthly, first Tuesday 10:60", "monthly, first Tueday 10:00", "first Tuesday",
     "monthly, first Tuesday 10:00, only if it rains", "weekly, foo Tuesday 10:00", ""],
)  # fmt: skip
def test_what_is_no_schedule_says_what_would_be(phrase: str) -> None:
    with pytest.raises(ValueError, match='such as "monthly, first Tuesday 10:00"'):
        parse(phrase)


# ── what is to be done ──────────────────────────────────────────────────────────────────────────────────────────────

DUE = at("2026-01-06T10:00")  # the first Tuesday
SEEN = ScheduleMemory(handled_utc_s=DUE - 30 * 86_400)  # of the run before


def config(**drills: object) -> DispatchConfig:
    terms = DrillsConfig(**({"schedule": "monthly, first Tuesday 10:00"} | drills))  # type: ignore[arg-type]
    return msgspec.structs.replace(site_config(), drills=terms, reserve=ReserveConfig(hours=1, critical_load_w=10_000))


def plan(soc_pct: float = 80.0, load_high_w: float = 30_000.0, start_utc_s: float = DUE, steps: int = 8) -> Plan:
    step = [
        PlanStep(int(start_utc_s) + 900 * n, 0.2, 20e3, 10e3, load_high_w, 0.0, 0.0, 20e3, soc_pct)
        for n in range(steps)
    ]
    return Plan(start_utc_s, 900, tuple(step), 30e3, 0.0, 1.0)


def seen(now_s: float, memory: ScheduleMemory = SEEN, **more: object) -> ScheduleVerdict:
    drills = {k: more.pop(k) for k in ("schedule", "unattended", "window_h", "minutes") if k in more}
    started, planned = more.pop("started", None), more.pop("plan", None)
    return judge(config(**drills), now_s, memory, started, planned, more.pop("soc", 80.0))  # type: ignore[arg-type]


def test_a_schedule_seen_for_the_first_time_is_not_due_for_its_past() -> None:
    first = seen(DUE + 60, ScheduleMemory())
    assert (first.action, first.due_utc_s) == ("none", None)
    assert local(first.next_utc_s) == "2026-02-03 10:00"
    assert seen(DUE + 120, first.memory).action == "none"
    assert seen(first.next_utc_s, first.memory).action == "announce"


def test_attended_it_is_announced_until_somebody_starts_it() -> None:
    assert seen(DUE - 1).action == "none"
    announced = seen(DUE + 1)
    assert announced.action == "announce"
    assert "due since 2026-01-06 10:00" in words(announced.why)
    assert seen(DUE + 3600, announced.memory).action == "announce", "never by itself"
    done = seen(DUE + 3700, announced.memory, started=DUE + 3650)
    assert done.action == "done"
    assert seen(DUE + 3701, done.memory, started=DUE + 3650).action == "none"


def test_a_drill_before_it_was_due_does_not_count() -> None:
    assert seen(DUE + 1, started=DUE - 1).action == "announce"


def test_nobody_starts_it() -> None:
    missed = seen(DUE + 8 * 3600 + 1, seen(DUE + 5).memory)
    assert (missed.action, missed.due_utc_s) == ("missed", None)
    assert words(missed.why) == "the drill due 2026-01-06 10:00 was missed: nobody started it"
    assert seen(DUE + 8 * 3600 + 2, missed.memory).action == "none"


def test_a_gateway_that_was_off_for_months_says_how_many_were_missed() -> None:
    memory, told, now_s = SEEN, [], at("2026-04-07T10:30")
    while (found := seen(now_s, memory)).action == "missed":
        memory = found.memory
        told.append(words(found.why)[14:30])
    assert told == ["2026-01-06 10:00", "2026-02-03 10:00", "2026-03-03 10:00"]
    assert found.action == "announce", "and the one that may still be run is due"


@pytest.mark.parametrize(
    "refused_for", [plain("energy: SoC 12 %"), "energy: SoC 12 %"], ids=["now", "kept until 0.2.0"]
)
def test_unattended_it_is_tried_again_until_its_time_is_up(refused_for: Reason | str) -> None:
    start = seen(DUE + 1, unattended=True)
    assert start.action == "start"
    refused = msgspec.structs.replace(start.memory, refused=refused_for)
    wait = seen(DUE + 60, refused, unattended=True)
    assert (wait.action, words(wait.why)) == ("none", "not begun: energy: SoC 12 %")
    assert seen(DUE + 902, refused, unattended=True).action == "start"
    missed = seen(DUE + 9 * 3600, refused, unattended=True)
    assert (missed.action, words(missed.why).split(": ", 1)[1]) == ("missed", "energy: SoC 12 %")


IF_RESERVE = f"monthly, first Tuesday 10:00, {CONDITION}"


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"plan": None}, "no plan is in force"),
        ({"plan": plan(start_utc_s=DUE - 7200)}, "does not reach so far"),
        ({"plan": plan(), "soc": None}, "SoC is not read"),
        ({"plan": plan(soc_pct=21.0)}, "SoC 21.0 % less 6.4 % of the drill"),
        ({"plan": plan(), "soc": 19.0}, "SoC 19.0 %"),
        ({"plan": plan(load_high_w=400_000.0)}, "does not leave the reserve"),
        ({"plan": plan()}, ""),
    ],
)
def test_only_if_the_forecast_leaves_the_reserve(given: dict[str, object], why: str) -> None:
    found = seen(DUE + 1, schedule=IF_RESERVE, unattended=True, **given)
    assert found.action == ("none" if why else "start")
    assert why in words(found.why)
    if why:
        missed = seen(DUE + 9 * 3600, found.memory, schedule=IF_RESERVE, unattended=True, **given)
        assert missed.action == "missed"
        assert why in words(missed.why)


@given(now_s=st.floats(T0, T0 + 400 * 86_400), steps=st.lists(st.floats(1, 40 * 86_400), max_size=20))
def test_each_run_is_told_of_exactly_once(now_s: float, steps: list[float]) -> None:
    memory, told = ScheduleMemory(), []
    first_s = now_s
    for step in [0.0, *steps]:
        now_s += step
        while (found := seen(now_s, memory, window_h=1)).action == "missed":
            memory = found.memory
            told.append(words(found.why)[14:30])
        memory = found.memory
    schedule = parse("monthly, first Tuesday 10:00")
    runs, utc_s = [], next_run(schedule, BERLIN, first_s)
    while utc_s + 3600 < now_s:
        runs.append(local(utc_s))
        utc_s = next_run(schedule, BERLIN, utc_s)
    assert told == runs[-len(told) :] if told else not runs
    assert len(told) == len(runs) or now_s - first_s > 400 * 86_400


def test_a_memory_from_the_future_is_not_believed() -> None:
    wrong = ScheduleMemory(handled_utc_s=at("2040-01-01T00:00"))
    assert seen(DUE + 1, wrong).memory.handled_utc_s == DUE + 1
