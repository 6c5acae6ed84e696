"""Energy IQ in the alarms line: beside what is there, shorter where there is less room, never in the way."""

from __future__ import annotations

import msgspec
import pytest
import scenes

from console.cli import status_text
from console.display.viewmodel import Model, received
from console.tui.canvas import Canvas
from console.tui.status_bars import AlarmLine
from dispatch.model.reasons import plain
from gateway.api.protocol import IqNow, LastDrill

FULL = IqNow(0.0, "2025-09-16", 91.4, 12.0, 12.25, 87.6, 380.0, 384.0, 120.0, 78.0)
CUT = msgspec.structs.replace(FULL, today_known_h=9.0)


def line(iq: IqNow | None, width: int = 80, scene: str = "calm", drilled: bool = False) -> str:
    """The line as drawn, each run of blanks a single one."""
    told = scenes.read(scene)
    last = (
        LastDrill(told.published.snapshot.utc_s - 12 * 86_400, 10.0, "passed", plain(""), "tech1") if drilled else None
    )
    published = msgspec.structs.replace(told.published, iq=iq, last_drill=last)
    canvas = Canvas(width, 1)
    AlarmLine().paint(canvas, received(Model(welcome=told.welcome), published))
    return " ".join(canvas.lines()[0].split())


@pytest.mark.parametrize(
    ("iq", "said"),
    [
        (None, "Alarms none"),
        (FULL, "Alarms none Energy IQ 91 today · month 88"),
        (CUT, "Alarms none Energy IQ 91 today (9 of 12 h) · month 88"),
        (msgspec.structs.replace(FULL, today_pct=-12.3), "Alarms none Energy IQ -12 today · month 88"),
        (msgspec.structs.replace(FULL, today_pct=None), "Alarms none Energy IQ 78 yesterday · month 88"),
        (msgspec.structs.replace(FULL, today_pct=None, yesterday_pct=None), "Alarms none Energy IQ month 88"),
        (IqNow(0.0, "2025-09-16"), "Alarms none Energy IQ —"),
    ],
)
def test_it_says_what_is_known(iq: IqNow | None, said: str) -> None:
    assert line(iq) == said


def test_it_stands_beside_the_last_drill_and_gives_way() -> None:
    both = line(FULL, drilled=True)
    assert both.endswith("Energy IQ 91 today · month 88")
    drill = both.removeprefix("Alarms none ").removesuffix(" Energy IQ 91 today · month 88")
    assert "drill" in drill
    assert line(CUT, 80, drilled=True) == f"Alarms none {drill} Energy IQ 91 today (9 of 12 h)"
    assert line(CUT, 60, drilled=True) == f"Alarms none {drill}"


def status(iq: IqNow | None) -> list[str]:
    """The row of `skerry status`, if it is there."""
    told = scenes.read("calm")
    rows = status_text.lines(msgspec.structs.replace(told.published, iq=iq), told.welcome)
    return [" ".join(row.split()) for row in rows if row.startswith("Energy IQ")]


def test_the_status_says_the_same_with_hours_and_money() -> None:
    said = "78 yesterday · month to date 88, saved 120.00 EUR, from 380 of 384 h"
    assert status(CUT) == [f"Energy IQ 91 today from 9 of 12.25 h · {said}"]
    assert status(IqNow(0.0, "2025-09-16")) == ["Energy IQ — today from 0 of 0 h"]
    lost = msgspec.structs.replace(FULL, month_saved_eur=-3.5, month_pct=-2.0)
    assert status(lost)[0].endswith("month to date -2, lost 3.50 EUR, from 380 of 384 h")
    assert status(None) == []


def test_alarms_that_wait_come_first() -> None:
    shown = line(FULL, scene="alarms")
    assert shown.endswith("a acknowledge")
    assert "Energy IQ" not in shown
