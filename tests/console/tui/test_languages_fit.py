"""In each language every view, form and list shows what it shows in English: no more is cut, hidden or run together.

A label that is too long shows in one of four ways, which a canvas can see while it is drawn on.
"""

from __future__ import annotations

import importlib
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache

import msgspec
import pytest
import scenes
from test_any_size import WIDGETS as EVERY_WIDGET
from test_fleet_screen import states

from console.cli.status_text import lines as status_lines
from console.display.audit_rows import audit_lines
from console.display.ink import Ink
from console.display.language import say
from console.display.language_choice import ENGLISH, Shown, available
from console.display.viewmodel import Link, Model, PastMark, lost, received
from console.display.wrapping import character_columns, columns, folded, split_at
from console.tui import fleet_page
from console.tui.canvas import Canvas
from console.tui.commands import COMMANDS
from console.tui.devices import FIGURES
from console.tui.diff_widget import DiffWidget
from console.tui.form_fields import CommandForm, new_form
from console.tui.island_values import FIGURE_COLUMN
from console.tui.order_controller import site_checks
from console.tui.order_details import Assessment
from console.tui.order_form import OrderForm, Stage
from console.tui.prompt import PALETTE, Prompt
from dispatch.model.islanding import Check, DrillReport
from dispatch.model.orders import Preview
from fleet.table import rows_of

TRANSLATIONS = [locale for locale in available() if locale != ENGLISH]
RULES = frozenset("─━│ ")  # what a title may be written on
CUT, BEYOND, OVER, TOUCH = "cut", "beyond the edge", "over other text", "without a blank beside other text"
IS_CUT = re.compile(r"[^\s(]…(?!\w)")
BODY, WIDE_BODY = (80, 16), (120, 32)
MARKS = ("▲", "▼")  # of an alarm: its title has the room that is left
TABLE = "PlanView 120x32"  # lists reasons in the room that is left; that of the selected step stands above it in full
# module and class, and the sizes that it has on 80x24 and on 120x40
WIDGETS = {
    "status_bars StateLine": [(48, 1)],
    "status_bars LinkLine": [(32, 1)],
    "order_line OrderLine": [(80, 3)],
    "status_bars WhyLine": [(80, 2)],
    "status_bars NextLine": [(80, 1)],
    "status_bars AlarmLine": [(80, 1)],
    "status_bars Footer": [(80, 1)],
    "energy_flows GridFlow": [(19, 6)],
    "energy_flows BatteryFlow": [(22, 6)],
    "energy_flows PvFlow": [(19, 6)],
    "energy_flows ComputeFlow": [(19, 6)],
    "trends LoadChart": [(80, 3)],
    "trends ImportChart": [(80, 4)],
    "trends TimeAxis": [(80, 1)],
    "trends TariffStrip": [(80, 1)],
    "trends SocChart": [(120, 8)],
    "overview_panels MonthPanel": [(38, 5)],
    "overview_panels TopNodes": [(38, 6)],
    "overview_panels GatewayPanel": [(38, 4)],
    "overview_panels RecentEvents": [(120, 6)],
    "overview_more JobsPanel": [(44, 6)],
    "overview_more PricesPanel": [(44, 5)],
    "overview_more AlarmsPanel": [(44, 5)],
    "compute Compute": [BODY, WIDE_BODY],
    "plan_view PlanView": [BODY, WIDE_BODY],
    "island Island": [BODY, WIDE_BODY],
    "alarm_list AlarmList": [BODY, WIDE_BODY],
    "alarm_history AlarmHistory": [BODY],
    "event_log EventLog": [BODY],
    "devices Devices": [BODY, WIDE_BODY],
    "help_page HelpPage": [(80, 70)],
}


