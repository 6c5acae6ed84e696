"""Where prices come from and how old they are: in the tariff's line, beside the plan, in `skerry status`."""

from __future__ import annotations

import msgspec
import scenes

from console.cli import status_text
from console.display.viewmodel import Model, received
from console.tui.canvas import Canvas
from console.tui.plan_view import PlanView
from console.tui.trends import TariffStrip
from gateway.api.protocol import Published

TOLD = scenes.read("calm")
SAID = "Energy-Charts DE-LU, fetched 09:04"


def published(age_s: float = 3600, source: str = "Energy-Charts DE-LU") -> Published:
    now_s = TOLD.published.snapshot.utc_s
    tariff = msgspec.structs.replace(TOLD.published.tariff, source=source, fetched_utc_s=now_s - age_s)
    return msgspec.structs.replace(TOLD.published, tariff=tariff)


def shown(message: Published) -> Model:
    return msgspec.structs.replace(received(Model(welcome=TOLD.welcome), message), plan=TOLD.plan)


def strip(message: Published, width: int) -> str:
    canvas = Canvas(width, 1)
    TariffStrip().paint(canvas, shown(message))
    return canvas.lines()[0].rstrip()


def test_a_wide_terminal_shows_it_and_a_narrow_one_keeps_its_figures() -> None:
    assert strip(published(), 140).endswith(f" · {SAID}")
    assert strip(published(), 80) == strip(TOLD.published, 80)
    assert strip(published(3 * 86_400), 140).endswith(" · Energy-Charts DE-LU, fetched 09-13 10:04")
    canvas = Canvas(140, 30)
    PlanView().paint(canvas, shown(published()))
    assert any(f"prices from       {SAID}" in line for line in canvas.lines())


def test_status_says_it_with_the_end() -> None:
    (line,) = (line for line in status_text.lines(published(), TOLD.welcome) if line.startswith("Tariff"))
    assert line.endswith(f" · {SAID}, until Fri 00:00")
    (line,) = (line for line in status_text.lines(TOLD.published, TOLD.welcome) if line.startswith("Tariff"))
    assert "fetched" not in line


def test_status_tells_prices_to_come_and_none_of_the_last_hour() -> None:
    message = published()
    now_s = int(message.snapshot.utc_s)
    quarters = tuple((now_s + 900 * n, 0.1 + n / 100) for n in range(-4, 4))
    tariff = msgspec.structs.replace(message.tariff, ahead=quarters)
    told = msgspec.structs.replace(message, tariff=tariff)
    (line,) = (line for line in status_text.lines(told, TOLD.welcome) if line.startswith("Tariff"))
    assert "11.0 from" in line
    assert "12.0 from" in line
    assert line.count(" from ") == 2
