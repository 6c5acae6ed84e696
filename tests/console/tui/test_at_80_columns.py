"""On 80 columns and 24 rows nothing is cut where it matters."""

from __future__ import annotations

import msgspec
import pytest
import scenes

from console.display.ink import Ink
from console.display.viewmodel import Model, received
from console.tui.alarm_list import AlarmList
from console.tui.canvas import Canvas
from console.tui.commands import LISTED
from console.tui.help_page import HelpPage
from console.tui.order_details import fitted_rows
from console.tui.prompt import PALETTE, Prompt
from dispatch.alarms.definitions import DEFINITIONS
from dispatch.alarms.states import Alarm, AlarmState
from dispatch.wording.catalogue import alarm_text

BODY = (80, 16)


@pytest.mark.parametrize("number", range(len(DEFINITIONS)))
def test_an_alarm_is_read_to_its_end(number: int) -> None:
    scene = scenes.read("outage")
    about = list(DEFINITIONS)[number]
    assert scene.published.alarms
    like = scene.published.alarms[0]
    alarm = msgspec.structs.replace(
        like, id=f"{about.id}:pcs1", priority=about.priority, state=AlarmState.RETURNED, first_out=True
    )
    others = tuple(a for a in scene.published.alarms[:6] if a.id != alarm.id)
    told = msgspec.structs.replace(scene.published, alarms=(alarm, *others))
    model = received(Model(welcome=scene.welcome), told)
    view = AlarmList()
    view._selected = alarm.id
    view.model = model
    canvas = Canvas(*BODY)
    view.paint(canvas, model)
    assert isinstance(alarm, Alarm)
    shown = " ".join(" ".join(canvas.lines()).split())
    said = alarm_text(alarm.id, alarm.detail)
    assert said.action in shown
    assert said.consequence in shown
    assert said.cause in shown
    assert f"{said.title} {alarm.priority.value} priority · gone, not acknowledged · came first" in shown
    assert shown.count("gone, not acknowledged") >= 2, "in the list as well"


def test_help_and_palette_say_what_each_command_does() -> None:
    scene = scenes.read("calm")
    model = received(Model(welcome=scene.welcome), scene.published)
    page, palette = Canvas(80, 60), Canvas(80, 40)
    HelpPage().paint(page, model)
    prompt = Prompt()
    prompt.kind = PALETTE
    prompt.paint(palette, model)
    assert "…" not in "".join(page.lines()).replace("— …", "")
    text = "\n".join(palette.lines())
    for command in LISTED:
        assert command.help in text


def test_a_bound_of_the_order_form_goes_on_in_a_row_that_is_free() -> None:
    why = "at most   +28.4 kW, islanding: import ramps back after the return to the grid, 12.3 kW now"
    rows = fitted_rows([("now       idle", Ink.PLAIN), (why, Ink.PLAIN)], 78, 4)
    assert len(rows) == 3
    assert " ".join(" ".join(text for text, _ in rows).split()) == " ".join(f"now idle {why}".split())
    assert rows[2][0].startswith(" " * 10)
    assert fitted_rows([(why, Ink.PLAIN)], 78, 1)[0][0].endswith("…"), "no row is free"
