"""A month of a site from what is at the hub: only what is known is added up, by the site's calendar."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import click
import msgspec
import pytest
from click.testing import CliRunner
from fleet_samples import REFUSED as LOST_LINK
from fleet_samples import FakeClient, FakeLink, connecting, site

from console.cli import fleet_report
from console.cli.fleet_report import calendar_month, report
from dispatch.alarms.episodes import AlarmEpisode
from fleet.month import DayImport, months
from fleet.month_asked import AskedMonth, ask_months
from fleet.sites import SiteAddress
from fleet.store import HubFile, KeptQuarter, Source
from gateway import exit_codes
from gateway.errors import RequestFailed
from storage.identity import Identity
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
    assert rows[1]["saved_eur"] == "", "nobody was asked"
    assert json.loads(said("--json"))[1]["energy"]["import_kwh"] == 25.0


def test_import_by_day_is_of_the_sites_calendar(hub: Path) -> None:
    delta, fjord = months(hub, 2026, 3, NOW_S)
    assert (len(fjord.days), fjord.days[0]) == (31, DayImport("2026-03-01", 1.0, 27.0)), "export is not taken off"
    assert (fjord.days[30].day, fjord.days[30].known_h) == ("2026-03-31", 0.0)
    assert {day.known_h for day in delta.days} == {0.0}


EVIL = '<script>alert(1)</script>"|=1+1\u202e'


def test_a_page_to_print_stands_alone_and_runs_nothing(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet_report.time, "time", lambda: NOW_S)
    store = HubFile(hub)
    store.begin("u1", "i1", EVIL, BERLIN, "fjord", 0.0)
    store.close()
    file = hub / "march.html"
    ran = CliRunner().invoke(report, ["--month", "2026-03", "--hub", str(hub), "--html", str(file)])
    assert (ran.exit_code, ran.output) == (0, f"skerry: {file} is written\n")
    page = file.read_text(encoding="utf-8")
    tree = ElementTree.fromstring(page)
    assert {element.tag for element in tree.iter()} & {"script", "img", "link", "iframe"} == set()
    attributes = {name for element in tree.iter() for name in element.keys()}  # noqa: SIM118
    assert not [name for name in attributes if name in ("src", "href") or name.startswith("on")]
    assert "\u202e" not in page
    cells = [cell.text for cell in tree.iter("td")]
    assert '<script>alert(1)</script>"|=1+1' in cells, "as text"
    bars = [rect for rect in tree.iter("rect") if rect.get("class") == "bar"]
    gaps = [rect for rect in tree.iter("rect") if rect.get("class") == "gap"]
    assert (len(bars), len(gaps)) == (1 + 1, 30), "a cost, a day; of 30 days nothing is known"
    assert bars[1].get("height") == f"{27 / 50 * 120:.1f}"
    text = CliRunner().invoke(report, ["--month", "2026-03", "--hub", str(hub)]).stdout
    assert '| <script>alert(1)</script>"\\|=1+1 | 1 |' in text, "no cell of its own"
    ran = CliRunner().invoke(report, ["--month", "2026-03", "--hub", str(hub), "--html", str(hub / "no" / "a.html")])
    assert "give --html a file that can be written" in str(ran.exception)


class SiteOfMonth:
    """Answers what `--ask` asks."""

    def __init__(self, **answers: Any) -> None:
        self.iq: Any = {"month": {"known_h": 700.0, "iq_pct": 81.0, "none": _cost(900.0), "own": _cost(650.0)}}
        self.plan: Any = {"next_utc_s": 2e9, "due_utc_s": MARCH_S + 86_400, "note": None, "unattended": False}
        self.alarms: list[Any] = [
            _episode("grid-outage", MARCH_S - 600, MARCH_S + 1800),
            _episode("grid-outage", MARCH_S + 90_000, None),
            _episode("device-lost:pcs1", MARCH_S + 5, MARCH_S + 6),
        ]
        self.asked: dict[str, Any] = {}
        vars(self).update(answers)

    def __call__(self, method: str, params: dict[str, Any]) -> Any:
        self.asked[method] = params
        if method == "fleet.now":
            return msgspec.to_builtins(site(timezone=BERLIN, utc_s=MARCH_S + 40 * 86_400))
        return {"drill.status": {"plan": self.plan}, "alarm.history": self.alarms, "iq": self.iq}[method]


MARCH_S = float(BEGIN)


def _cost(eur: float) -> dict[str, float]:
    return {"energy_eur": eur, "peak_eur": 20.0, "wear_eur": 5.0}


def _episode(id: str, came_s: float, gone_s: float | None) -> dict[str, Any]:
    return msgspec.to_builtins(AlarmEpisode(id, "alarm", "text", came_s, gone_s))  # type: ignore[no-any-return]


async def asked_of(answers: SiteOfMonth) -> AskedMonth:
    (found,) = await ask_months([SiteAddress("a")], partial(connecting({"a": answers}), ssh=()), 2026, 3)
    return found


async def test_sites_say_what_roll_ups_do_not_hold() -> None:
    said = SiteOfMonth()
    found = await asked_of(said)
    assert (found.iq_pct, found.saved_eur, found.iq_known_h) == (81.0, 250.0, 700.0)
    assert (found.outages, found.outage_h, found.outages_at_least) == (2, 0.5, False), "as far as the month has it"
    assert (found.drill_overdue_d, found.trouble) == (39.0, "")
    assert said.asked["iq"] == {"day": "2026-03-31"}
    span = said.asked["alarm.history"]
    assert (span["since_utc_s"], span["until_utc_s"]) == (MARCH_S, MARCH_S + 743 * 3600)


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (SiteOfMonth(plan=None), {"drill_overdue_d": None, "iq_pct": 81.0}),
        (SiteOfMonth(iq=RequestFailed("no Energy IQ: no battery", "refused")), {"iq_pct": None, "outages": 2}),
        (SiteOfMonth(iq={"month": {"known_h": float("nan")}}), {"iq_pct": None, "outages": None}),
        (SiteOfMonth(alarms=[{"id": 7}]), {"iq_pct": None, "outages": None}),
    ],
)
async def test_what_a_site_does_not_say_is_not_known(answers: SiteOfMonth, expected: dict[str, Any]) -> None:
    found = await asked_of(answers)
    assert {name: getattr(found, name) for name in expected} == expected


async def test_a_site_that_hangs_or_refuses_is_told() -> None:
    sites = [SiteAddress("hangs"), SiteAddress("gone")]
    answers: dict[str, Any] = {"hangs": None, "gone": LOST_LINK}
    found = await ask_months(sites, partial(connecting(answers), ssh=()), 2026, 3, answer_s=0.05)
    assert [each.trouble for each in found] == ["no answer within 0.05 s", str(LOST_LINK)]


def test_asked_figures_stand_beside_the_pulled_ones(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def open_link(address: SiteAddress, ssh: Any) -> FakeLink:
        client = FakeClient(address.name, SiteOfMonth())
        if address.name == "x@fjord":
            client.welcome = msgspec.structs.replace(client.welcome, identity=Identity("u1", "i1", "", kept=True))
        return FakeLink(client)

    monkeypatch.setattr(fleet_report, "open_link", open_link)
    monkeypatch.setattr(fleet_report.time, "time", lambda: NOW_S)
    command = ["--month", "2026-03", "--hub", str(hub), "--ask", "x@fjord", "x@new"]
    ran = CliRunner().invoke(report, command, standalone_mode=False)
    assert ran.stdout.splitlines()[-1].endswith("| 81 | 250.00 | 2 | 39.0 |")
    assert ran.stderr.splitlines() == [
        "skerry: x@new: nothing of it is at the hub; see: skerry fleet pull",
        "skerry: Delta: was not asked, or has not said who it is",
    ]
    rows = list(csv.DictReader(io.StringIO(CliRunner().invoke(report, [*command, "--csv"]).stdout)))
    assert (rows[1]["saved_eur"], rows[0]["saved_eur"]) == ("250.000", "")
    assert CliRunner().invoke(report, ["--month", "2026-03", "x@fjord"]).exit_code == exit_codes.USAGE


@pytest.mark.parametrize("text", ["2026-13", "2026", "26-01", "2026-1", ""])
def test_another_month_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match="expected a month such as"):
        calendar_month(text)
