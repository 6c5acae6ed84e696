"""`skerry fleet` as a screen: how many sites it shows, what is marked, keys, and the console that Enter opens."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest
from fleet_samples import LOST, NOW_S, OUTAGE, answering, connecting, site
from screen import screen_text, write
from waiting import LIMIT_S

from benchmarks.terminal import Terminal
from console.display.fleet_text import STATE_COLUMNS, kind_text
from console.display.formats import age
from console.display.language import say
from console.display.language_choice import Shown
from console.display.wrapping import columns
from console.tui import fleet_page
from console.tui.canvas import Canvas
from console.tui.fleet_app import FleetApp
from console.tui.fleet_page import FleetPage
from dispatch.model.islanding import IslandState
from dispatch.model.readings import reading
from fleet.sites import SiteAddress
from fleet.table import Row, rows_of
from fleet.watch import SiteState, Watch


def states(count: int, now_s: float = 100.0) -> list[SiteState]:
    """Sites with distinct content; number 1 is silent, 2 has an outage, 3 an alarm that waits."""
    found = []
    for n in range(count):
        alarms: tuple[Any, ...] = {2: (OUTAGE, LOST), 3: (LOST,)}.get(n, ())
        overview = site(n, alarms=alarms, island="islanded" if n == 2 else "grid-tied")
        address = SiteAddress(f"site-{n:03}", tags=("north",) if n % 2 else ("south",))
        found.append(SiteState(address, overview, now_s - (240.0 if n == 1 else 1.0), trouble="no route" * (n == 1)))
    return found


def rows(count: int) -> tuple[Row, ...]:
    return rows_of(states(count), 100.0)


def lines(shown: FleetPage, width: int, height: int) -> list[str]:
    return shown.painted(width, height).lines()


def listing(found: tuple[Row, ...]) -> FleetPage:
    page = FleetPage()
    page.show(found)
    return page


@pytest.mark.parametrize(("size", "count"), [((80, 24), 20), ((120, 40), 36), ((120, 40), 100), ((117, 40), 108)])
def test_so_many_sites_are_on_one_screen(size: tuple[int, int], count: int) -> None:
    text = "\n".join(lines(listing(rows(count)), *size))
    assert [f"site-{n:03}" for n in range(count) if f"site-{n:03}" not in text] == []
    more = "\n".join(lines(listing(rows(200)), *size))
    assert "1 of 200" in more


@pytest.mark.parametrize("width", [80, 100, 111, 112, 117, 120, 160])
def test_no_figures_touch_and_the_last_column_is_blank(width: int) -> None:
    wide = site(0, import_w=site(0).import_w.__class__(987_654.0, 0.0, site(0).import_w.quality), load_w=1_234_567.0)
    state = SiteState(SiteAddress("a-very-long-name-of-a-site"), wide, 99.0)
    line = lines(listing(rows_of([state], 100.0)), width, 24)[3]
    assert line.startswith(" a-very-long")
    assert line[-1] == " "
    figures = line[(26 if width < 112 else 30) :].replace("█", " ")
    assert [part for part in figures.split() if not part.replace(".", "").replace("—", "").isdigit()] == []


def test_silent_looks_silent_and_the_worst_is_first() -> None:
    canvas: Canvas = listing(rows(20)).painted(80, 24)
    text = canvas.lines()
    assert [line.split()[0] for line in text[3:6]] == ["site-002", "site-001", "site-003"]
    assert "silent 4m" in text[4]
    assert "no route" in text[4]
    assert "10.0" in text[4], "what was known is kept"
    assert "19 of 20 answer" in text[0]
    assert "import 0.19 MW" in text[0]
    assert "islanded" in text[3]
    assert "site-002 (Site 2)" in text[-1]


def test_kinds_of_alarms_have_titles_without_whose_they_are() -> None:
    kinds = ("grid-outage", "device-lost", "soc-stands-still", "meter-energy", "of-a-newer-release")
    assert [kind_text(kind) for kind in kinds] == [
        *("Grid outage", "No good answer", "SoC of … does not follow", "Meter …: power and energy do not fit"),
        "of-a-newer-release",
    ]


@pytest.mark.parametrize("locale", ["en", "de", "zh_CN"])
@pytest.mark.parametrize("width", [80, 112])
def test_heads_stand_where_their_figures_end_in_every_language(
    locale: str, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Shown, "locale", locale)
    canvas: Canvas = listing(rows(3)).painted(width, 24)
    ends = fleet_page.WIDE_ENDS if width >= fleet_page.WIDE else fleet_page.NARROW_ENDS
    cells = canvas.text[2]
    for name, end in ends.items():
        label = say(fleet_page.HEADS[name])
        begin = end - columns(label)
        assert "".join(cells[begin:end]) == label
        assert cells[begin - 1] == " " == cells[end], f"{name} touches another head"
        assert canvas.text[3][end - 1] not in " █", f"a figure of {name} ends there"


@pytest.mark.parametrize("locale", ["en", "de", "zh_CN"])
def test_states_fit_with_their_figures(locale: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Shown, "locale", locale)
    for state in IslandState:
        assert columns(say(f"fleet_state.{state.value}")) <= STATE_COLUMNS
    for age_s in (15.0, 59.0, 3_599.0, 86_000.0, 80 * 86_400.0):
        assert columns(say("fleet.silent_for", age=age(age_s))) <= STATE_COLUMNS, "no figure is cut or covered"


def test_a_small_terminal_is_told_what_is_needed() -> None:
    assert "needs 80x24" in lines(listing(rows(3)), 60, 20)[0]


@contextlib.asynccontextmanager
async def app(names: Sequence[str], opened: list[Any], size: tuple[int, int] = (80, 24)) -> Any:
    answers = {name: answering(site(n, alarms=(LOST,) if n == 2 else ())) for n, name in enumerate(names)}
    sites = [SiteAddress(name, tags=("even",) if n % 2 == 0 else ()) for n, name in enumerate(names)]
    watch = Watch(sites, connect=connecting({**answers}), utc=lambda: NOW_S)
    found = FleetApp(watch, lambda address: ["console", address.name], opened.append)
    async with found.run_test(size=size) as pilot:
        await watch.all_looked(LIMIT_S)
        found._draw()
        await pilot.pause()
        yield found, pilot


async def test_keys_filter_tags_order_and_enter() -> None:
    opened: list[Any] = []
    async with app(["alpha", "beta", "gamma", "delta"], opened) as (shown, pilot):
        assert "4 of 4 answer" in screen_text(shown)
        await pilot.press("slash")
        await write(pilot, "qt")  # letters that are keys otherwise
        assert "0 of 4 sites" in screen_text(shown)
        assert 'no site has "qt"' in screen_text(shown)
        await pilot.press("backspace", "backspace")
        await write(pilot, "amm")
        assert "1 of 4 sites" in screen_text(shown)
        await pilot.press("enter", "escape", "t")
        assert "#even" in screen_text(shown)
        assert "beta" not in screen_text(shown)
        await pilot.press("t", "s")
        assert "by name" in screen_text(shown)
        await pilot.press("question_mark")
        assert "enter open its console" in screen_text(shown)
        await pilot.press("down", "down", "k")
        assert [row.name for row in shown._list.page.listed] == ["alpha", "beta", "delta", "gamma"]
        shown.suspend = contextlib.nullcontext  # there is no terminal to give away
        await pilot.press("enter")
        await pilot.pause()
        assert opened == [["console", "beta"]]
        left: list[Any] = []
        shown.exit = lambda: left.append(True)
        await pilot.press("q")
        assert left


def varied(state: SiteState, n: int) -> SiteState:
    """With figures of its own."""
    assert state.overview is not None
    load_w, pv_w, battery_w = 20_000.0 + n * 7_100 % 40_000, n * 2_300 % 19_000, n * 3_700 % 17_000 - 6_000.0
    figures = {
        "import_w": reading(load_w - pv_w - battery_w),
        "load_w": load_w,
        "pv_w": float(pv_w),
        "soc_pct": reading(20.0 + n * 13 % 71),
        "price_eur_per_kwh": 0.05 + n * 7 % 23 / 100,
        "iq_today_pct": 70.0 + n * 11 % 29,
    }
    return msgspec.structs.replace(state, overview=msgspec.structs.replace(state.overview, **figures))


@pytest.mark.parametrize(("name", "size", "count"), [("fleet_80x24", (80, 24), 20), ("fleet_120x40", (120, 40), 100)])
def test_picture(name: str, size: tuple[int, int], count: int, gallery: Callable[..., None]) -> None:
    found = FleetApp(Watch([]), lambda address: [])

    async def show(pilot: Any) -> None:
        found._draw = lambda: None  # nothing is followed
        found._list.show(rows_of([varied(state, n) for n, state in enumerate(states(count))], 100.0))
        await pilot.pause()

    gallery(name, found, size, show)


def test_it_is_painted_on_a_terminal_and_q_leaves() -> None:
    environment = {**os.environ, "TERM": "xterm-256color", "LANG": "C.UTF-8"}
    with Terminal([sys.executable, "-m", "benchmarks.fleet", "--screen", "3"], environment, 80, 24) as terminal:
        terminal.wait_for(b"site-002", LIMIT_S)
        terminal.press("q", LIMIT_S)
        while terminal.alive:
            terminal.read_for(0.1)
