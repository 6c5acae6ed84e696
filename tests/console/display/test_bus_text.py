"""Phases and frequency of the grid meter: what it gives, marked where it is not of now; blocks of the last minutes."""

from __future__ import annotations

import pytest

from console.display.bus_text import frequency_text, phases_text
from console.display.viewmodel import Model, PastMark, Point
from dispatch.model.equipment import Meter
from dispatch.model.readings import Quality, Reading, reading


@pytest.mark.parametrize(
    ("meter", "text"),
    [
        (Meter("m"), ""),
        (
            Meter("m", v=(reading(230.44), reading(None), Reading(231.0, 4.0, Quality.STALE))),
            "L1 230.4 V · L2 — V · L3 (stale) 231.0 V",
        ),
        (
            Meter("m", v=(reading(230.0),), a=(reading(45.2),), w_phases=(reading(-10_400.0),)),
            "L1 230.0 V 45.2 A -10.4 kW",
        ),
    ],
)
def test_phases(meter: Meter, text: str) -> None:
    assert phases_text(meter, 60) == text
    assert "kW" not in phases_text(meter, 20)


def test_frequency() -> None:
    at = PastMark(600.0)
    trend = tuple(Point(s, hz=hz) for s, hz in ((555, 49.90), (570, None), (585, 50.10), (600, 50.0)))
    assert frequency_text(Model(past=at, trend=trend), 40) == "  ▁ █▅ 49.90 – 50.10 Hz in 1 min"
    assert frequency_text(Model(past=at, trend=trend), 10) == "▅ 50.00 – 50.00 Hz in 15 s"
    assert frequency_text(Model(past=at), 40) == ""
    assert frequency_text(Model(trend=trend), 40) == ""
