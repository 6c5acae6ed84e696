"""The Island view and what islanding changes on the lines of every view: drawn from recorded scenes."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import scenes
from msgspec.structs import replace

from console.cli import status_text
from console.display.audit_rows import audit_lines
from console.display.import_limit import interval_limit
from console.display.ink import Ink
from console.display.islanding_text import (
    check_lines,
    islanding_view,
    last_drill_text,
    next_step_text,
    node_order_lines,
    runtime_text,
)
from console.display.status_text import why_text
from console.display.viewmodel import Model, received
from console.tui.canvas import Canvas
from console.tui.energy_flows import BatteryFlow, ComputeFlow, GridFlow
from console.tui.form_fields import CommandForm, FieldError, drill_minutes, new_form, order_parameters
from console.tui.island import Island, packed_rows
from console.tui.order_details import Assessment
from console.tui.order_form import OrderForm
from console.tui.order_line import OrderLine
from console.tui.overview_panels import MonthPanel
from console.tui.prompt import Prompt
from console.tui.status_bars import AlarmLine, NextLine, StateLine
from dispatch.events.model import EventState, GridEvent, Phase
from dispatch.model.equipment import Node
from dispatch.model.events import Event
from dispatch.model.islanding import Check, DrillReport, IslandState, NodeOrder
from dispatch.model.orders import OrderKind
from dispatch.model.reasons import Reason, plain
from dispatch.model.signals import Quantity, Signal, SignalView, Sort
from gateway.api.protocol import DrillPlan

S = IslandState


def shown(name: str) -> Model:
    """What a console knows in a recorded moment."""
    recorded = scenes.read(name)
    answers = recorded.answers
    return received(
        Model(
            welcome=recorded.welcome,
            plan=recorded.plan,
            trend=recorded.trend,
            events=recorded.events,
            audit=audit_lines(answers.get("audit", ())),
            report=msgspec.convert(answers.get("drill.status", {"report": None})["report"], DrillReport | None),
            checks=msgspec.convert(answers.get("drill.check", {"checks": ()})["checks"], tuple[Check, ...]),
        ),
        recorded.published,
    )


def drawn(widget: Any, model: Model, width: int = 80, height: int = 16) -> list[str]:
    canvas = Canvas(width, height)
    widget.paint(canvas, model)
    return canvas.lines()


def in_state(model: Model, state: IslandState, **view: Any) -> Model:
    """The same moment with the state machine somewhere else."""
    assert model.published is not None
    decision = model.published.decision
    there = msgspec.structs.replace(decision.islanding, **view)  # type: ignore[type-var]
    decision = msgspec.structs.replace(decision, island=state, islanding=there)
    return msgspec.structs.replace(model, published=msgspec.structs.replace(model.published, decision=decision))


def test_a_drill_that_holds_shows_its_road_its_time_its_extremes_and_what_stops_it() -> None:
    rows = drawn(Island(), shown("drill"))
    assert rows[0].startswith(" Drill 5 min by tech1: monthly test")
    assert rows[0].rstrip().endswith("abort: press  !")
    assert " preparing ── opening ── islanded ── synchronising ── closing ── grid-tied" in rows[1]
    times = rows[2].split()
    assert times[:3] == sorted(times[:3])
    assert times[3:] == ["·", "·", "·"]
    assert " of 5:00" in rows[3]
    text = "\n".join(rows)
    assert "Stop if one of these fails" in text
    assert "✓ bus voltage" in text
    assert " Hz (" in text
    assert "✗" not in text


def test_what_a_drill_would_find_is_listed_and_the_last_report_below_it() -> None:
    island, model = Island(), shown("drilled")
    island.model = model
    rows = drawn(island, model, height=40)
    text = "\n".join(rows)
    assert "No drill runs; last drill" in rows[0]
    assert "Pre-checks of a drill of 10 min" in text
    assert "✓ energy" in text
    assert "PASSED, held, returned, every criterion met" in text
    assert "transfer gap" in text
    assert "closing:" in text


def test_drills_before_the_last_are_a_line_each_and_the_audits_head_is_told() -> None:
    model = shown("drilled")
    assert model.report is not None
    before = msgspec.structs.replace(model.report, started_utc_s=model.report.started_utc_s - 86_400, result="aborted")
    model = msgspec.structs.replace(model, report_head="34:ab12", drills=(model.report, before))
    text = "\n".join(drawn(Island(), model, height=60))
    assert "audit head 34:ab12" in text
    assert "2025-09-15 05:27  aborted  5 min by tech1: held" in text
    assert "passed   5 min by" not in text, "the last one is told once"


def test_the_list_scrolls_and_stops_at_its_ends() -> None:
    island, model = Island(), shown("drilled")
    first = drawn(island, model)
    island.move(3)
    later = drawn(island, model)
    assert first[9:15] != later[9:15]
    assert first[:7] == later[:7]
    island.move(10_000)
    last = drawn(island, model)
    island.move(1)
    assert drawn(island, model) == last
    island.move(-10_000)
    assert drawn(island, model) == first


def test_a_check_that_fails_comes_first_with_what_would_make_it_pass() -> None:
    lines = check_lines(
        [
            Check(plain("grid-tied"), True, plain("grid-tied")),
            Check(plain("energy"), False, plain("SoC 12 %"), plain("charge to 31 %")),
        ]
    )
    assert [text[:1] for text, _ in lines] == ["✗", "✓"]
    assert lines[0] == ("✗ energy            SoC 12 % → charge to 31 %", Ink.MEDIUM)


def test_two_short_checks_share_a_row_and_a_long_one_wraps() -> None:
    short, long = ("✓ a", Ink.PLAIN), ("✗ " + "word " * 30, Ink.MEDIUM)
    rows = packed_rows([short, short, short, long], 78)
    assert [len(row) for row in rows] == [2, 1, 1, 1, 1]
    assert [row[-1][0] for row in rows] == [40, 0, 0, 20, 20]
    assert all(len(text) <= 78 for row in rows for _, text, _ in row)


def test_an_outage_says_since_when_what_runs_and_how_long_it_lasts() -> None:
    model = shown("outage")
    assert model.published is not None
    state = drawn(StateLine(), model, 48, 1)[0]
    assert " ISLANDED 0" in state
    assert " outage" in state
    assert "sim" in state
    assert "open" in drawn(GridFlow(), model, 19, 6)[1]
    assert drawn(GridFlow(), model, 19, 6)[3].startswith("since ")
    battery = drawn(BatteryFlow(), model, 22, 6)[5]
    assert battery.startswith("lasts ")
    assert " – " in battery
    compute = "\n".join(drawn(ComputeFlow(), model, 19, 6))
    assert not any(order.suspended for order in model.published.decision.nodes), "their jobs hold GPUs"
    assert "8 nodes 23.7 kW" in compute
    assert "capped 6" in compute
    assert "susp." not in compute
    screen = "\n".join(drawn(Island(), model))
    capped = ", ".join(f"gpu-0{n} at 3.0 kW" for n in range(3, 9))
    assert f"capped: {capped}" in " ".join(screen.split())
    assert "8 of 8 run · capped 6" in screen
    assert "suspended" not in screen
    cpu_only = replace(model.published.decision.nodes[2], suspended=True)
    decision = replace(model.published.decision, nodes=(cpu_only, *model.published.decision.nodes[3:]))
    model = replace(model, published=replace(model.published, decision=decision))
    assert "capped 5 susp. 1" in "\n".join(drawn(ComputeFlow(), model, 19, 6))
    assert "7 of 8 run · capped 5 · suspended 1" in "\n".join(drawn(Island(), model))
    assert "orderly shutdown if the grid stays away" in drawn(NextLine(), model, 120, 1)[0]


def test_what_jobs_and_nodes_are_asked_is_said_by_kind_and_what_the_site_lacks() -> None:
    model = shown("outage")
    assert model.published is not None
    decision = model.published.decision
    assert decision.ride is not None
    orders = (
        NodeOrder("a", starts_stopped=True, cap_w=900.0, saving=True),
        NodeOrder("b", starts_stopped=True, saving=True, requeued=True, off_when_empty=True),
        NodeOrder("c", starts_stopped=True, requeued=True, off=True),
    )
    lacks = (Reason("shedding.lacks", {"step": Reason("shedding.power_off"), "without": 2.0, "nodes": 3.0}),)
    ride = replace(decision.ride, rung=4, rungs=6, rung_name=Reason("shedding.power_off"), lacks=lacks)
    model = replace(model, published=replace(model.published, decision=replace(decision, nodes=orders, ride=ride)))
    assert [text for text, _ in node_order_lines(model)] == [
        "shut down: c",
        "powered off once empty: b",
        "jobs requeued: b",
        "jobs told to save: a",
        "capped: a at 0.9 kW",
        "no new jobs: a, b",
    ]
    screen = "\n".join(drawn(Island(), model, 80, 50))
    assert "step 4 of 6, power off empty nodes" in screen
    assert "ride-through lacks: power off empty nodes, not on 2 of 3" in screen
    with_all = replace(decision, ride=replace(ride, lacks=()))
    model = replace(model, published=replace(model.published, decision=with_all))
    assert "lacks" not in "\n".join(drawn(Island(), model, 80, 50))


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (S.PREPARING, "the switch is asked to open once import is near 0"),
        (S.CLOSING, "the contact must say closed"),
        (S.FAULT, "an engineer's fault reset: F"),
        (S.BLACKOUT, "the grid's return, or an engineer's black start: B"),
        (S.UNKNOWN, "the devices do not settle where the site stands"),
    ],
)
def test_what_comes_next_off_the_road(state: IslandState, said: str) -> None:
    model = in_state(shown("outage"), state)
    assert next_step_text(model) == said
    head = drawn(Island(), model)
    assert state.value.upper() in "\n".join(head[:3]) or state.value in head[1]


def test_a_way_back_that_is_barred_says_by_what() -> None:
    model = shown("outage")
    view = islanding_view(model)
    assert view is not None
    assert view.reconnect is not None
    why = "not in step: phase differs by 34.00 deg, at most 10"
    inside = msgspec.structs.replace(view.reconnect, in_window=True, left_s=0.0, against=plain(why))
    waits = in_state(model, S.SYNCHRONISING, reconnect=inside)
    assert next_step_text(waits).startswith(f"closing waits: {why}")
    alone = msgspec.structs.replace(inside, by_device=True)
    assert next_step_text(in_state(model, S.SYNCHRONISING, reconnect=alone)).startswith("the switch returns by itself")
    dark = in_state(model, S.BLACKOUT, reconnect=inside)
    assert next_step_text(dark).startswith("the grid is back: black start (B) forms the bus first")
    head = drawn(StateLine(), in_state(model, S.FAULT), 48, 1)[0]
    assert " FAULT 00:06:00 " in head, "also of what is neither a drill nor an outage"


def test_a_dark_site_runs_no_node_and_what_happened_names_the_node() -> None:
    told = Event(1_757_992_561.0, "node", "info", "gpu-03", "suspend: written and read back")
    model = msgspec.structs.replace(shown("outage"), events=(told,))
    assert "  gpu-03: suspend: written and read back" in "\n".join(drawn(Island(), model, height=30))
    assert "· no power" in "\n".join(drawn(Island(), in_state(model, S.BLACKOUT)))
    assert model.published is not None
    off = tuple(msgspec.structs.replace(order, off=True) for order in model.published.decision.nodes)
    decision = msgspec.structs.replace(model.published.decision, nodes=off)
    down = msgspec.structs.replace(model, published=msgspec.structs.replace(model.published, decision=decision))
    assert f"0 of 8 run · shut down {len(off)}" in "\n".join(drawn(Island(), down))


@pytest.mark.parametrize(("state", "speed"), [(S.ISLANDED, 1), (S.SYNCHRONISING, 1), (S.SYNCHRONISING, 5)])
def test_the_state_line_keeps_what_counts_and_a_gap_to_the_clock(state: IslandState, speed: float) -> None:
    model = in_state(shown("outage"), state)
    assert model.welcome is not None
    welcome = msgspec.structs.replace(model.welcome, site="Fjord One, hall 3 east", speed=speed)
    row = drawn(StateLine(), msgspec.structs.replace(model, welcome=welcome), 48, 1)[0]
    assert f" {state.value.upper()} 00:06:00  outage  sim." in row
    assert row.endswith(" ")
    assert row.startswith(" Fjo")


def test_an_order_in_force_stands_on_the_line_of_every_view() -> None:
    model = shown("order")
    row = drawn(OrderLine(), model, 80, 1)[0]
    assert " Order discharge 12.0 kW by tech1 until " in row
    assert "feeder" in row
    assert row.rstrip("─ ").endswith("x end")
    assert set(drawn(OrderLine(), shown("calm"), 80, 1)[0].strip()) == {"─"}


def test_signals_stand_there_where_no_order_does() -> None:
    calm, ordered = shown("calm"), shown("order")
    assert calm.published is not None
    utc_s = calm.published.snapshot.utc_s
    signal = Signal("s1", Sort.MARKET, "acme", Quantity.IMPORT, 40_000.0, utc_s, utc_s + 3600, utc_s)
    views = (SignalView(signal, 43_100.0), SignalView(msgspec.structs.replace(signal, id="s2"), 43_100.0))
    row = drawn(OrderLine(), told(calm, signals=views), 80, 1)[0]
    assert row.startswith(" ─ Signal import 40.0 kW by acme until ")
    assert ", 3.1 kW over +1 more ─" in row
    assert "+2 signals  x end" in drawn(OrderLine(), told(ordered, signals=views), 80, 1)[0]


def test_grid_events_stand_there_before_signals() -> None:
    calm, ordered = shown("calm"), shown("order")
    assert calm.published is not None
    utc_s = calm.published.snapshot.utc_s
    event = GridEvent(
        id="e1", source="order", who="otto", reason="DSO call", limit_w=40_000.0, given_utc_s=utc_s, notice_utc_s=utc_s,
        start_utc_s=utc_s - 60, end_utc_s=utc_s + 3600,
    )  # fmt: skip
    later = EventState(event=msgspec.structs.replace(event, id="e2", start_utc_s=utc_s + 1800), phase=Phase.PREPARING)
    held = EventState(event=event, phase=Phase.HELD, limit_w=40_000.0, over_limit_w=3_100.0)
    row = drawn(OrderLine(), told(calm, grid_events=(later, held)), 80, 1)[0]
    assert row.startswith(" ─ Event import at most 40.0 kW until ")
    assert ", 3.1 kW over, asked" in row
    assert " +1 more ─" in row
    assert "+2 events  x end" in drawn(OrderLine(), told(ordered, grid_events=(later, held)), 80, 1)[0]


def test_the_grid_panel_names_the_lower_limit_that_is_asked() -> None:
    calm = shown("calm")
    assert calm.published is not None
    utc_s, (word, own_w) = calm.published.snapshot.utc_s, interval_limit(calm.published.interval)
    signal = Signal("s1", Sort.MARKET, "acme", Quantity.IMPORT, 20_000.0, utc_s, utc_s + 3600, utc_s)
    event = GridEvent(
        id="e1", source="order", who="otto", reason="", limit_w=15_000.0, given_utc_s=utc_s, notice_utc_s=utc_s,
        start_utc_s=utc_s - 60, end_utc_s=utc_s + 3600,
    )  # fmt: skip
    held = EventState(event=event, phase=Phase.HELD, limit_w=15_000.0)
    later = EventState(event=msgspec.structs.replace(event, start_utc_s=utc_s + 60), phase=Phase.PREPARING)

    def row(**changes: Any) -> str:
        return drawn(GridFlow(), told(calm, **changes), 19, 6)[3].strip()

    views = (SignalView(signal, 20_000.0),)
    assert row() == row(grid_events=(later,)) == f"{word} {own_w / 1000:.1f} kW"
    assert row(signals=views) == "signal 20.0 kW"
    assert row(signals=views, grid_events=(held,)) == "event 15.0 kW"


def told(model: Model, **changes: Any) -> Model:
    """The same moment, some of what the gateway tells another."""
    assert model.published is not None
    return msgspec.structs.replace(model, published=msgspec.structs.replace(model.published, **changes))


def test_the_key_that_aborts_is_text_only_while_there_is_nothing_to_abort() -> None:
    prompt, form = Prompt(), OrderForm()
    for scene, text in (("drill", False), ("calm", True)):
        prompt.model = form.model = shown(scene)
        assert prompt.check_consume_key("exclamation_mark", "!") is text
        assert form.check_consume_key("exclamation_mark", "!") is text


def test_the_last_drills_age_and_result() -> None:
    model = shown("drilled")
    assert model.published is not None
    assert model.published.last_drill is not None
    assert "last drill 46 s ago, passed" in drawn(AlarmLine(), told(model, alarms=()), 80, 1)[0]
    before = msgspec.structs.replace(model.published.last_drill, ended_utc_s=(model.now_utc_s or 0) - 12 * 86_400)
    assert last_drill_text(told(model, last_drill=before)) == "last drill 12 d ago, passed"
    assert last_drill_text(shown("calm")) == ""


def test_a_schedule_tells_the_next_drill_and_one_that_is_due() -> None:
    model, at_s = shown("drilled"), 1_759_737_600.0  # 2025-10-06T08:00:00Z
    plan = DrillPlan(next_utc_s=at_s, due_utc_s=None, note=None, unattended=False)
    assert "passed; next 10-06 10:00 " in drawn(Island(), told(model, drill_plan=plan))[0]
    due = DrillPlan(next_utc_s=at_s, due_utc_s=at_s, note=plain("start it"), unattended=False)
    assert "DUE since 10-06 10:00: start it" in drawn(Island(), told(model, drill_plan=due))[0]


def test_a_peak_that_is_a_lower_bound_says_at_least() -> None:
    model = shown("calm")
    assert model.published is not None
    assert "peak so far" in drawn(MonthPanel(), model, 38, 5)[1]
    bound = drawn(MonthPanel(), told(model, month_unmeasured_s=7200.0), 38, 5)[1]
    assert "peak at least" in bound
    assert "2h no data" in bound


# ── forms ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def filled(id: str, model: Model, **texts: str) -> CommandForm:
    made = new_form(id, model)
    assert isinstance(made, CommandForm)
    for n, field in enumerate(made.fields):
        if field.name in texts:
            made = made.with_text(n, texts[field.name])
    return made


def test_a_form_becomes_the_request_of_the_command_line() -> None:
    model = shown("calm")
    setpoint = filled("order.setpoint", model, value="-5.5 kW", reason=" test ", **{"for": "2h"})
    assert order_parameters(setpoint, model) == {
        "kind": "setpoint", "target": "", "reason": "test", "value": -5500.0, "for_s": 7200.0,
    }  # fmt: skip
    soc = order_parameters(filled("order.soc_target", model, value="80", by="17:00", reason="storm"), model)
    assert soc["value"] == 80
    assert soc["by_utc_s"] > (model.now_utc_s or 0)
    assert order_parameters(filled("order.cap", model, value="900W", reason="heat"), model)["target"] == "gpu-03"
    assert drill_minutes(filled("drill.start", model)) == 10


@pytest.mark.parametrize(
    ("id", "texts", "line"),
    [
        ("order.setpoint", {"value": "20"}, "new: '20': expected a power with its unit"),
        ("order.setpoint", {"value": "20kW", "for": "soon"}, "for: 'soon': expected a duration"),
        ("order.soc_target", {"value": "80", "by": "noon"}, "by: 'noon': expected a time"),
    ],
)
def test_what_cannot_be_read_says_what_was_expected(id: str, texts: dict[str, str], line: str) -> None:
    model = shown("calm")
    with pytest.raises(FieldError, match=line):
        order_parameters(filled(id, model, **texts), model)


def test_while_it_is_written_the_range_is_asked_for_with_a_value_any_site_allows() -> None:
    model = shown("calm")
    for id in ("order.setpoint", "order.import_target", "order.soc_target", "order.reserve_level", "order.cap"):
        asked = order_parameters(filled(id, model), model, incomplete=True)
        assert len(asked["reason"]) >= 3
        assert asked["value"] >= 0


def test_a_cap_begins_with_a_node_that_may_be_deferred() -> None:
    model = shown("calm")
    assert model.published is not None
    nodes = tuple(Node(name, critical=name != "batch") for name in ("crit-1", "crit-2", "batch"))
    snapshot = msgspec.structs.replace(model.published.snapshot, nodes=nodes)
    made = new_form("order.cap", told(model, snapshot=snapshot))
    assert isinstance(made, CommandForm)
    assert (made.text("target"), made.fields[0].choices) == ("batch", ("batch", "crit-1", "crit-2"))


def test_a_refusal_ends_the_asking() -> None:
    """Found: the form went on to say that it asks what is allowed."""
    model, order_form = shown("calm"), OrderForm()
    order_form.form = filled("order.cap", model)
    assert "asking what is allowed" in "".join(drawn(order_form, model, height=9))
    order_form.assessment = Assessment(refusal="gpu-01 takes no power cap")
    text = "".join(drawn(order_form, model, height=9))
    assert "asking" not in text
    assert "takes no power cap" in text


def test_there_is_nothing_to_end_without_an_order() -> None:
    assert new_form("order.end", shown("calm")) == "no manual order is in force"
    made = new_form("order.end", shown("order"))
    assert isinstance(made, CommandForm)
    assert made.confirm_word == ""
    assert made.kind is None
    assert new_form("order.enable", shown("order")) == "no device is disabled by an order"
    held = new_form("order.hold", shown("calm"))
    assert isinstance(held, CommandForm)
    assert held.kind is OrderKind.HOLD


def test_the_status_in_an_outage_says_how_long_it_lasts_and_what_comes_next_in_the_consoles_words() -> None:
    """Found: "0.0 kW idle", "room for 40.3 kW", and nothing of runtime, shutdown and nodes."""
    model = shown("outage")
    assert model.published is not None
    assert model.welcome is not None
    text = list(status_text.lines(model.published, model.welcome))
    rows = {line[:9].strip(): line[10:] for line in text if line[:9].strip()}
    assert "islanded 00:" in text[0]
    assert "outage" in text[0]
    assert rows["Grid"].startswith(" 0.0 kW open")
    assert "grid absent" in rows["Grid"]
    assert "contracted" not in rows["Grid"]
    assert "room for" not in rows["Interval"]
    assert f"lasts {runtime_text(model)}" in rows["Battery"]
    assert rows["Nodes"].startswith("8 of 8 run")
    assert "capped: gpu-03 at 3.0 kW" in rows["Nodes"]
    assert rows["Why"] == why_text(model)
    assert "orderly shutdown" in rows["Next"]
    assert rows["Next"] == next_step_text(model)


def test_the_status_of_a_site_on_the_grid_has_no_island_rows() -> None:
    model = shown("calm")
    assert model.published is not None
    assert model.welcome is not None
    text = "\n".join(status_text.lines(model.published, model.welcome))
    assert "room for" in text
    assert "contracted peak" in text
    assert "lasts" not in text
    assert "\nNext" not in text


def test_an_advisory_stands_before_the_next_changes_of_the_plan() -> None:
    calm = shown("calm")
    usual = drawn(NextLine(), calm, 80, 1)[0]
    over = Reason(
        "advisory.contract",
        {"over_w": 5_000.0, "contract_w": 32_000.0, "start_local": "2025-09-16T15:45+02:00", "more": None},
    )
    for width, more in ((80, ""), (120, usual.split()[1])):
        canvas = Canvas(width, 1)
        NextLine().paint(canvas, told(calm, advisories=(over,)))
        assert canvas.lines()[0].startswith(" Next   ▲ plan 5.0 kW above the contract 32.0 kW at 15:45")
        assert canvas.ink[0][8] is Ink.MEDIUM
        assert more in canvas.lines()[0]
