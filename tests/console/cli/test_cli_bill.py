"""`skerry bill` and `skerry tariff show`, from record and site file alone."""

from __future__ import annotations

import csv
import gzip
import importlib.resources
import json
from collections.abc import Container
from contextlib import closing
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
import pytest
from iq_days import Clock

from console.cli.bill_inputs import priced, read_inputs
from console.cli.main import run
from dispatch.billing.market_prices import PriceSeries
from dispatch.config.tariff_terms import TariffTerms
from dispatch.model.equipment import Meter
from dispatch.model.readings import reading
from dispatch.model.snapshot import Snapshot
from gateway import exit_codes
from gateway.site import paths
from gateway.site.loader import load
from storage import grid_power
from storage.config import StorageConfig
from storage.reader import POINTS, Archive
from storage.recorder import Recorder
from storage.signals import MARKET_PRICE

BEGIN = 1_768_345_200  # 2026-01-14T00:00+01:00, a Wednesday
DAY_S = 86_400
AHEAD_S = 120
SITE = """
[site]
name = "Test site"
timezone = "Europe/Berlin"
[grid]
fuse_a = 63
contracted_peak_w = "32 kW"
[[meter]]
id = "grid"
url = "tcp://127.0.0.1:1502"
[tariff]
holidays = "DE-BE"
currency = "EUR"
[[tariff.window]]
id = "day"
days = ["mon-fri"]
times = ["06:00-22:00"]
[[tariff.charge]]
id = "day"
kind = "energy"
price = 0.30
windows = ["day"]
vat_pct = 19
[[tariff.charge]]
id = "night"
kind = "energy"
price = 0.20
windows = ["day"]
outside = true
vat_pct = 19
[[tariff.charge]]
id = "demand"
kind = "max"
price = 10
windows = ["day"]
vat_pct = 19
"""


def load_w() -> list[float]:
    """A day of the real trace that comes along, by minutes."""
    file = importlib.resources.files("drivers.twin") / "data" / "helios.csv.gz"
    rows = csv.reader(gzip.decompress(file.read_bytes()).decode().splitlines())
    return [float(row[1]) for row in rows if len(row) == 2 and row[1].isdigit()][:1440]


def record(directory: Path, w: list[float], missing: Container[int] = ()) -> None:
    """The day by minutes, with the meter's register; minutes by number may be missing."""
    recorder = Recorder(directory, StorageConfig(hot_period_s=60), "boot", clock=Clock(float(BEGIN + DAY_S)))
    register_wh = 1_000_000.0
    for n, one in enumerate(w):
        register_wh += one / 60
        if n in missing:
            continue
        grid = Meter("grid", w=reading(one), import_wh=reading(round(register_wh, -1)))
        utc_s = float(BEGIN + 60 * n)
        extras = {"price.eur_per_kwh": 1.19 * (0.02 + 0.1)} if n < 360 else {}
        extras |= {MARKET_PRICE: 80.0} if 840 <= n < 960 else {}
        recorder.put(Snapshot(seq=n, utc_s=utc_s, mono_s=utc_s - 1.7e9, grid=grid), None, extras)
        if n % 500 == 499:
            recorder.flush().result(10)
    assert recorder.close()


