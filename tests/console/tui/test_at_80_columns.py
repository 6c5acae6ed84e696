"""On 80 columns and 24 rows nothing is cut where it matters."""

from __future__ import annotations

import msgspec
import pytest
import scenes

from console.display.ink import Ink
from console.display.language import alarm_text, say
from console.display.language_choice import Shown, available
from console.display.status_text import alarm_state_words
from console.display.viewmodel import Model, received
from console.display.wrapping import columns
from console.tui.alarm_list import AlarmList
from console.tui.canvas import Canvas
from console.tui.commands import LISTED
from console.tui.help_page import HelpPage
from console.tui.order_details import fitted_rows
from console.tui.prompt import PALETTE, Prompt
from dispatch.alarms.definitions import DEFINITIONS
from dispatch.alarms.states import AlarmDefinition, AlarmState

BODY = (80, 16)


@pytest.mark.parametrize("locale", available())
def test_every_alarm_is_read_to_its_end(locale: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Shown, "locale", locale)
    scene = scenes.read("outage")
    cut = {about.id: lacks for about in DEFINITIONS if (lacks := left_out(about, scene))}
    assert cut == {}


def left_out(about: AlarmDefinition, scene: scenes.Scene) -> list[str]:
    """What of an alarm's texts is not to be read on the alarms view beside five others."""
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
    shown = without_blanks(" ".join(canvas.lines()))
    said = alarm_text(alarm.id, alarm.detail)
    state = alarm_state_words(alarm.state)
    head = " · ".join((f"{said.title} {say(f'alarms.{alarm.priority.value}')}", state, say("alarms.came_first")))
    lacks = [text for text in (head, said.cause, said.consequence, said.action) if without_blanks(text) not in shown]
    in_list = shown.count(without_blanks(state)) >= 2
    return lacks if in_list else [*lacks, "its state in the list"]


def without_blanks(text: str) -> str:
    return "".join(text.split())


@pytest.mark.parametrize("locale", available())
def test_help_and_palette_say_what_each_command_does(locale: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Shown, "locale", locale)
    scene = scenes.read("calm")
    model = received(Model(welcome=scene.welcome), scene.published)
    page, palette = Canvas(80, 70), Canvas(80, 60)
    HelpPage().paint(page, model)
    prompt = Prompt()
    prompt.kind = PALETTE
    prompt.paint(palette, model)
    assert "…" not in "".join(page.lines()).replace("— …", "")
    assert all(columns(line.rstrip()) <= 79 for line in page.lines())
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
