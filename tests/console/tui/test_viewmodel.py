"""What a console knows: trends, events, alarms in order, words; pure."""

from __future__ import annotations

import msgspec
import scenes
from recorded_client import RecordedClient

from console.cli.status_text import lines
from console.display.formats import hour_minute
from console.display.ink import Ink
from console.display.status_text import alarm_text, flow_arrow, next_change_text, stale_word
from console.display.viewmodel import (
    TREND_STEP_S,
    Link,
    Model,
    Point,
    combined,
    decision_events,
    extended,
    lost,
    ranked,
    received,
    series,
    with_events,
    with_history,
)
from console.tui import commands
from console.tui.canvas import Canvas
from console.tui.energy_flows import BatteryFlow, GridFlow, holds_s, site_load
from console.tui.trends import hourly
from dispatch.alarms.priorities import Priority
from dispatch.alarms.states import AlarmState
from dispatch.control.net_load_estimator import reliable_snapshot
from dispatch.model.events import Event
from dispatch.model.readings import MISSING, Quality, Reading
from dispatch.model.reasons import RuleId, plain
from dispatch.model.reservations import Reservation


def shown(scene: str = "calm") -> Model:
    recorded = scenes.read(scene)
    return received(Model(welcome=recorded.welcome, plan=recorded.plan), recorded.published)


def test_samples_of_one_step_are_averaged_and_missing_ones_are_not_zero() -> None:
    trend = extended((), 30.0, 10.0, None, 50.0, step_s=15, keep=9)
    trend = extended(trend, 31.0, 20.0, 4.0, None, step_s=15, keep=9)
    trend = extended(trend, 32.0, None, None, None, step_s=15, keep=9)
    assert trend == (Point(30, 15.0, 4.0, 50.0, 3),)


def test_a_trend_is_bounded_and_starts_anew_when_the_clock_steps_back() -> None:
    trend: tuple[Point, ...] = ()
    for t in range(0, 300, 15):
        trend = extended(trend, t, 1.0, 1.0, 1.0, step_s=15, keep=5)
    assert [p.start_utc_s for p in trend] == [225, 240, 255, 270, 285]
    assert len(extended(trend, 100.0, 1.0, 1.0, 1.0, step_s=15, keep=5)) == 1


def test_series_leaves_gaps_where_nothing_is_known() -> None:
    trend = (Point(0, 1.0), Point(30, 3.0))
    assert series(trend, "load_w", 45, 4, 15) == [1.0, None, 3.0, None]


def test_what_was_seen_live_wins_over_history() -> None:
    merged = with_history((Point(30, 9.0),), [0, 30], {"site_load.w": [1.0, 2.0]}, 15)
    assert [(p.start_utc_s, p.load_w, p.grid_w) for p in merged] == [(0, 1.0, None), (30, 9.0, None)]


def test_events_come_once_and_in_order() -> None:
    a, b = Event(1.0, "x", "info", "s", "a"), Event(2.0, "x", "info", "s", "b")
    assert with_events((b,), [a, b]) == (a, b)
    rounded = msgspec.structs.replace(b, utc_s=2.0004)
    assert with_events((b,), [a, rounded]) == (a, b)
    again = msgspec.structs.replace(b, utc_s=2.5)
    assert with_events((b,), [again]) == (b, again)


def test_a_change_of_the_binding_rule_is_an_event() -> None:
    before = shown()
    assert before.published is not None
    changed = msgspec.structs.replace(before.published.decision, binding=RuleId.FUSE, reason=plain("fuse at its limit"))
    after = received(before, msgspec.structs.replace(before.published, decision=changed))
    assert [(e.kind, e.subject, e.text) for e in after.events] == [("why", "fuse", "fuse at its limit")]
    assert len(decision_events([changed, changed])) == 1


def test_a_sum_is_as_bad_as_its_worst_part() -> None:
    good, stale = Reading(2.0, 0.1, Quality.GOOD), Reading(3.0, 7.0, Quality.STALE)
    assert combined([good, stale]) == Reading(5.0, 7.0, Quality.STALE)
    assert combined([good, MISSING]).value is None
    assert combined([]).value is None


def test_load_is_never_a_sum_of_stale_and_fresh() -> None:
    snapshot = scenes.read("stale").published.snapshot
    reading, word = site_load(snapshot)
    assert word == "by meter"
    assert snapshot.load is not None
    assert reading == snapshot.load.w
    assert site_load(msgspec.structs.replace(snapshot, load=None))[0] == MISSING


