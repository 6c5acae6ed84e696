"""A month of a site from what is at the hub: only what is known is added up, by the site's calendar."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from console.cli import fleet_report
from console.cli.fleet_report import calendar_month, report
from fleet.month import months
from fleet.store import HubFile, KeptQuarter, Source
from storage.signals import definition

BERLIN = "Europe/Berlin"
BEGIN = int(datetime(2026, 2, 28, 23, tzinfo=UTC).timestamp())  # of March in Berlin
NOW_S = datetime(2026, 5, 1, tzinfo=UTC).timestamp()


def quarter(n: int, signal: str, mean: float) -> KeptQuarter:
    return KeptQuarter(BEGIN + 900 * n, definition(signal), mean, mean, mean, mean, 900)


@pytest.fixture
def hub(tmp_path: Path) -> Path:
    """Fjord with PV: four quarter hours; Delta, of which nothing has come."""
    store = HubFile(tmp_path)
    for uuid, name in (("u1", "Fjord"), ("u2", "Delta")):
        store.begin(uuid, "i1", name, BERLIN, name, 0.0)
    rows = [quarter(n, "grid.w", w) for n, w in enumerate((40_000.0, 60_000.0, -20_000.0, 8_000.0))]
    rows += [quarter(n, "pv.w", 10_000.0) for n in range(3)]  # the fourth is not known
    rows += [quarter(n, "nodes.w", 25_000.0) for n in range(2)]
    rows += [quarter(0, "price.eur_per_kwh", 0.10), quarter(1, "price.eur_per_kwh", 0.30)]
    rows += [quarter(0, "carbon.g_per_kwh", 300.0), quarter(-1, "grid.w", 90_000.0)]  # the last one is February's
    store.put_quarters("u1", "i1", rows, Source())
    store.close()
    return tmp_path


def test_only_what_is_known_of_the_month_is_added_up(hub: Path) -> None:
    delta, fjord = months(hub, 2026, 3, NOW_S)
    energy = fjord.energy
    assert (energy.of_h, energy.known_h) == (743.0, 0.75), "an hour less: summer time begins"
    assert (energy.import_kwh, energy.export_kwh, energy.pv_kwh) == (25.0, 5.0, 7.5)
    assert (fjord.peak_w, fjord.peak_utc_s) == (60_000.0, BEGIN + 900)
    assert fjord.energy_eur == pytest.approx(10.0 * 0.10 + 15.0 * 0.30)
    assert fjord.priced_kwh == pytest.approx(25.0)
    assert energy.pue == pytest.approx((25.0 + 5.0) / 12.5)
    assert (energy.co2_kg, energy.co2_known_kwh) == (pytest.approx(3.0), pytest.approx(10.0))
    assert (delta.energy.known_h, delta.peak_w, delta.energy_eur) == (0.0, None, None)


def test_a_month_that_goes_on_counts_what_has_passed(hub: Path) -> None:
    (_, fjord) = months(hub, 2026, 3, BEGIN + 1_800.0)
    assert (fjord.energy.of_h, fjord.energy.known_h) == (0.5, 0.5)
    assert months(hub, 2026, 12, NOW_S)[0].energy.of_h == 0.0


def test_as_text_csv_and_json(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet_report.time, "time", lambda: NOW_S)

    def said(*options: str) -> str:
        found = CliRunner().invoke(report, ["--month", "2026-03", "--hub", str(hub), *options], standalone_mode=False)
        assert found.exception is None
        return found.stdout

    text = said().splitlines()
    assert text[0] == "# 2026-03"
    assert text[-2:] == [
        "| Delta | 0 | 743 | — | — | — | — | — | — | — |",
        "| Fjord | 1 | 743 | 25 | 5 | 8 | 60.0 | 5.50 | 2.40 | 3 |",
    ]
    rows: list[dict[str, Any]] = list(csv.DictReader(io.StringIO(said("--csv"))))
    assert (rows[1]["energy_eur"], rows[0]["energy_eur"], rows[1]["known_h"]) == ("5.500", "", "0.750")
    assert json.loads(said("--json"))[1]["energy"]["import_kwh"] == 25.0


@pytest.mark.parametrize("text", ["2026-13", "2026", "26-01", "2026-1", ""])
def test_another_month_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="expected a month such as"):
        calendar_month(text)
