"""`skerry report`: a year from the record alone, as JSON, CSV and Markdown."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec
from iq_days import CONFIG, LOAD_W, PV_W, record

from console.cli.report import lines
from dispatch.accounting.energy_year import QuarterPowers, energy_year, indicators
from gateway import exit_codes
from storage.config import DISPATCH

if TYPE_CHECKING:
    from tests.console.cli.conftest import Machine

BEGIN = int(datetime(2024, 12, 31, 23, tzinfo=UTC).timestamp())  # 2025 begins at the site


async def test_the_record_of_a_year_is_added_up(machine: Machine) -> None:
    tariff = msgspec.structs.replace(CONFIG.tariff, co2_g_per_kwh=350.0)
    kept = msgspec.to_builtins(msgspec.structs.replace(CONFIG, tariff=tariff))
    hour = range(BEGIN + 7200, BEGIN + 10_800, 60)
    record(
        machine.state / "skerry" / "site-0",
        BEGIN - 3600,
        BEGIN + 6 * 3600,
        lambda _t: 0.0,
        missing=hour,
        pv_w=lambda _t: PV_W,
        states={DISPATCH: kept | {"pv": [{"id": "pv1"}]}},
    )
    ran = await machine.skerry("report", "--year", "2025", "--json")
    assert ran.code == exit_codes.OK, ran.err
    found = json.loads(ran.out)
    assert found["energy"]["of_h"] in (5.75, 6.0)  # the last quarter hour may not be over
    assert found["energy"]["known_h"] == found["energy"]["of_h"] - 1
    hours = found["energy"]["known_h"]
    assert abs(found["energy"]["import_kwh"] - hours * (LOAD_W - PV_W) / 1000) < 0.1
    assert abs(found["energy"]["pv_used_kwh"] - hours * PV_W / 1000) < 0.1
    assert abs(found["energy"]["co2_kg"] - 0.35 * found["energy"]["import_kwh"]) < 0.01
    rows = {row["name"]: row for row in found["indicators"]}
    assert abs(rows["REF"]["value"] - PV_W / LOAD_W) < 0.001
    assert rows["PUE"]["value"] is None  # no node is read
    assert rows["battery"]["value"] == 60


def test_the_document_tells_what_is_not_known() -> None:
    year = energy_year([QuarterPowers(12_000, 2_000, 14_000, 10_000)] * 8, 100.0)
    text = "\n".join(lines(2025, year, indicators(year, "signal ups1.w", 0)))
    assert "| PUE | power usage effectiveness | 1.400 | EDC / EIT, over hours with both |" in text
    assert "| EIT | energy of the IT equipment | 20 kWh | signal ups1.w; known for 2 of 2 h |" in text
    assert "On record: 2 of 2 h that have passed" in text
    assert text.index("## Known") < text.index("| CO2 |") < text.index("## Not known") < text.index("| WIN |")