def test_a_grid_meter_that_stands_still_is_not_shown_as_live() -> None:
    recorded = scenes.read("calm")
    meter = recorded.published.snapshot.load
    assert meter is not None
    decision = msgspec.structs.replace(recorded.published.decision, meter_frozen=True)
    snapshot = reliable_snapshot(recorded.published.snapshot, frozen=True)
    frozen = msgspec.structs.replace(recorded.published, snapshot=snapshot, decision=decision)
    model = received(Model(welcome=recorded.welcome), frozen)
    GridFlow().paint(canvas := Canvas(22, 6), model)
    assert "kW FROZEN" in canvas.lines()[1]
    assert canvas.ink[1][canvas.lines()[1].index("FROZEN")] is Ink.MEDIUM
    assert model.published is not None
    assert site_load(model.published.snapshot) == (meter.w, "by meter")
    assert model.trend[-1].grid_w is None
    text = {line.split()[0]: line for line in lines(frozen, recorded.welcome) if line}
    assert "import FROZEN" in text["Grid"]
    assert "by its meter" in text["Load"]
    GridFlow().paint(canvas := Canvas(22, 6), msgspec.structs.replace(model, age_s=9.0))
    assert "STALE 9s" in canvas.lines()[1]


def test_an_soc_that_is_counted_from_energy_says_so() -> None:
    recorded, replace = scenes.read("calm"), msgspec.structs.replace
    (battery,) = recorded.published.snapshot.batteries

    def seen(**changes: object) -> tuple[str, str]:
        batteries = (replace(battery, **changes),)  # type: ignore[arg-type]
        published = replace(recorded.published, snapshot=replace(recorded.published.snapshot, batteries=batteries))
        BatteryFlow().paint(canvas := Canvas(22, 6), received(Model(welcome=recorded.welcome), published))
        text = {line.split()[0]: line for line in lines(published, recorded.welcome) if line}
        return canvas.lines()[3], text["Battery"]

    now, missing = Reading(42.0, 0.1, Quality.GOOD), Reading()
    reported = Reading(60.0, 0.1, Quality.GOOD)
    drawn, said = seen(soc_pct=now, soc_reported_pct=reported, soc_state="stands_still")
    assert "42.0 % counted" in drawn
    assert "SoC 42.0 % counted from energy, BMS 60.0 % not believed" in said
    drawn, said = seen(soc_pct=missing, soc_reported_pct=reported, soc_state="rejected")
    assert "counted" not in drawn + said
    assert "SoC — % BMS 60.0 % not believed" in said
    drawn, said = seen(soc_state="alone")
    assert "counted" not in drawn + said


def test_how_long_the_battery_holds_the_load() -> None:
    model = shown()
    assert model.published is not None
    snapshot = model.published.snapshot
    soc, load_w = snapshot.batteries[0].soc_pct.value, snapshot.load_w
    assert soc is not None
    assert load_w is not None
    seconds = holds_s(model)
    assert seconds is not None
    assert abs(seconds - soc / 100 * 100_000 / load_w * 3600) < 1
    assert holds_s(msgspec.structs.replace(model, welcome=None)) is None


def test_below_the_reserve_is_marked() -> None:
    model = shown()
    assert model.welcome is not None
    high = msgspec.structs.replace(model.welcome, limits={**model.welcome.limits, "reserve_soc_pct": 99.9})
    canvas = Canvas(22, 6)
    BatteryFlow().paint(canvas, msgspec.structs.replace(model, welcome=high))
    assert "▼L" in canvas.lines()[3]
    BatteryFlow().paint(canvas := Canvas(22, 6), model)
    assert "▼L" not in canvas.lines()[3]


def test_before_anything_arrived_there_is_no_zero() -> None:
    canvas = Canvas(22, 6)
    BatteryFlow().paint(canvas, Model())
    assert "0" not in "".join(canvas.lines())
    assert "…" in canvas.lines()[1]


def test_stale_word_counts_on() -> None:
    assert stale_word(Reading(1.0, 0.2, Quality.GOOD), 0.0) == ""
    assert stale_word(Reading(1.0, 4.0, Quality.STALE), 0.0) == "STALE 4s"
    assert stale_word(Reading(1.0, 0.5, Quality.GOOD), 6.5) == "STALE 7s"
    assert stale_word(MISSING, 9.0) == ""