class Watched(Canvas):
    """A canvas that notes what of the drawn text cannot be read."""

    def __init__(self, width: int, height: int) -> None:
        super().__init__(width, height)
        self.lost: list[tuple[str, str]] = []

    def put(self, x: int, y: int, text: str, ink: Ink = Ink.PLAIN) -> int:
        if 0 <= y < self.height and text.strip():
            self.lost += [(kind, text) for kind in self._faults(x, y, text)]
        return super().put(x, y, text, ink)

    def _faults(self, x: int, y: int, text: str) -> Iterator[str]:
        row, at = self.text[y], x
        if IS_CUT.search(text):
            yield CUT
        for char in text:
            taken = character_columns(char)
            if char != " " and not (at >= 0 and at + taken <= self.width):
                yield BEYOND
                break
            if 0 <= at < self.width and char not in RULES and row[at] not in RULES and row[at] != char:
                yield OVER
                break
            at += taken
        end = x + columns(text)
        before = row[x - 1] if 0 < x <= self.width else " "
        behind = row[end] if end < self.width else " "
        if (is_word(before) and is_word(text[0])) or (is_word(text[-1]) and is_word(behind)):
            yield TOUCH


def is_word(char: str) -> bool:
    return char.isalnum() or char == ""


@cache
def lost_in_english() -> dict[str, Counter[str]]:
    """How much of what kind cannot be read on each page."""
    assert Shown.locale == ENGLISH
    return {where: Counter(kind for kind, _ in canvas.lost) for where, canvas in pages(models())}


@cache
def models() -> dict[str, Model]:
    """What the recorded scenes show, also of the past and without a gateway."""
    found = {}
    for name in ("calm", "pulse", "alarms", "order", "drill", "drilled", "outage"):
        scene = scenes.read(name)
        model = Model(welcome=scene.welcome, role="operator", plan=scene.plan, events=scene.events, trend=scene.trend)
        model = received(msgspec.structs.replace(model, day=scene.day, drills=(), view="island"), scene.published)
        answers = scene.answers
        if "audit" in answers:
            model = msgspec.structs.replace(model, audit=audit_lines(answers["audit"]))
        if "drill.check" in answers:
            checks = site_checks(msgspec.convert(answers["drill.check"]["checks"], tuple[Check, ...]))
            report = msgspec.convert(answers["drill.status"]["report"], DrillReport)
            model = msgspec.structs.replace(model, checks=checks, report=report, report_head="a1b2c3")
        found[name] = model
    calm = found["calm"]
    found["stale"] = lost(calm, "the gateway hung up")
    utc_s = calm.published.snapshot.utc_s if calm.published else 0.0
    mark = PastMark(utc_s, "samples", ago="14 min", now_state="grid-tied", now_waiting=2)
    found["past"] = msgspec.structs.replace(calm, past=mark, link=Link.LIVE)
    found["first"] = Model()
    return found


def drawn(widget: DiffWidget, model: Model, size: tuple[int, int], where: str) -> Watched:
    canvas = Watched(*size)
    widget.model = model
    widget.paint(canvas, model)
    for line in canvas.lines():
        assert columns(line) == canvas.width, f"{where}: {line!r}"
    return canvas


def pages(shown: dict[str, Model]) -> Iterator[tuple[str, Watched]]:
    """Every widget of every scene, and every form as far as it goes."""
    for name, sizes in WIDGETS.items():
        module, kind = name.split()
        made = getattr(importlib.import_module(f"console.tui.{module}"), kind)
        for scene, model in shown.items():
            for size in sizes:
                where = f"{kind} {size[0]}x{size[1]} {scene}"
                yield where, drawn(made(), model, size, where)
    for command in COMMANDS:
        for scene in ("order", "alarms") if "command(" in command.action else ():
            form = new_form(command.id, shown[scene])
            if isinstance(form, CommandForm):
                yield from forms(form, shown, scene)
    prompt = Prompt()
    prompt.kind = PALETTE
    yield "palette", drawn(prompt, shown["calm"], (80, 60), "palette")


