"""The utility's meter values: how they are written in five countries, what is asked instead of guessed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from drivers.meter_data.columns import Layout
from drivers.meter_data.file import MeterFile, MeterFileError, read
from drivers.meter_data.numbers import decimal_sign, number

BERLIN = "Europe/Berlin"
JAN_14 = 1_768_345_200  # 2026-01-14T00:00+01:00


def read_text(tmp_path: Path, text: str, encoding: str = "utf-8", timezone: str = BERLIN, **layout: str) -> MeterFile:
    path = tmp_path / "meter.csv"
    path.write_bytes(text.encode(encoding))
    return read(path, timezone, Layout(**layout))


FORMS = {
    "German, decimal comma, date and time apart, from and to, a preamble, Windows-1252": (
        "Zählpunkt;DE000123\nDatum;Von;Bis;Wirkarbeit Bezug [kWh];Einspeisung [kWh];Status\n"
        "14.01.2026;00:00;00:15;12,5;0,25;W\n14.01.2026;00:15;00:30;1.203,25;0;W\n",
        "cp1252",
        {},
        [12.5, 1203.25],
        (JAN_14, 900),
    ),
    "German, end of intervals as kW, 24:00": (
        "Zeitstempel;Leistung (kW)\n13.01.2026 23:45;40,0\n13.01.2026 24:00;40,0\n14.01.2026 00:15;50,0\n",
        "utf-8-sig",
        {},
        [10.0, 10.0, 12.5],
        (JAN_14 - 1800, 900),
    ),
    "Dutch, tabs": (
        "Datum van\tDatum tot\tAfname (kWh)\tTeruglevering (kWh)\n14-01-2026 00:00\t14-01-2026 00:15\t1,5\t0\n"
        "14-01-2026 00:15\t14-01-2026 00:30\t2,5\t0\n",
        "utf-16",
        {},
        [1.5, 2.5],
        (JAN_14, 900),
    ),
    "Spanish, hours to 24:00": (
        "CUPS;Fecha;Hora;Consumo_kWh\nES1;2026/01/14;01:00;12,345\nES1;2026/01/14;02:00;13,345\n"
        "ES1;2026/01/14;24:00;9,125\n",
        "utf-8",
        {},
        [12.345, 13.345, 9.125],
        (JAN_14, 3600),
    ),
    "Spanish, hours by number": (
        "CUPS;Fecha;Hora;AE_kWh;REAL/ESTIMADO\nES1;14/01/2026;1;0,168;R\nES1;14/01/2026;2;0,182;R\n"
        "ES1;14/01/2026;24;1,5;R\n",
        "utf-8",
        {},
        [0.168, 0.182, 1.5],
        (JAN_14, 3600),
    ),
    "Flemish, the unit in a column": (
        "Van (datum);Van (tijdstip);Tot (datum);Tot (tijdstip);Register;Volume;Eenheid\n"
        "14-01-2026;00:00:00;14-01-2026;00:15:00;Afname;1,5;kWh\n"
        "14-01-2026;00:15:00;14-01-2026;00:30:00;Afname;2,5;kWh\n",
        "utf-8",
        {},
        [1.5, 2.5],
        (JAN_14, 900),
    ),
    "Excel's serial numbers": (
        "Beginn;Verbrauch kWh\n46036;1,5\n46036,0104167;2,5\n46036,0208333;3,5\n",
        "utf-8",
        {},
        [1.5, 2.5, 3.5],
        (JAN_14, 900),
    ),
    "English, UTC in the header, half hours, month first, morning and afternoon": (
        'start time (UTC),"consumption, kWh",quality\n01/13/2026 11:00 PM,"1,234.5",A\n01/13/2026 11:30 PM,2.5,A\n',
        "utf-8",
        {},
        [1234.5, 2.5],
        (JAN_14, 1800),
    ),
    "offsets, Wh": (
        "from;to;import Wh\n2026-01-14T00:00:00+01:00;2026-01-14T00:15:00+01:00;1500\n"
        "2026-01-14T00:15:00+01:00;2026-01-14T00:30:00+01:00;2500\n",
        "utf-8",
        {},
        [1.5, 2.5],
        (JAN_14, 900),
    ),
    "said by options, the newest row first": (
        "a,b,c\n02/03/2026 00:15,7,3.5\n02/03/2026 00:00,8,2.5\n",
        "utf-8",
        {
            "value_column": "C",
            "time_column": "a",
            "unit": "kW",
            "stamps": "start",
            "date_order": "mdy",
            "zone": "+02:00",
            "decimal": ".",
        },
        [0.625, 0.875],
        (1_770_069_600, 900),
    ),
    "units in a row of their own": (
        "Datum;Uhrzeit;Bezug;Blindarbeit\n;;kWh;kvarh\n14.01.2026;00:15;3,5;1,5\n14.01.2026;00:30;4,5;1,5\n",
        "utf-8",
        {"stamps": "end"},
        [3.5, 4.5],
        (JAN_14, 900),
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_forms(form: str, tmp_path: Path) -> None:
    text, encoding, layout, kwh, (begin_s, interval_s) = FORMS[form]
    found = read_text(tmp_path, text, encoding, **layout)
    assert found.interval_s == interval_s
    assert found.start_utc_s[:2] == (begin_s, begin_s + interval_s)
    assert list(found.import_kwh) == pytest.approx(kwh)


def test_export_has_its_column(tmp_path: Path) -> None:
    text, encoding, *_ = next(iter(FORMS.values()))
    assert read_text(tmp_path, text, encoding).export_kwh == pytest.approx((0.25, 0.0))


ERRORS = {
    "the unit": ("Zeit;Wert\n2026-01-14 00:00;1\n2026-01-14 00:15;1\n", "--unit kWh"),
    "begin or end": ("Zeit;kWh\n2026-01-14 00:00;1\n2026-01-14 00:15;1\n", "--stamps start or end"),
    "day or month": ("from,kWh\n01/02/2026 00:00,1.5\n01/02/2026 00:15,1.5\n", "--date-order dmy"),
    "both orders": ("from,kWh\n14/01/2026 00:00,1.5\n01/14/2026 00:15,1.5\n", "some dates have the day first"),
    "decimal or thousands": ("von;Wh\n2026-01-14 00:00;1.234\n2026-01-14 00:15;999\n", "--decimal point"),
    "both decimal signs": ("von;kWh\n2026-01-14 00:00;1.5\n2026-01-14 00:15;1,5\n", "'1,5' a decimal comma"),
    "which column": ("von;L1 kWh;L2 kWh\n2026-01-14 00:00;1;2\n2026-01-14 00:15;1;2\n", "'L1 kWh', 'L2 kWh'"),
    "which times": (
        "a;b;kWh\n2026-01-14 00:00;2026-01-14 00:00;2\n2026-01-14 00:15;2026-01-14 00:00;2\n",
        "--time-column",
    ),
    "no header": ("2026-01-14 00:00;1\n2026-01-14 00:15;1\n", "expected a header"),
    "no rows": ("von;kWh\n", "expected a header and rows"),
    "a bare decimal comma": ("from,kWh\n2026-01-14 00:00,1,5\n2026-01-14 00:15,1,5\n", "needs quotes"),
    "another unit in a row": (
        "von;Volume;Eenheid\n2026-01-14 00:00;1,5;kWh\n2026-01-14 00:15;2,5;MWh\n",
        ":3: unit 'MWh': expected kWh",
    ),
    "another unit in a row, one said": (
        "von;Volume;Eenheid\n2026-01-14 00:00;1,5;kWh\n2026-01-14 00:15;2,5;Wh\n",
        ":3: unit 'Wh': expected kWh, as in the first row",
    ),
    "another unit of export, one said": (
        "von;Bezug kWh;Einspeisung Wh\n2026-01-14 00:00;1,5;0\n2026-01-14 00:15;2,5;0\n",
        "'Einspeisung Wh': expected the unit of 'Bezug kWh', kWh",
    ),
    "no number": ("von;kWh\n2026-01-14 00:00;1,5\n2026-01-14 00:15;x\n", ":3: 'x': expected a number such as 12,5"),
    "no time": ("von;kWh\n2026-01-14 00:00;1,5\n2026-01-14 25:15;2,5\n", ":3: '2026-01-14 25:15'"),
    "a year of no meter": (
        "von;kWh\n0226-01-14 00:00;1,5\n2026-01-14 00:15;2,5\n",
        "expected a year from 1990 to 2199",
    ),
    "two values": (
        "von;kWh\n2026-01-14T00:00Z;1,5\n2026-01-14T00:15Z;1,5\n2026-01-14T00:15Z;2,5\n",
        ":4: the interval from 2026-01-14T00:15:00Z has two values, 1.5 and 2.5",
    ),
    "mixed offsets": ("von;kWh\n2026-01-14T00:00Z;1,5\n2026-01-14 00:15;1,5\n", "expected one kind"),
    "an odd step": ("von;kWh\n2026-01-14 00:00;1,5\n2026-01-14 00:07;1,5\n", "every 5, 10, 15, 30 or 60 min"),
    "a zone nobody knows": (
        "von;kWh\n2026-01-14 00:00;1,5\n2026-01-14 00:15;1,5\n",
        "'Mars/Base': expected a time zone",
    ),
}


@pytest.mark.parametrize("what", ERRORS)
def test_what_a_file_does_not_tell_is_asked(what: str, tmp_path: Path) -> None:
    text, said = ERRORS[what]
    zone = "Mars/Base" if "zone" in what else ""
    with pytest.raises(MeterFileError) as error:
        read_text(tmp_path, text, zone=zone, unit="kWh" if what.endswith("one said") else "")
    assert said in str(error.value)
    assert "meter.csv" in str(error.value)


def rows_of(day: str, zone: str, *, ends: bool = False, offset_h: int | None = None) -> tuple[str, list[int]]:
    """A file of one local day in quarter hours, and when each begins. offset_h: as a fixed offset shows them."""
    local = ZoneInfo(zone)
    begin = datetime.fromisoformat(day).replace(tzinfo=local)
    end = (datetime.fromisoformat(day) + timedelta(days=1)).replace(tzinfo=local)
    starts = list(range(int(begin.timestamp()), int(end.timestamp()), 900))
    text = f"{'bis' if ends else 'von'};kWh\n"
    for n, at in enumerate(starts):
        shown = datetime.fromtimestamp(at + 900 * ends, UTC)
        shown = shown.astimezone(local) if offset_h is None else shown + timedelta(hours=offset_h)
        text += f"{shown:%d.%m.%Y %H:%M};{37 * n % 50},5\n"
    return text, starts


@pytest.mark.parametrize("ends", [False, True])
@pytest.mark.parametrize(("day", "rows"), [("2026-03-29", 92), ("2026-10-25", 100), ("2026-06-01", 96)])
def test_days_on_which_clocks_change(day: str, rows: int, ends: bool, tmp_path: Path) -> None:
    text, starts = rows_of(day, BERLIN, ends=ends)
    found = read_text(tmp_path, text)
    assert len(starts) == rows
    assert list(found.start_utc_s) == starts
    assert not any("missing" in remark for remark in found.remarks)


@pytest.mark.parametrize(("day", "hours"), [("29/03/2026", 23), ("25/10/2026", 25)])
def test_hours_are_numbered_as_they_pass_on_days_on_which_clocks_change(day: str, hours: int, tmp_path: Path) -> None:
    rows = "".join(f"ES1;{day};{n};{n},5;R\n" for n in range(1, hours + 1))
    following = f"{int(day[:2]) + 1}{day[2:]}"
    text = f"CUPS;Fecha;Hora;AE_kWh;REAL/ESTIMADO\n{rows}ES1;{following};1;0,5;R\n"
    found = read_text(tmp_path, text, timezone="Europe/Madrid")
    begin = int(datetime(2026, int(day[3:5]), int(day[:2]), tzinfo=ZoneInfo("Europe/Madrid")).timestamp())
    assert found.start_utc_s == tuple(begin + 3600 * n for n in range(hours + 1))


@pytest.mark.parametrize("day", ["29/03/2026", "25/10/2026"])
def test_24_numbered_hours_are_questioned_on_days_that_have_another_count(day: str, tmp_path: Path) -> None:
    rows = "".join(f"ES1;{day};{n};{n},5;R\n" for n in range(1, 25))
    following = f"ES1;{int(day[:2]) + 1}{day[2:]};1;0,5;R\n"
    text = f"CUPS;Fecha;Hora;AE_kWh;REAL/ESTIMADO\n{rows}{following}"
    with pytest.raises(MeterFileError, match=r"2026-(03-29|10-25).*say which with --zone"):
        read_text(tmp_path, text, timezone="Europe/Madrid")
    by_winter = read_text(tmp_path, text, timezone="Europe/Madrid", zone="+01:00")
    assert {b - a for a, b in pairwise(by_winter.start_utc_s)} == {3600}


def test_the_end_of_the_doubled_hour_may_be_named_by_the_time_after_the_change(tmp_path: Path) -> None:
    """The interval that ends as clocks go back ends at 3:00 of summer or 2:00 of winter: some write this, some that."""
    text, starts = rows_of("2026-10-25", BERLIN, ends=True)
    lines = text.splitlines()
    place = [n for n, line in enumerate(lines) if "25.10.2026 02:00" in line][1]
    lines[place] = lines[place].replace("02:00", "03:00")
    assert list(read_text(tmp_path, "\n".join(lines)).start_utc_s) == starts


@pytest.mark.parametrize("day", ["2026-03-29", "2026-10-25"])
@pytest.mark.parametrize("offset_h", [0, 1])
@pytest.mark.parametrize("ends", [False, True])
def test_times_without_summer_time_are_found_out(day: str, offset_h: int, ends: bool, tmp_path: Path) -> None:
    text, starts = rows_of(day, BERLIN, ends=ends, offset_h=offset_h)
    with pytest.raises(MeterFileError, match="say which with --zone"):
        read_text(tmp_path, text)
    assert list(read_text(tmp_path, text, zone=f"+0{offset_h}:00").start_utc_s) == starts


def test_an_hour_that_is_missing_in_autumn_is_taken_as_missing_where_the_zone_was_named(tmp_path: Path) -> None:
    text, starts = rows_of("2026-10-25", BERLIN, offset_h=1)
    kept = [line for line in text.splitlines() if "24.10.2026" not in line]
    found = read_text(tmp_path, "\n".join(kept), zone=BERLIN)
    assert len(found.start_utc_s) == 96
    assert any("1 h of 25 h are missing" in remark for remark in found.remarks)
    assert found.start_utc_s[0] == starts[0] + 3600 - 3600 * (len(kept) == 97)


def test_a_register_is_no_energy_of_intervals(tmp_path: Path) -> None:
    rows = "".join(f"2026-01-{14 + n // 96} {n % 96 // 4:02}:{n % 4 * 15:02};{1000 + 3 * n}\n" for n in range(120))
    with pytest.raises(MeterFileError, match="the values only grow, as those of a register do"):
        read_text(tmp_path, f"von;kWh\n{rows}")


def test_missing_rows_are_told(tmp_path: Path) -> None:
    text = "von;kWh\n2026-01-14 00:00;1,5\n2026-01-14 00:15;\n2026-01-14 00:30;2,5\n2026-01-14 02:00;2,5\n"
    found = read_text(tmp_path, text)
    assert found.import_kwh == (1.5, 2.5, 2.5)
    assert found.remarks[-1] == "meter.csv: 1.5 h of 2.25 h are missing"


@pytest.mark.parametrize(
    ("text", "decimal", "value"),
    [("1 234,5", ",", 1234.5), ("1'234.5", ".", 1234.5), ("-3", ".", -3.0), ("n/a", ".", None), ("1.2e3", ".", 1200.0)],
)
def test_numbers(text: str, decimal: str, value: float | None) -> None:
    assert number(text, decimal) == value


def test_three_digits_behind_every_sign_are_decimals_of_kwh() -> None:
    assert decimal_sign(["12.345", "100.250"], "kWh") == "."
    assert decimal_sign(["0,345", "100,250"], "Wh") == ","
