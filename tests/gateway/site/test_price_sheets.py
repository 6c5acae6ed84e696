"""The price sheets that come along: readable, complete, and each good as the tariff of a site."""

from __future__ import annotations

from pathlib import Path

import pytest

from drivers.tariffs import price_sheets
from gateway.site import loader

SITE = (Path(__file__).resolve().parents[3] / "sites" / "sungrow-sh.toml").read_text(encoding="utf-8")
BEFORE, _, REST = SITE.partition("[tariff]")
AFTER = REST[REST.index("[[battery]]") :]


@pytest.mark.parametrize("name", price_sheets.names())
def test_a_sheet_is_the_tariff_of_a_site(name: str, tmp_path: Path) -> None:
    text = (price_sheets.BUNDLED / f"{name}.toml").read_text(encoding="utf-8")
    site = tmp_path / "site.toml"
    site.write_text(BEFORE + text[text.index("\n[tariff]\n") :] + "\n" + AFTER, encoding="utf-8")
    assert loader.load(site).tariff.charge == price_sheets.load(name).tariff.charge


@pytest.mark.parametrize("name", price_sheets.names())
def test_a_sheet_says_whose_it_is_and_uses_what_it_defines(name: str) -> None:
    sheet = price_sheets.load(name)
    about, tariff = sheet.sheet, sheet.tariff
    assert name.startswith(about.country.lower() + "-")
    assert all((about.operator, about.title, about.source, about.verified, about.not_verified))
    charges = [charge.id for charge in tariff.charge]
    assert len(set(charges)) == len(charges)
    individual = [window for charge in tariff.charge if charge.individual for window in charge.individual.windows]
    named = {window for charge in tariff.charge for window in charge.windows} | set(individual)
    assert named == {window.id for window in tariff.window}


def test_an_unknown_sheet_is_refused_with_those_that_are_near() -> None:
    with pytest.raises(ValueError, match=r"no price sheet 'de-malchow': expected .* such as de-malchow-medium-voltage"):
        price_sheets.load("de-malchow")