def quarters_kwh(w: list[float], ahead_s: int = 0) -> list[float]:
    """What a meter counts in the quarter hours of the day, by its clock; before the day the load was its first."""
    seconds = [w[0]] * 600 + [one for one in w for _ in range(60)]
    first = 600 - ahead_s
    return [sum(seconds[first + k : first + k + 900]) / 3.6e6 for k in range(0, DAY_S, 900)]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the site file; its record lacks 03:00 to 05:00."""
    directory = tmp_path_factory.mktemp("bill")
    (directory / "site.toml").write_text(SITE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(directory))
        record(paths.state_dir(load(directory / "site.toml")), load_w(), range(180, 300))
    return directory


@pytest.fixture
def site(place: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("XDG_STATE_HOME", str(place))
    return str(place / "site.toml")


def said(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = exit_codes.OK) -> str:
    assert run([*arguments]) == code
    captured = capsys.readouterr()
    return captured.out if code == exit_codes.OK else captured.err


def test_a_bill_from_the_record(site: str, capsys: pytest.CaptureFixture[str]) -> None:
    kwh = quarters_kwh(load_w())
    day_kwh, night_kwh = sum(kwh[24:88]), sum(kwh[:12] + kwh[20:24] + kwh[88:])
    peak = max(range(24, 88), key=lambda k: kwh[k])
    span = ("bill", site, "--from", "2026-01-14", "--to", "2026-01-15")
    found = json.loads(said(capsys, *span, "--json"))
    lines = {line["charge"]: line for line in found["lines"]}
    assert float(lines["day"]["net"]) == pytest.approx(0.30 * day_kwh, abs=0.006)
    assert float(lines["night"]["net"]) == pytest.approx(0.20 * night_kwh, abs=0.006)
    assert float(lines["demand"]["net"]) == pytest.approx(10 * 4 * kwh[peak], abs=0.02)
    assert lines["demand"]["set_by_utc_s"] == [BEGIN + 900 * peak]
    assert found["unmeasured_h"] == 2
    assert float(found["total"]["gross"]) == pytest.approx(1.19 * float(found["total"]["net"]), abs=0.03)

    text = said(capsys, *span)
    assert "Note  2 h not measured: not billed" in text
    gap_kwh = sum(kwh[12:20])
    told = next(line for line in text.splitlines() if "2026-01-14 03:00 to 2026-01-14 05:00, 2 h;" in line)
    assert float(told.split("about ")[1].split()[0]) == pytest.approx(gap_kwh, abs=0.6)  # to a minute at each end
    assert "2026-01" in text
    assert text.splitlines()[0] == "Bill from 2026-01-14 00:00 to 2026-01-15 00:00, Europe/Berlin"
    rows = list(csv.DictReader(said(capsys, *span, "--csv").splitlines()))
    assert {row["charge"]: row["gross"] for row in rows} == {name: line["gross"] for name, line in lines.items()}

    whole = said(capsys, "bill", site, "--from", "2026-01-14T06:00", "--to", "2026-01-14T22:00")
    assert "not measured" not in whole
    assert "the meter's register counted" in whole
    assert "(-0.0" in whole or "(+0.0" in whole
    before = said(capsys, "bill", site, "--from", "2026-01-02", "--to", "2026-01-01", code=exit_codes.USAGE)
    assert "--to must be after --from" in before
    assert "expected with --against only" in said(capsys, "bill", site, "--unit", "kWh", code=exit_codes.USAGE)
    assert "--csv: not together" in said(capsys, "bill", site, "--csv", "--json", code=exit_codes.USAGE)


def test_a_long_time_is_read_in_pieces(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(place))
    archive = Archive(paths.state_dir(load(place / "site.toml")))
    whole = grid_power.grid_power(archive, BEGIN, BEGIN + DAY_S, 900)
    monkeypatch.setattr(grid_power, "PIECE", 7)
    assert [-1.0 if w != w else w for w in grid_power.grid_power(archive, BEGIN, BEGIN + DAY_S, 900)] == [
        -1.0 if w != w else w for w in whole
    ]
    assert sum(w != w for w in whole) == 8
    assert len(whole) == 96
    archive.close()
    assert grid_power.PIECE < POINTS, "the step would grow"


def test_market_prices_are_those_of_the_file_then_recorded_ones_then_those_behind_what_was_paid_then_stand_ins(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(place))
    config = load(place / "site.toml").dispatch
    market = msgspec.structs.replace(config, tariff=TariffTerms(fee_eur_per_kwh=0.02, vat_pct=19))
    file = PriceSeries((BEGIN + 6 * 3600,), (50.0,), BEGIN + 12 * 3600)
    with closing(Archive(paths.state_dir(load(place / "site.toml")))) as archive:
        found = read_inputs(archive, market, BEGIN, BEGIN + DAY_S, file, ZoneInfo("Europe/Berlin"))
        without = read_inputs(archive, market, BEGIN + 16 * 3600, BEGIN + DAY_S, None, ZoneInfo("Europe/Berlin"))
    known = [k for k in range(24) if not 12 <= k < 20]  # nothing is on record from 03:00 to 05:00
    assert [found.eur_per_mwh[k] for k in known] == pytest.approx([100.0] * 16, abs=0.01)
    assert found.eur_per_mwh[24:48] == [50.0] * 24
    assert found.eur_per_mwh[56:64] == [80.0] * 8
    assert "6 h of the site's price file; 2 h as recorded; 4 h worked out of the recorded price" in found.remarks[-1]
    assert "; 12 h not known" in found.remarks[-1]
    assert without.eur_per_mwh == []
    with pytest.raises(ValueError, match="expected market prices"):
        priced(market, without, without.measured.import_kwh)


def test_the_price_file_is_believed_where_charges_were_others_when_the_price_was_recorded(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(place))
    config = load(place / "site.toml").dispatch
    since = msgspec.structs.replace(config, tariff=TariffTerms(fee_eur_per_kwh=0.07, vat_pct=19))
    file = PriceSeries((BEGIN,), (100.0,), BEGIN + 3 * 3600)
    with closing(Archive(paths.state_dir(load(place / "site.toml")))) as archive:
        found = read_inputs(archive, since, BEGIN, BEGIN + 3 * 3600, file, ZoneInfo("Europe/Berlin"))
    assert found.eur_per_mwh == [100.0] * 12
    assert "in 3 h of 3 h the recorded price of import does not fit the price file" in found.remarks[-1]


def test_the_utilitys_quarter_hours(site: str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "Datum;Uhrzeit bis;Verbrauch (kWh)\n"
    for n, kwh in enumerate(quarters_kwh(load_w(), AHEAD_S), start=1):
        day, minute = divmod(15 * n, 1440)
        text += f"{14 + day}.01.2026;{minute // 60:02}:{minute % 60:02};{kwh:.3f}\n".replace(".", ",").replace(
            ",01,2026", ".01.2026"
        )
    (place / "meter.csv").write_text(text)
    against = ("bill", site, "--against", str(place / "meter.csv"))
    found = json.loads(said(capsys, *against, "--json"))
    assert found["intervals"] == 88
    assert found["not_on_record_h"] == 2
    fit = found["fit"]
    assert fit["known"]
    assert abs(fit["ahead_s"] - AHEAD_S) <= 2 * fit["error_s"]
    costs = {cost["charge"]: float(cost["by_meter"]) - float(cost["by_record"]) for cost in found["costs"]}
    assert costs.keys() == {"day", "night", "demand"}
    known = range(24, 88)
    meter, own = quarters_kwh(load_w(), AHEAD_S), quarters_kwh(load_w())
    assert costs["demand"] == pytest.approx(
        11.9 * 4 * (max(meter[k] for k in known) - max(own[k] for k in known)), abs=0.06
    )

    shown = said(capsys, *against)
    assert "88 intervals of 15 min known to both" in shown
    assert "the meter's clock may be ahead of this site's by" in shown
    assert "what it costs, gross" in shown
    assert "2 h of the file are not, or not wholly, on record: not compared" in shown
    asked = said(capsys, *against, "--value-column", "kW", code=exit_codes.USAGE)
    assert "--value-column 'kW': expected one of 'Datum', 'Uhrzeit bis', 'Verbrauch (kWh)'" in asked
    missing = ("bill", site, "--against", str(place / "no.csv"))
    assert "no.csv: No such file" in said(capsys, *missing, code=exit_codes.USAGE)
    later = said(capsys, *against, "--from", "2026-02-01", code=exit_codes.USAGE)
    assert "no interval lies between --from and --to" in later


def test_a_tariff_is_said_back(site: str, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, "tariff", "show", site, "--day", "2026-01-14")
    assert "day     0.3 EUR per kWh imported, Mon–Fri 06:00–22:00, holidays as weekdays, plus 19 % VAT" in text
    assert "window day: Mon–Fri 06:00–22:00, holidays as weekdays; next " in text
    assert "load: import on record that day" in text
    rows = [line for line in text.splitlines() if line[2:3] == ":" and "–" in line]
    assert [row.split()[0] for row in rows] == ["00:00–06:00", "06:00–22:00", "22:00–24:00"]
    assert rows[0].split()[2:] == ["0.2380", "night", "0.2380"]
    assert rows[1].split()[2:] == ["0.3570", "day", "0.3570;", "counts", "for", "demand"]
    found = json.loads(said(capsys, "tariff", "show", site, "--day", "2026-01-17", "--json"))
    assert {part[0] for row in found["day"]["rows"] for part in row["parts"]} == {"night"}, "a Saturday"
    assert found["day"]["load"].startswith("16.0 kW all day, half the contracted peak")
    assert found["day"]["energy_amount"] == pytest.approx(24 * 16 * 0.238)
    profile = place / "load.csv"
    stamps = (f"2026-01-1{n // 96}T{n % 96 // 4:02}:{n % 4 * 15:02}:00Z" for n in range(200))
    profile.write_text("start_utc,load_w\n" + "".join(f"{stamp},{2000}\n" for stamp in stamps))
    by_file = json.loads(said(capsys, "tariff", "show", site, "--day", "2026-03-29", "--load", str(profile), "--json"))
    assert by_file["day"]["import_kwh"] == pytest.approx(46), "23 h of 2 kW"
    assert by_file["day"]["load"] == "load.csv, mean by time of day over 2 days"
    sheets = said(capsys, "tariff", "list").splitlines()
    assert any(line.startswith("se-sundsvall-high-voltage-2024") and "  SE  Sundsvall" in line for line in sheets)
    assert json.loads(said(capsys, "tariff", "list", "--json")).keys() == {line.split()[0] for line in sheets}
    sheet = said(capsys, "tariff", "show", "--sheet", "se-sundsvall-high-voltage-2024")
    assert "66 SEK per kW and month on the highest 60-minute mean of the month, Nov–Mar, Mon–Fri 06:00–22:00" in sheet
    assert "not verified: " in sheet
    both = said(capsys, "tariff", "show", site, "--sheet", "x", code=exit_codes.USAGE)
    assert "expected either SITE.toml or --sheet NAME" in both
    assert "no price sheet 'x'" in said(capsys, "tariff", "show", "--sheet", "x", code=exit_codes.USAGE)
    assert "No such file" in said(capsys, "tariff", "show", str(place / "no.toml"), code=exit_codes.USAGE)