def forms(form: CommandForm, shown: dict[str, Model], scene: str) -> Iterator[tuple[str, Watched]]:
    """A form while it is filled in, while it is confirmed, and once it is sent."""
    preview = msgspec.convert(scenes.read("order").answers["order.preview"], Preview)
    checks = shown["drilled"].checks
    for stage in Stage:
        widget = OrderForm()
        widget.form, widget.stage = form, stage
        widget.assessment = Assessment(preview if form.kind is not None else None, checks)
        where = f"{form.id} {stage.value} {scene}"
        yield where, drawn(widget, shown[scene], (80, 10), where)


@pytest.mark.parametrize("locale", TRANSLATIONS)
def test_what_is_read_in_english_is_read_in_a_translation(locale: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shown, english = models(), lost_in_english()
    monkeypatch.setattr(Shown, "locale", locale)
    worse = [line for where, canvas in pages(shown) for line in found_worse(where, canvas.lost, english[where])]
    assert worse == []


@pytest.mark.parametrize("locale", TRANSLATIONS)
def test_heads_of_figures_and_labels_of_rows_leave_a_blank(locale: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Shown, "locale", locale)
    rows = ("soc", "runtime", "switch", "return", "bus", "nodes")
    room = [*FIGURES, *((f"island.{row}", FIGURE_COLUMN - 1) for row in rows)]
    assert [say(code) for code, width in room if columns(say(code)) >= width] == []


@pytest.mark.parametrize("locale", TRANSLATIONS)
def test_the_screen_of_a_fleet_is_read_in_a_translation(locale: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet_page, "Canvas", Watched)
    english = {where: Counter(kind for kind, _ in canvas.lost) for where, canvas in fleet_pages()}
    monkeypatch.setattr(Shown, "locale", locale)
    assert [line for where, canvas in fleet_pages() for line in found_worse(where, canvas.lost, english[where])] == []


def fleet_pages() -> Iterator[tuple[str, Watched]]:
    """Sites in each order and form, the keys, a filter that leaves none."""
    rows = rows_of(states(20), 100.0)
    for width, height in ((80, 24), (120, 40)):
        for keys in ("", "s", "s" * 3, "c", "question_mark", "slash z", "t"):
            page = fleet_page.FleetPage()
            page.show(rows)
            for key in keys.split() if " " in keys or "_" in keys else keys:
                page.press(key, key)
            canvas = page.painted(width, height)
            assert isinstance(canvas, Watched)
            where = f"fleet {width}x{height} {keys}"
            canvas.lost = [(kind, text) for kind, text in canvas.lost if text[:1] not in MARKS]  # whole below the list
            assert all(columns(line) == width for line in canvas.lines()), where
            yield where, canvas


@pytest.mark.parametrize("locale", available())
def test_the_status_has_its_labels_beside_its_figures(locale: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Shown, "locale", locale)
    for name in ("calm", "alarms", "order", "drill", "outage"):
        scene = scenes.read(name)
        for line in list(status_lines(scene.published, scene.welcome))[2:]:
            label, text = split_at(line, 9)
            assert text[:1] in ("", " "), f"{name}: {line}"
            assert label.strip() or text.startswith(" ") or not line, f"{name}: {line}"
            assert all(columns(part) <= 120 for part in folded(line, 120, 10)), f"{name}: {line}"


def found_worse(where: str, lost: Sequence[tuple[str, str]], english: Counter[str]) -> list[str]:
    now = Counter(kind for kind, _ in lost)
    allowed = {CUT} if where.startswith(TABLE) else set()
    return [f"{where}: {kind}: {text!r}" for kind, text in lost if now[kind] > english[kind] and kind not in allowed]


def test_every_widget_is_drawn_in_every_language() -> None:
    elsewhere = {"OrderForm", "Prompt", "Separator"}  # the forms, the palette; a line without words
    assert EVERY_WIDGET.keys() == {name.split()[1] for name in WIDGETS} | elsewhere


def test_each_fault_is_seen() -> None:
    canvas = Watched(10, 1)
    for x, text in ((0, "abcdefgh…"), (9, "xyz"), (3, "q"), (2, "a")):
        canvas.put(x, 0, text)
    assert {kind for kind, _ in canvas.lost} == {CUT, BEYOND, OVER, TOUCH}
