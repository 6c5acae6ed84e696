"""`skerry flex`: the offers as a table, with what the gateway was asked for."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from console.cli.flex import lines
from dispatch.events.flexibility import Compute, Expected, Offer
from dispatch.model.reasons import Reason

BERLIN = ZoneInfo("Europe/Berlin")
NOON_UTC_S = 1_758_016_800.0  # 12:00 in Berlin


def offer(start_utc_s: float, hours: float, **changed: Any) -> Offer:
    terms: dict[str, Any] = {
        "battery_w": 20_000.0, "compute_w": 5_000.0, "import_w": 13_400.0, "charge_kwh": 4.0, "battery_eur": 0.8,
        "compute_eur": 0.4, "limited_by": Reason("flexibility.energy", {"stored_wh": 22_000.0}),
        "expected": Expected(battery_w=0.0, battery_eur=0.0, compute_w=0.0, compute_eur=0.0),
    }  # fmt: skip
    return Offer(start_utc_s=start_utc_s, hours=hours, **(terms | changed))


def answer(*offers: Offer, compute: Compute = Compute(), note: Reason | None = None) -> dict[str, Any]:  # noqa: B008
    found: dict[str, Any] = msgspec.to_builtins({"offers": offers, "compute": compute, "note": note})
    return found | {"now_utc_s": NOON_UTC_S}


def test_an_offer_is_a_row_and_a_start_is_said_once() -> None:
    first, second, later = offer(NOON_UTC_S, 0.25), offer(NOON_UTC_S, 2.0), offer(NOON_UTC_S + 7200, 1.0)
    shown = list(lines(answer(first, second, later, compute=Compute(5_000.0, 0.2, ("n1", "n2"))), BERLIN))
    assert shown[0] == "Offers at 12:00 CEST: import lowered by so much below that as without battery"
    assert shown[1] == "Compute   caps on 2 nodes give 5.0 kW at 0.20 EUR/h, as they draw now"
    rows = [" ".join(line.split()) for line in shown[4:]]
    assert rows[0] == "now 15 min 20.0 25.0 13.4 4.0 0.80 1.20 energy above the reserve, 22.0 kWh"
    assert rows[1].startswith("2 h 20.0")
    assert rows[2].startswith("Tue 14:00 1 h")
    assert len(rows) == 3


def test_figures_stand_under_their_names() -> None:
    *_, head, row = lines(answer(offer(NOON_UTC_S, 1.0, battery_w=123_456.0)), BERLIN)
    for name in ("battery kW", "with GPUs kW", "import kW", "charge kWh", "cost EUR", "with GPUs EUR"):
        end = head.index(name) + len(name)
        assert row[end - 1].isdigit(), name
        assert row[end] == " "


def test_what_has_no_price_or_cannot_be_capped_is_said() -> None:
    unpriced = list(
        lines(answer(offer(NOON_UTC_S, 1.0, compute_eur=None), compute=Compute(5e3, None, ("n1",))), BERLIN)
    )
    assert unpriced[1] == "Compute   caps on 1 nodes give 5.0 kW at no stated price, as they draw now"
    assert " — " in unpriced[-1]
    none = list(lines(answer(note=Reason("flexibility.off_grid")), BERLIN))
    assert none[1] == "Note      the site is not on the grid: nothing can be offered"
    assert none[2] == "Compute   no node can be capped now"
    assert none[-1] == "no time asked for lies within the plan"
