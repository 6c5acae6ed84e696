"""A year's energies by source, PUE, REF and CO2, worked out by hand."""

from __future__ import annotations

import pytest

from dispatch.accounting.energy_year import NOT_KNOWN, QuarterPowers, energy_year, indicators

IMPORT = QuarterPowers(grid_w=40_000, pv_w=0, load_w=38_000, it_w=30_000)
SUN = QuarterPowers(grid_w=-4_000, pv_w=24_000, load_w=20_000, it_w=16_000)
GENSET = QuarterPowers(grid_w=20_000, pv_w=0, load_w=20_000, it_w=None, genset=True)
UNKNOWN = QuarterPowers(grid_w=None, pv_w=0, load_w=10_000, it_w=8_000)


def test_energies_are_added_up_by_their_source() -> None:
    year = energy_year([IMPORT] * 8 + [SUN] * 4 + [GENSET] * 4 + [UNKNOWN] * 4, co2_g_per_kwh=400.0)
    assert (year.known_h, year.of_h, year.it_known_h) == (4, 5, 3)
    assert (year.import_kwh, year.export_kwh, year.genset_kwh) == (80, 4, 20)
    assert (year.pv_kwh, year.pv_used_kwh) == (24, 20)
    assert year.load_kwh == 76 + 20 + 20 + 10
    assert year.total_kwh == 80 + 20 + 24 - 4
    assert year.ref == pytest.approx(20 / 120)
    assert year.it_kwh == 60 + 16
    assert year.pue == pytest.approx((80 + 20) / 76)  # hours without an IT reading are in neither
    assert year.co2_kg == 32


def test_what_is_not_known_has_no_value() -> None:
    year = energy_year([UNKNOWN] * 4, None)
    assert (year.known_h, year.of_h, year.pue, year.ref, year.co2_kg, year.it_kwh) == (0, 1, None, None, None, None)
    rows = {row.name: row for row in indicators(year, "meter", 50_000)}
    assert rows["battery"].value == 50
    energies = ("EDC", "renewable-on-site", "import", "export", "PV", "generator", "CO2")
    assert [rows[name].value for name in energies] == [None] * 7
    assert {row.name: row.value for row in indicators(energy_year([UNKNOWN], 400.0), "meter", 0)}["CO2"] is None
    assert rows["EIT"].note == "meter; known for 0 of 1 h"
    assert [rows[name].value for name, *_ in NOT_KNOWN] == [None] * len(NOT_KNOWN)
    assert all(rows[name].note for name, *_ in NOT_KNOWN)


def test_co2_is_by_what_was_recorded_else_by_what_is_stated() -> None:
    recorded = IMPORT._replace(co2_g_per_kwh=100.0)
    mixed = energy_year([recorded] * 4 + [IMPORT] * 4, co2_g_per_kwh=400.0)
    assert (mixed.co2_kg, mixed.co2_known_kwh, mixed.co2_recorded_kwh) == (4 + 16, 80, 40)
    alone = energy_year([recorded] * 4 + [IMPORT] * 4, None)
    assert (alone.co2_kg, alone.co2_known_kwh) == (4, 40)
    by_source = "40 kWh by the grid's mix as fetched then, 40 kWh "
    for year, rest in ((mixed, "by [tariff] co2_g_per_kwh"), (alone, "without a figure are left out")):
        notes = {row.name: row.note for row in indicators(year, "meter", 0)}
        assert notes["CO2"] == f"{by_source}{rest}; PV and generator not counted"