def test_arrows_say_direction() -> None:
    assert flow_arrow(5000.0).endswith("▶")
    assert flow_arrow(-5000.0).startswith("◀")
    assert "▶" not in flow_arrow(0.0) + flow_arrow(None)


def test_a_lost_link_makes_everything_stale() -> None:
    model = lost(shown(), "the gateway hung up")
    assert model.stale
    assert model.link is Link.LOST


def test_next_says_when_and_why_or_that_no_plan_steers() -> None:
    model = shown("pulse")
    assert model.plan is not None
    line = next_change_text(model.plan, model.now_utc_s, "Europe/Oslo")
    assert line.startswith("20:45 discharge 23.9 kW at 17.8 ct · 21:00 idle · 23:00 charge 1.1 kW at 13.0 ct · ")
    defended = [msgspec.structs.replace(s, reason=plain("keeps import below the fuse")) for s in model.plan.steps]
    line = next_change_text(msgspec.structs.replace(model.plan, steps=tuple(defended)), model.now_utc_s, "Europe/Oslo")
    assert line.startswith("20:45 discharge 23.9 kW: keeps import below the fuse · 21:00 idle · ")
    assert "rules" in next_change_text(None, model.now_utc_s, "Europe/Oslo")
    assert "run out" in next_change_text(model.plan, model.plan.steps[-1].start_utc_s + 9e5, "Europe/Oslo")


def test_next_names_reserved_power_in_its_place() -> None:
    model = shown("pulse")
    assert model.plan is not None
    now_s = model.now_utc_s
    assert now_s is not None
    mine = Reservation(
        id="r7", name="render-7", power_w=24_000.0, start_utc_s=now_s + 600, end_utc_s=now_s + 4_200,
        latest_utc_s=now_s + 600, who="tech1", given_utc_s=now_s,
    )  # fmt: skip
    line = next_change_text(model.plan, now_s, "Europe/Oslo", [mine])
    assert f"{hour_minute(now_s + 600, 'Europe/Oslo')} render-7 +24.0 kW (reserved) · 20:45 discharge" in line
    assert "render-7 +24.0 kW (reserved)" in next_change_text(None, now_s, "Europe/Oslo", [mine])
    assert "render-7" not in next_change_text(model.plan, now_s + 700, "Europe/Oslo", [mine]), "it has begun"


def test_alarms_are_ranked_as_they_deserve_a_person() -> None:
    alarms = scenes.read("alarms").published.alarms
    assert len(alarms) >= 2
    first = ranked(alarms)[0]
    assert first.priority is Priority.HIGH
    acknowledged = tuple(msgspec.structs.replace(a, state=AlarmState.ACKNOWLEDGED) if a is first else a for a in alarms)
    assert ranked(acknowledged)[-1].id == first.id
    gone = msgspec.structs.replace(first, state=AlarmState.RETURNED, first_out=True)
    assert alarm_text(gone, Model()).endswith("(first) (gone)")


def test_hours_without_a_published_price_stay_blank() -> None:
    prices = hourly(((0, 0.1), (7200, 0.3)), 1800.0, 10_800)
    assert prices[:4] == [0.1, 0.1, 0.3, None]
    assert len(prices) == 24


def test_commands_have_distinct_ids_and_keys_and_leave_the_terminals_keys_alone() -> None:
    keys = [k for c in commands.COMMANDS for k in c.keys]
    assert len(keys) == len(set(keys))
    assert len({c.id for c in commands.COMMANDS}) == len(commands.COMMANDS)
    assert not {"ctrl+a", "ctrl+b", "ctrl+s", "ctrl+q"} & set(keys)


def test_the_palette_ranks_what_begins_with_the_text_first() -> None:
    assert commands.matching("al")[0].label == "Alarms"
    assert commands.matching("all")[0].id == "alarm.acknowledge_all"
    assert commands.matching("zzz") == []
    assert set(commands.matching("")) == set(commands.LISTED)


def test_recorded_history_is_on_the_trends_grid() -> None:
    scene = RecordedClient(scenes.read("calm")).scene
    assert all(p.start_utc_s % TREND_STEP_S == 0 for p in scene.trend)
