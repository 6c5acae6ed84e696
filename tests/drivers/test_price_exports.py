"""Price tables as SMARD, ENTSO-E, Energy-Charts and Nord Pool export them: read as they are, or asked about by name."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest

from drivers.tariffs.csv_file import PLAIN, PriceFile, TariffFileError, read
from drivers.tariffs.exports import FileTerms

SMARD = "Datum von;Datum bis;Deutschland/Luxemburg [€/MWh] Originalauflösungen;Österreich [€/MWh] Originalauflösungen"
ENTSOE = '"MTU (CET/CEST)","Area","Sequence","Day-ahead Price (EUR/MWh)","Intraday Price (EUR/MWh)"'
CHARTS = '"Datum (GMT+1)","Day Ahead Auktion"\n,"Preis (EUR/MWh, EUR/tCO2)"'
NORD_POOL = "Delivery Start (CET);Delivery End (CET);SE3 Price (EUR)"


def utc(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def taken(tmp_path: Path, text: str, terms: FileTerms = PLAIN) -> PriceFile:
    (tmp_path / "p.csv").write_text(text, encoding="utf-8-sig")
    return read("p.csv", tmp_path, terms)


def refused(tmp_path: Path, text: str, terms: FileTerms = PLAIN) -> str:
    with pytest.raises(TariffFileError) as found:
        taken(tmp_path, text, terms)
    return str(found.value)


def smard(day: str, hours: int, first: float = 80.5) -> str:
    rows = (f"{day} {h:02d}:00;{day} {(h + 1) % 24:02d}:00;{first + h:.2f};1,00\n" for h in range(hours))
    return f"{SMARD}\n" + "".join(rows).replace(".50;", ",50;")


def test_smard(tmp_path: Path) -> None:
    terms = FileTerms(column="Deutschland/Luxemburg [€/MWh]")
    text = f"{SMARD}\n30.11.2025 00:00;30.11.2025 00:15;1.080,50;2\n30.11.2025 00:15;30.11.2025 00:30;-0,75;2\n"
    found = taken(tmp_path, text, terms)
    begin_s = utc("2025-11-29T23:00")
    assert found.prices.start_utc_s == (begin_s, begin_s + 900)
    assert found.prices.eur_per_mwh == (1080.5, -0.75)
    assert found.prices.end_utc_s == begin_s + 1800
    assert found.layout == ("column 'Deutschland/Luxemburg [€/MWh] Originalauflösungen', times of Europe/Berlin")
    assert "has the price columns 'Deutschland/Luxemburg [€/MWh] Original" in refused(tmp_path, text)
    assert "file_column = 'Polen': expected one of the price columns" in refused(
        tmp_path, text, FileTerms(column="Polen")
    )


def test_the_hour_that_comes_twice_in_autumn_and_not_in_spring(tmp_path: Path) -> None:
    head = "Datum von;Datum bis;Preis [€/MWh]\n"
    hours = ["00:00", "01:00", "02:00", "02:00", "03:00", "04:00"]
    rows = "".join(f"26.10.2025 {a};26.10.2025 {b};{n + 40},5\n" for n, (a, b) in enumerate(pairwise(hours)))
    begin_s = utc("2025-10-25T22:00")
    assert taken(tmp_path, head + rows).prices.start_utc_s == tuple(begin_s + 3600 * n for n in range(5))
    spring = head + "30.03.2025 01:00;30.03.2025 03:00;50,5\n30.03.2025 03:00;30.03.2025 04:00;51,5\n"
    assert taken(tmp_path, spring).prices.start_utc_s == (utc("2025-03-30T00:00"), utc("2025-03-30T01:00"))
    none = head + "30.03.2025 02:00;30.03.2025 03:00;50,5\n"
    assert "p.csv:2: '30.03.2025 02:00': there is no such time in Europe/Berlin" in refused(tmp_path, none)


def test_a_price_that_is_missing_is_a_gap_and_never_the_one_before(tmp_path: Path) -> None:
    text = "Datum von;Preis [€/MWh]\n" + "".join(
        f"01.12.2025 {h:02d}:00;{'-' if h == 2 else f'{60 + h},25'}\n" for h in range(5)
    )
    found = taken(tmp_path, text)
    assert found.prices.at(utc("2025-12-01T01:00")) is None
    assert found.prices.at(utc("2025-12-01T02:00")) == 63.25
    assert any("1 hole without a price" in remark for remark in found.remarks)


def test_entsoe(tmp_path: Path) -> None:
    rows = (
        '"01/12/2025 00:00:00 - 01/12/2025 00:15:00","BZN|DE-LU","Sequence Sequence 1","98.10","1"\n'
        '"01/12/2025 00:00:00 - 01/12/2025 00:15:00","BZN|DE-LU","Sequence Sequence 2","50.00","1"\n'
        '"01/12/2025 00:15:00 - 01/12/2025 00:30:00","BZN|DE-LU","Without Sequence","89.50","n/e"\n'
        '"01/12/2025 00:30:00 - 01/12/2025 00:45:00","BZN|DE-LU","Without Sequence","n/e",""\n'
        '"01/12/2025 00:45:00 - 01/12/2025 01:00:00","BZN|DE-LU","Without Sequence","40.09",""\n'
    )
    found = taken(tmp_path, f"{ENTSOE}\n{rows}")
    begin_s = utc("2025-11-30T23:00")
    assert [found.prices.at(begin_s + 900 * n) for n in range(4)] == [98.1, 89.5, None, 40.09]
    autumn = (
        '"26/10/2025 02:00 (CEST) - 26/10/2025 03:00 (CEST)","A","","40.50",""\n'
        '"26/10/2025 02:00 (CET) - 26/10/2025 03:00 (CET)","A","","41.50",""\n'
    )
    assert taken(tmp_path, f"{ENTSOE}\n{autumn}").prices.start_utc_s == (
        utc("2025-10-26T00:00"),
        utc("2025-10-26T01:00"),
    )
    assert "the row lasts 24 h: expected hours or quarter hours" in refused(
        tmp_path, f'{ENTSOE}\n"01/12/2025 00:00 - 02/12/2025 00:00","A","","40",""\n'
    )


def test_energy_charts(tmp_path: Path) -> None:
    rows = "2025-10-26T02:45+02:00,60.5\n2025-10-26T02:00+01:00,-4.25\n2025-10-26T02:15+01:00,7\n"
    found = taken(tmp_path, f"{CHARTS}\n{rows}")
    begin_s = utc("2025-10-26T00:45")
    assert found.prices.start_utc_s == (begin_s, begin_s + 900, begin_s + 1800)
    assert found.prices.eur_per_mwh == (60.5, -4.25, 7)
    assert "expected a time with its offset" in refused(
        tmp_path, f"{CHARTS}\n2025-10-26T02:45+02:00,6\n26.10.2025 03:00,6\n"
    )


def test_nord_pool_in_another_currency(tmp_path: Path) -> None:
    rows = "30.11.2026 00:00:00;30.11.2026 00:15:00;41.55\n30.11.2026 00:15:00;30.11.2026 00:30:00;40\n"
    assert taken(tmp_path, f"{NORD_POOL}\n{rows}").prices.eur_per_mwh == (41.55, 40)
    crowns = NORD_POOL.replace("EUR", "SEK")
    assert taken(tmp_path, f"{crowns}\n{rows}", FileTerms(eur_per={"SEK": 0.09})).prices.eur_per_mwh[0] == 3.7395
    assert "has prices in SEK: expected EUR, or a rate for it in eur_per" in refused(tmp_path, f"{crowns}\n{rows}")


@pytest.mark.parametrize(
    ("unit", "number", "eur_per_mwh"),
    [("EUR/kWh", "0,0835", 83.5), ("ct/kWh", "8,35", 83.5), ("€/MWh", "83,5", 83.5), ("p/kWh", "10", 115.0)],
)
def test_units_by_the_header(tmp_path: Path, unit: str, number: str, eur_per_mwh: float) -> None:
    text = f"Start;End;Price [{unit}]\n2026-11-30 00:00;2026-11-30 01:00;{number}\n"
    terms = FileTerms(timezone="Europe/Berlin", eur_per={"GBP": 1.15})
    assert taken(tmp_path, text, terms).prices.eur_per_mwh == (eur_per_mwh,)
    without = FileTerms(eur_per=terms.eur_per)
    assert "does not say the zone of its times: expected file_timezone in [tariff]" in refused(tmp_path, text, without)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (f"{NORD_POOL}\nsoon;30.11.2026 01:00:00;1\n", "p.csv:2: 'soon': expected a time such as 30.11.2026 13:00"),
        (f"{NORD_POOL}\n30.11.2026 00:00:00;30.11.2026 01:00:00;dear\n", "p.csv:2: 'dear': expected a price"),
        (f"{NORD_POOL}\n30.11.2026 00:00:00\n", "p.csv:2: expected 3 columns or more, found 1"),
        (f"{NORD_POOL}\n30.11.2026 00:00:00;30.11.2026 01:00:00;99999\n", "expected within +-9999 EUR/MWh"),
        (f"{NORD_POOL}\n30.11.2026 00:00:00;30.11.2026 01:00:00;nan\n", "expected at least one line"),
        (
            f"{NORD_POOL}\n" + "30.11.2026 00:00:00;30.11.2026 01:00:00;1\n30.11.2026 00:00:00;30.11.2026 01:00:00;2\n",
            "costs 2, but line 2 says 1",
        ),
        ("time,load\n1,2\n", "expected the header start_utc,price_eur_per_mwh"),
    ],
)
def test_what_is_wrong_in_which_line(tmp_path: Path, text: str, why: str) -> None:
    assert why in refused(tmp_path, text)
