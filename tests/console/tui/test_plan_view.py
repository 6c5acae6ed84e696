"""View 3: the plan's cursor, its reasons and prices; driven by keys on a recorded gateway."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
import scenes
from recorded_client import RecordedClient

from console.cli.plan import lines
from console.display.ink import Ink
from console.display.viewmodel import Model, received
from console.tui.app import SkerryApp
from console.tui.canvas import Canvas
from console.tui.chart_axis import AXIS_COLUMNS
from console.tui.plan_charts import LEVELS, PLOT_COLUMNS, THIN, Window
from console.tui.plan_view import PlanView, shown_key
from dispatch.model.events import Event
from dispatch.model.islanding import IslandState
from dispatch.model.plan import Plan
from dispatch.model.reasons import RuleId, plain
from dispatch.model.reservations import Reservation
from dispatch.planning.step_costs import hours
from dispatch.wording.catalogue import words
from gateway.api.protocol import EventMessage, PlanMessage

Eventually = Callable[..., Any]
PRICES, TIMES, TEXT = 1, 10, 11  # rows of the view


@asynccontextmanager
async def opened(
    client: RecordedClient, eventually: Eventually, size: tuple[int, int] = (80, 24)
) -> AsyncIterator[tuple[Any, PlanView]]:
    """The console with view 3 open."""

    async def connect() -> RecordedClient:
        return client

    async with SkerryApp(connect, monotonic=lambda: 100.0).run_test(size=size) as pilot:
        await eventually(pilot, lambda: "decisions" in [m for m, _ in client.asked])
        await pilot.press("3")
        await eventually(pilot, lambda: pilot.app._shown_view == "plan")
        yield pilot, pilot.app.query_one(PlanView)


def rows(view: PlanView) -> list[str]:
    return view._canvas.lines()


def calm() -> RecordedClient:
    return RecordedClient(scenes.read("calm"))


def drawn(model: Model, size: tuple[int, int] = (80, 16)) -> Canvas:
    canvas = Canvas(*size)
    PlanView().paint(canvas, model)
    return canvas


def shown(scene: str = "calm") -> Model:
    recorded = scenes.read(scene)
    return received(Model(welcome=recorded.welcome, plan=recorded.plan), recorded.published)


def at_hour(plan: Plan, hour: int) -> int:
    """Index of the first step at an hour of UTC."""
    return next(n for n, s in enumerate(plan.steps) if s.start_utc_s % 86_400 == hour * 3600)


async def test_the_cursor_moves_by_quarter_and_hour_and_stops_at_the_ends(eventually: Eventually) -> None:
    async with opened(calm(), eventually) as (pilot, view):
        seen = []
        for keys in (
            [], ["right"], ["shift+right"], ["left"], ["ctrl+right"], ["shift+left"], ["ctrl+left"],
            ["home", "left"], ["end"], ["right"], ["pageup"], ["home"],
        ):  # fmt: skip
            await pilot.press(*keys)
            seen.append(rows(view)[TEXT][1:10])
        assert seen == [
            "now 10:00", "Tue 10:15", "Tue 11:15", "Tue 11:00", "Tue 12:00", "Tue 11:00", "now 10:00",
            "now 10:00", "Wed 21:45", "Wed 21:45", "Wed 19:15", "now 10:00",
        ]  # fmt: skip


async def test_each_quarter_says_why_and_what_it_costs(eventually: Eventually) -> None:
    client = calm()
    async with opened(client, eventually) as (pilot, view):
        plan = client.scene.plan
        assert plan is not None
        index = at_hour(plan, 18)  # 20:00 in Oslo: the battery carries the load
        await pilot.press(*["shift+right"] * (index // 4))
        step, text = plan.steps[index], rows(view)[TEXT : TEXT + 5]
        assert step.battery_w > 20_000
        assert text[0].split()[:5] == ["Tue", "20:00", "discharge", f"{step.battery_w / 1000:.1f}", "kW"]
        assert words(step.reason) in " ".join(" ".join(text[1:3]).split())
        assert " ".join(text[3].split()) == "at 17.8 ct/kWh import 0.0 kW 0.00 kWh 0.00 EUR"
        kwh = (step.grid_w + step.battery_w) / 4000
        bare = f"without battery import {4 * kwh:.1f} kW {kwh:.2f} kWh {kwh * step.price_eur_per_kwh:.2f} EUR"
        assert " ".join(text[4].split()) == bare
        await pilot.press(*["left"] * 8)
        assert plan.steps[index - 8].reason != step.reason
        assert words(plan.steps[index - 8].reason) in " ".join(" ".join(rows(view)[TEXT + 1 : TEXT + 3]).split())


def test_a_peak_the_battery_avoids_is_said_in_kilowatts_and_euros() -> None:
    model = shown()
    assert model.plan is not None
    first = msgspec.structs.replace(model.plan.steps[0], grid_w=30_000.0, battery_w=20_000.0, load_w=50_000.0)
    plan = msgspec.structs.replace(model.plan, steps=(first, *model.plan.steps[1:]))
    line = drawn(msgspec.structs.replace(model, plan=plan)).lines()[TEXT + 4]
    rise_kw = (50_000 - max(s.grid_w for s in plan.steps)) / 1000
    assert line.rstrip().endswith(f"peak +{rise_kw:.1f} kW {rise_kw * 10:.0f} EUR")


def test_the_cursor_is_seen_without_colour() -> None:
    model = shown()
    canvas = drawn(model)
    assert canvas.lines()[TIMES][AXIS_COLUMNS] == "▲"
    assert canvas.ink[TIMES][AXIS_COLUMNS] is Ink.BOLD
    assert {row[AXIS_COLUMNS] for row in canvas.ink[PRICES + 1 : TIMES]} == {Ink.REVERSE}
    assert [ink for row in canvas.ink for ink in row if ink in (Ink.HIGH, Ink.MEDIUM, Ink.LOW)] == []


def test_prices_not_published_are_marked() -> None:
    model = shown()
    assert model.plan is not None
    assert model.published is not None
    start = model.plan.steps[0].start_utc_s
    told = model.published
    tariff = msgspec.structs.replace(told.tariff, ends_utc_s=start + 6 * 3600)
    ends = msgspec.structs.replace(model, published=msgspec.structs.replace(told, tariff=tariff))
    blocks = drawn(ends).lines()[PRICES][AXIS_COLUMNS : AXIS_COLUMNS + 72]
    assert set(blocks[:12]) <= set(LEVELS)
    assert set(blocks[12:]) <= set(THIN)
    view = PlanView()
    view._cursor_utc_s = start + 6 * 3600
    view.paint(canvas := Canvas(120, 32), ends)
    assert "price not published" in canvas.lines()[TEXT + 3]
    assert "prices published  to Tue 16:00" in canvas.lines()[2]
    view._cursor_utc_s -= 900
    view.paint(canvas := Canvas(80, 16), ends)
    assert "not published" not in canvas.lines()[TEXT + 3]
    none = msgspec.structs.replace(told.tariff, ends_utc_s=None)
    assert set(
        drawn(msgspec.structs.replace(model, published=msgspec.structs.replace(told, tariff=none))).lines()[PRICES][
            AXIS_COLUMNS : AXIS_COLUMNS + 72
        ]
    ) <= set(THIN)


async def test_a_new_plan_keeps_the_cursor_on_the_same_instant(eventually: Eventually) -> None:
    client = calm()
    async with opened(client, eventually) as (pilot, view):
        await pilot.press(*["right"] * 5)
        assert rows(view)[TEXT][1:10] == "Tue 11:15"
        plan = client.scene.plan
        assert plan is not None
        reasons = [
            msgspec.structs.replace(s, reason=plain(f"another reason for step {n}")) for n, s in enumerate(plan.steps)
        ]
        later = msgspec.structs.replace(plan, made_utc_s=plan.made_utc_s + 900, steps=tuple(reasons[1:]))
        client.push(PlanMessage(later))
        await eventually(pilot, lambda: "another reason for step 5" in rows(view)[TEXT + 1])
        assert rows(view)[TEXT][1:10] == "Tue 11:15"
        much_later = msgspec.structs.replace(plan, made_utc_s=plan.made_utc_s + 9000, steps=tuple(reasons[10:]))
        client.push(PlanMessage(much_later))  # it no longer holds 11:15: the nearest is its first
        await eventually(pilot, lambda: "another reason for step 10" in rows(view)[TEXT + 1])


async def test_on_the_running_quarter_the_cursor_goes_on_with_time(eventually: Eventually) -> None:
    client = calm()
    async with opened(client, eventually) as (pilot, view):
        told = client.scene.published
        await pilot.press("right", "left")
        client.push(
            msgspec.structs.replace(
                told, snapshot=msgspec.structs.replace(told.snapshot, utc_s=told.snapshot.utc_s + 900)
            )
        )
        await eventually(pilot, lambda: rows(view)[TEXT][1:10] == "now 10:15")


async def test_a_second_changes_nothing_and_a_minute_draws_again(eventually: Eventually) -> None:
    client = calm()
    async with opened(client, eventually) as (pilot, view):
        told, canvas = client.scene.published, view._canvas

        def after(seconds: float) -> Any:
            snapshot = msgspec.structs.replace(told.snapshot, utc_s=told.snapshot.utc_s + seconds)
            return msgspec.structs.replace(told, snapshot=snapshot)

        for second in (1, 2, 3):
            client.push(after(second))
            await eventually(pilot, lambda: view.model.published.snapshot == after(second).snapshot)  # noqa: B023
        assert view._canvas is canvas
        client.push(after(60))
        await eventually(pilot, lambda: view._canvas is not canvas)


async def test_without_a_plan_the_gateway_says_why(eventually: Eventually) -> None:
    client = RecordedClient(msgspec.structs.replace(scenes.read("alarms"), plan=None))
    client.no_plan = "no plan is in force, the rules steer alone: SoC unknown"
    async with opened(client, eventually) as (pilot, view):
        await eventually(pilot, lambda: "No plan is in force, the rules steer alone: SoC unknown" in rows(view)[0])
        assert client.scene.published.decision.binding.value in rows(view)[2]
        await pilot.press("right", "end", "shift+left")  # nothing to move
        now = client.scene.published.snapshot.utc_s
        client.push(EventMessage(Event(now, "plan", "warning", "planner", "no plan: the solver gave up")))
        await eventually(pilot, lambda: "no plan: the solver gave up" in "\n".join(rows(view)))
        client.push(PlanMessage(scenes.read("alarms").plan))
        await eventually(pilot, lambda: rows(view)[0].startswith(" Plan of "))


async def test_a_plan_that_ran_out_says_so(eventually: Eventually) -> None:
    client = calm()
    plan = client.scene.plan
    assert plan is not None
    async with opened(client, eventually) as (pilot, view):
        client.push(PlanMessage(msgspec.structs.replace(plan, steps=plan.steps[:1], made_utc_s=0.0)))
        told = client.scene.published
        late = msgspec.structs.replace(told.snapshot, utc_s=told.snapshot.utc_s + 7200)
        client.push(msgspec.structs.replace(told, snapshot=late))
        await eventually(pilot, lambda: "it has run out: the rules steer alone" in rows(view)[0])


@pytest.mark.parametrize("size", [(80, 24), (100, 30), (120, 40), (200, 60)])
async def test_every_place_holds_at_every_size(size: tuple[int, int], eventually: Eventually) -> None:
    """A larger terminal adds beside and below; the first 80 columns of the charts and the text are the same."""
    async with opened(calm(), eventually) as (pilot, view):
        await pilot.press("shift+right")
        small = [line[:80].rstrip() for line in rows(view)[:16]]
    async with opened(calm(), eventually, size) as (pilot, view):
        await pilot.press("shift+right")
        lines = rows(view)
        assert [line[:80].rstrip() for line in lines[:16]] == small
        assert ("The plan" in lines[0]) is (size[0] >= 120)
        table = [line for line in lines[16:] if re.match(r" (Mon|Tue|Wed) \d\d:\d\d ", line)]
        assert len(table) == max(0, size[1] - 8 - 18)
        if table:
            chosen = next(y for y, row in enumerate(view._canvas.ink) if row[0] is Ink.REVERSE)
            assert lines[chosen].startswith(" Tue 11:00 ")


@pytest.mark.parametrize("first", [0, 900])
def test_steps_lie_on_half_hours_and_a_long_plan_moves_with_the_cursor(first: int) -> None:
    model = shown()
    assert model.plan is not None
    start = model.plan.steps[0].start_utc_s // 1800 * 1800 + first
    step = model.plan.steps[0]
    steps = tuple(msgspec.structs.replace(step, start_utc_s=start + 900 * n, load_w=float(n)) for n in range(288))
    plan = msgspec.structs.replace(model.plan, steps=steps)
    for cursor in (0, 1, 143, 144, 145, 287):
        window = Window(plan, cursor)
        column = window.column(steps[cursor].start_utc_s)
        assert 0 <= column < PLOT_COLUMNS
        assert window.start_utc_s % 1800 == 0
        dots = window.dots(lambda s: s.load_w)
        assert cursor in dots[2 * column : 2 * column + 2]
    assert window.start_utc_s > steps[0].start_utc_s


def test_a_site_without_battery_or_prices_is_drawn() -> None:
    """Zeros everywhere: no division by a span of nothing."""
    model = shown()
    assert model.plan is not None
    flat = [
        msgspec.structs.replace(
            s, price_eur_per_kwh=0.1, battery_w=0.0, load_w=0.0, load_low_w=0.0, load_high_w=0.0, pv_w=0.0, grid_w=-9e6
        )
        for s in model.plan.steps
    ]
    plan = msgspec.structs.replace(model.plan, steps=tuple(flat), peak_target_w=0.0)
    lines = drawn(msgspec.structs.replace(model, plan=plan)).lines()
    assert "idle" in lines[TEXT]
    assert "export" in lines[TEXT + 3]


def test_reservations_are_marked_at_their_start_and_drawn_when_they_come() -> None:
    model = shown()
    assert model.plan is not None
    assert model.published is not None
    start_s = float(model.plan.steps[20].start_utc_s)
    mine = Reservation(
        id="r7", name="render-7", power_w=24_000.0, start_utc_s=start_s, end_utc_s=start_s + 7_200,
        latest_utc_s=start_s, who="tech1", given_utc_s=start_s,
    )  # fmt: skip
    marked = msgspec.structs.replace(model.published, reservations=(mine,))
    with_it = received(model, marked)
    times = drawn(with_it).lines()[TIMES]
    at = AXIS_COLUMNS + Window(model.plan, 0).column(start_s)
    assert times[at : at + 9] == "╵render-7"
    assert "render-7" not in drawn(model).lines()[TIMES]
    view = PlanView()
    view.paint(Canvas(80, 16), model)
    assert shown_key(with_it) != view._drawn_key


def test_carbon_stands_beside_the_price_and_is_added_up_where_it_is_told() -> None:
    model = shown()
    assert model.plan is not None
    assert "CO2" not in "".join(drawn(model).lines())
    steps = tuple(msgspec.structs.replace(step, co2_g_per_kwh=320.0) for step in model.plan.steps)
    told = msgspec.structs.replace(model, plan=msgspec.structs.replace(model.plan, steps=steps))
    assert drawn(told).lines()[TEXT + 3].rstrip().endswith("EUR  320 g CO2/kWh")
    PlanView().paint(wide := Canvas(140, 32), told)
    planned, kept = (next(line for line in wide.lines() if label in line) for label in ("import kWh", "CO2 kg"))
    kwh, kg = (list(map(float, line.split(label)[1].split()[:2])) for line, label in ((planned, "kWh"), (kept, "kg")))
    assert kg == pytest.approx([0.32 * each for each in kwh], abs=0.06)


def test_the_contract_is_drawn_and_named() -> None:
    model = shown()
    assert model.welcome is not None
    canvas = drawn(model)
    assert "contract 32.0 ╌ kW" in canvas.lines()[0]
    higher = msgspec.structs.replace(model.welcome, limits=model.welcome.limits | {"contracted_peak_w": 75_000.0})
    above = drawn(msgspec.structs.replace(model, welcome=higher)).lines()
    assert above[5].startswith("  80"), "the scale reaches it"
    assert sum(c not in " ┤│80" for c in above[5]) > 50, "its line"


@pytest.mark.parametrize(
    ("binding", "battery_w", "told"),
    [
        (RuleId.PLAN, 4_000.0, "done now: "),
        (RuleId.INTERVAL_BUDGET, 200.0, "done now: "),
        (RuleId.INTERVAL_BUDGET, 18_400.0, "not done, now held for a test; planned: "),
        (RuleId.ISLANDING, None, "not done, now held for a test; planned: "),
    ],
)
def test_the_step_that_runs_says_whether_it_is_done_and_else_why_not(
    binding: RuleId, battery_w: float | None, told: str
) -> None:
    model = shown()
    assert model.published is not None
    assert model.plan is not None
    assert model.plan.steps[0].battery_w == 0.0
    decision = msgspec.structs.replace(
        model.published.decision, binding=binding, battery_w=battery_w, reason=plain("held for a test")
    )
    now = msgspec.structs.replace(model, published=msgspec.structs.replace(model.published, decision=decision))
    assert drawn(now).lines()[TEXT + 1].strip().startswith(told)
    assert shown_key(now) != shown_key(model) or battery_w == 0.0
    away = msgspec.structs.replace(decision, island=IslandState.ISLANDED)
    off = msgspec.structs.replace(model, published=msgspec.structs.replace(model.published, decision=away))
    assert drawn(off).lines()[TEXT + 1].strip().startswith("not done, the site is islanded; planned: ")


def test_the_sums_are_those_of_skerry_plan() -> None:
    """The same figures on both, and those of the steps that both list."""
    model = shown()
    assert model.plan is not None
    side = "\n".join(line[80:] for line in drawn(model, (120, 32)).lines())
    kwh, bare_kwh = re.search(r"import kWh +([\d.]+) +([\d.]+)", side).groups()  # type: ignore[union-attr]
    eur, bare_eur = re.search(r"import EUR +([\d.]+) +([\d.]+)", side).groups()  # type: ignore[union-attr]
    other = re.search(r"other EUR +([-\d.]+)", side)[1]  # type: ignore[index]
    head, sums, *_ = lines(model.plan, ZoneInfo("Europe/Oslo"), "quarter")
    assert f"import {kwh} kWh for {eur} EUR, without battery {bare_kwh} kWh for {bare_eur} EUR" in sums
    assert f"of the cost {other} EUR" in sums
    assert float(eur) + float(other) == pytest.approx(float(re.search(r"cost ([\d.]+) EUR", head)[1]), abs=0.011)  # type: ignore[index]
    steps = enumerate(model.plan.steps)
    assert float(kwh) == pytest.approx(sum(max(s.grid_w, 0) * hours(model.plan, n) for n, s in steps) / 1000, abs=0.06)
