"""Price files: what is read, and what every bad line gets."""

from __future__ import annotations

import gzip
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatch.wording.formatting import span
from drivers.tariffs.acceptance import accepted
from drivers.tariffs.csv_file import PriceFile, TariffFileError, load, read

HEADER = "start_utc,price_eur_per_mwh\n"
T0 = 1_758_000_000 // 3600 * 3600


def stamp(offset_s: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(T0 + offset_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def written(tmp_path: Path, body: str, name: str = "prices.csv") -> Path:
    data = (HEADER + body).encode()
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return tmp_path


def test_hourly_and_quarter_hourly_side_by_side(tmp_path: Path) -> None:
    rows = [(0, 80.5), (3600, -12), (7200, 90), (8100, 91), (9000, 92), (9900, 93)]
    body = "# a comment\n\n" + "".join(f"{stamp(s)},{p}\n" for s, p in rows)
    prices = load("prices.csv", written(tmp_path, body))
    assert [prices.at(T0 + s) for s in (0, 3599, 3600, 7200, 8100, 9900, 10799)] == [80.5, 80.5, -12, 90, 91, 93, 93]
    assert prices.at(T0 - 1) is None
    assert prices.at(T0 + 10800) is None
    assert prices.end_utc_s == T0 + 10800


@pytest.mark.parametrize("hours", [0.25, 0.75, 1.75, 3, 23.5])
def test_holes_of_any_length_are_filled_alike_where_no_row_repeats_a_price(tmp_path: Path, hours: float) -> None:
    hole = int(3600 * hours)
    rows = [(0, 41.5), (900, 60), (1800, 41.5), (2700 + hole, 70), (3600 + hole, 71)]
    found = read("prices.csv", written(tmp_path, "".join(f"{stamp(s)},{p}\n" for s, p in rows)))
    assert {found.prices.at(T0 + 1800 + s) for s in range(0, 900 + hole, 900)} == {41.5}
    assert found.prices.at(T0 + 2700 + hole) == 70
    (remark,) = found.remarks
    assert "1 hole filled with the price before" in remark
    assert remark.endswith(f"the longest price holds {span(900 + hole)} from {stamp(1800)} on")
    assert found.prices.end_utc_s == T0 + 4500 + hole


@pytest.mark.parametrize("hours", [0.25, 0.75, 1.75, 3, 30])
def test_holes_of_any_length_are_gaps_where_rows_repeat_a_price(tmp_path: Path, hours: float) -> None:
    hole = int(3600 * hours)
    rows = [(0, 60), (900, 60), (1800, 41.5), (2700 + hole, 70), (3600 + hole, 71)]
    found = read("prices.csv", written(tmp_path, "".join(f"{stamp(s)},{p}\n" for s, p in rows)))
    assert found.prices.at(T0 + 2699) == 41.5
    assert {found.prices.at(T0 + 2700 + s) for s in range(0, hole, 900)} == {None}
    assert found.prices.at(T0 + 2700 + hole) == 70
    assert any("1 hole without a price" in r and stamp(2700) in r for r in found.remarks)


def test_a_missing_day_is_never_filled(tmp_path: Path) -> None:
    rows = [(3600 * n, n) for n in (*range(24), *range(48, 72))]
    found = read("prices.csv", written(tmp_path, "".join(f"{stamp(s)},{p}\n" for s, p in rows)))
    assert [found.prices.at(T0 + 3600 * n) for n in (23, 24, 47, 48)] == [23, None, None, 48]
    assert any("the longest 24 h from " in r for r in found.remarks)


def test_what_is_regular_has_no_remark(tmp_path: Path) -> None:
    quarters = [(86400 + 900 * n, 40 + n % 7 + n) for n in range(96)]
    hourly = [(3600 * n, 50 + n % 3) for n in range(24)]
    body = "".join(f"{stamp(s)},{p}\n" for s, p in [*hourly, *quarters])
    assert read("prices.csv", written(tmp_path, body)).remarks == ()
    assert read("bundled:de-lu-2025", Path()).remarks == ()


def day(*, scale: float = 1.0, decimals: int = 2, days: int = 1) -> list[float]:
    """Prices of whole days, EUR/MWh from 24 to 114 times `scale`."""
    return [round(scale * (69 + 45 * math.sin(n / 15.3)), decimals) for n in range(96 * days)]


def asked(tmp_path: Path, prices: list[float], column: str = "price_eur_per_mwh") -> PriceFile:
    body = "".join(f"{stamp(900 * n)},{p}\n" for n, p in enumerate(prices))
    (tmp_path / "p.csv").write_text(f"start_utc,{column}\n{body}")
    return read("p.csv", tmp_path)


@pytest.mark.parametrize(
    ("prices", "question"),
    [
        (day(), ""),
        (day(days=30), ""),
        (day(scale=0.5), ""),  # a mild day
        (day(scale=0.02), "ct/kWh?"),  # whatever it is, no market has it
        (day(scale=0.001, decimals=5), "EUR/kWh?"),
        (day(scale=0.003, decimals=4), "EUR/kWh?"),  # fees and tax in it
        ([*day(scale=0.001, decimals=5), 1.9, -0.4], "EUR/kWh?"),  # a spike to 1900 EUR/MWh
        (day(scale=0.1, decimals=3), "ct/kWh?"),
        (day(scale=0.1, decimals=2), "ct/kWh?"),
        (day(scale=0.4, decimals=3), "ct/kWh?"),  # 10 to 46 ct with fees: the market has no third decimal
        (day(scale=0.4, decimals=2, days=8), "ct/kWh?"),  # a week without a price above 46
        (day(scale=10), "is the unit of the column right"),
        ([0.0] * 96, "every price is 0.00 for 24 h"),
        ([*day(), *[0.0] * 96, *day(), *[0.0] * 192], "and 1 more such times"),
        ([*day(), *[0.0] * 40, *day()], ""),  # ten hours of 0.00 are a windy holiday
        ([*day(), *day(scale=0.001, decimals=5)], "and it has more decimals: is it in another unit?"),
        ([*day(days=5), *day(scale=0.1, decimals=3)], ", that of other days "),
        ([*day(days=5), *day(scale=0.03)], ""),  # a sunny Sunday
        ([*day(), *[-price for price in day(scale=0.4)]], ""),
        ([-price for price in day(scale=0.2)], ""),
    ],
)
def test_units_and_zeros_that_nobody_would_believe_are_asked_about(
    tmp_path: Path, prices: list[float], question: str
) -> None:
    found = asked(tmp_path, prices)
    assert found.prices.eur_per_mwh == tuple(prices), "asked, not converted"
    assert [question in asked for asked in found.questions] == ([True] if question else [])
    if question:
        with pytest.raises(
            TariffFileError, match=r"p.csv: .*\?.* If they are right as declared, set prices_as_declared"
        ):
            accepted(found, as_declared=False)
        assert accepted(found, as_declared=True).remarks == found.questions
    else:
        assert accepted(found, as_declared=False) == found


def two_days(tmp_path: Path, scale: float, decimals: int = 2) -> PriceFile:
    """The day before once more, and a new one, `scale` times too high."""
    return asked(tmp_path, day(scale=scale, decimals=decimals, days=2))


@pytest.mark.parametrize("scale", [0.001, 0.01, 0.1, 10.0])
def test_prices_in_force_show_that_the_unit_is_another(tmp_path: Path, scale: float) -> None:
    """Also where the level alone says nothing: 45 ct with fees may be a day of a market."""
    in_force = asked(tmp_path, day()).prices
    with pytest.raises(TariffFileError, match=r"p.csv: .*(EUR/kWh|ct/kWh|unit of the column|is the unit another)"):
        accepted(two_days(tmp_path, scale, 6), False, in_force)
    with pytest.raises(TariffFileError, match=r"p.csv: the prices are 0.4\d* times those in force"):
        accepted(
            asked(tmp_path, [round(25 + price / 10, 2) for price in day(days=2)]), False, asked(tmp_path, day()).prices
        )
    dear = asked(tmp_path, day(scale=4)).prices
    with pytest.raises(TariffFileError, match=r"p.csv: the prices are 0.1 times those in force for the same hours"):
        accepted(two_days(tmp_path, 0.4), False, dear)


def test_prices_in_force_show_that_the_unit_is_the_same(tmp_path: Path) -> None:
    """Cheap and dear markets are no question where the same hours cost the same before."""
    for scale in (0.02, 0.15, 10.0):
        in_force = asked(tmp_path, day(scale=scale)).prices
        found = two_days(tmp_path, scale)
        assert found.questions
        assert accepted(found, False, in_force) == found
    in_force = asked(tmp_path, day()).prices
    for second, question in (
        ([0.0] * 96, "are these prices, or missing ones"),
        (day(scale=0.001, decimals=5), "another unit"),
    ):
        with pytest.raises(TariffFileError, match=question):
            accepted(asked(tmp_path, [*day(), *second]), False, in_force)


@pytest.mark.parametrize(("column", "scale"), [("price_eur_per_kwh", 0.001), ("price_ct_per_kwh", 0.1)])
def test_other_units_are_read_where_the_header_declares_them(tmp_path: Path, column: str, scale: float) -> None:
    found = asked(tmp_path, day(scale=scale, decimals=6), column)
    assert found.prices.eur_per_mwh == pytest.approx(day(decimals=6), abs=0.002)
    assert found.remarks == ()
    assert asked(tmp_path, [0.08212, 0.1], "price_eur_per_kwh").prices.eur_per_mwh == (82.12, 100.0)
    with pytest.raises(TariffFileError, match=r"expected within \+-(9.999 EUR|999.9 ct)/kWh"):
        asked(tmp_path, [1.0, 1000.5], column)


def test_rows_seconds_off_their_raster_are_taken_on_it_and_told(tmp_path: Path) -> None:
    rows = [(0, 80), (903, 81), (1799, 82), (2741, 83)]
    found = read("prices.csv", written(tmp_path, "".join(f"{stamp(s)},{p}\n" for s, p in rows)))
    assert found.prices.start_utc_s == (T0, T0 + 900, T0 + 1800, T0 + 2700)
    assert found.remarks == (
        "3 rows begin seconds off the full five minutes, at most 41 s (line 5): taken to begin on them",
    )
    written(tmp_path, f"{stamp(0)},1\n{stamp(1027)},2\n")
    with pytest.raises(TariffFileError, match=r"prices.csv:3: start_utc = .*: expected a full minute"):
        read("prices.csv", tmp_path)


@given(st.permutations([0, 1, 2, 3, 5, 6, 9]), st.booleans())
def test_order_and_repetition_do_not_matter(
    tmp_path_factory: pytest.TempPathFactory, order: list[int], gz: bool
) -> None:
    base = tmp_path_factory.mktemp("prices")
    name = "p.csv.gz" if gz else "p.csv"
    rows = [f"{stamp(3600 * n)},{n}\n" for n in order]
    shuffled = load(name, written(base, "".join(rows + rows[:2]), name))
    assert shuffled == load("q.csv", written(base, "".join(sorted(rows)), "q.csv"))
    assert shuffled.at(T0 + 4 * 3600) == 3


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("2025-09-16T06:00:00,1", "start_utc = '2025-09-16T06:00:00': expected UTC, ending in Z"),
        ("2025-09-16T06:00:00+02:00,1", "expected UTC, ending in Z"),
        ("16.09.2025 06:00,1", "expected ISO 8601 such as"),
        ("2025-09-16T06:00:00.5Z,1", "expected whole seconds"),
        ("2025-09-16T06:00:00Z,abc", "price_eur_per_mwh = 'abc': expected a number"),
        ("2025-09-16T06:00:00Z,12,5", "expected 2 columns, start_utc,price_eur_per_mwh, found 3"),
        ("2025-09-16T06:00:00Z", "found 1"),
        ("2025-09-16T06:00:00Z,nan", "expected within"),
        ("2025-09-16T06:00:00Z,inf", "expected within"),
        ("2025-09-16T06:00:00Z,123456", "expected within +-9999 EUR/MWh"),
        ("2025-09-16T06:00:00Z,", "expected a number"),
    ],
)
def test_every_bad_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    written(tmp_path, f"{stamp(0)},1\n{line}\n{stamp(3600)},2\nnonsense,7\n")
    with pytest.raises(TariffFileError) as caught:
        load("prices.csv", tmp_path)
    first, second = str(caught.value).splitlines()
    assert first.startswith(f"{tmp_path / 'prices.csv'}:3: ")
    assert message in first
    assert "prices.csv:5: " in second


def test_conflicting_duplicates(tmp_path: Path) -> None:
    written(tmp_path, f"{stamp(0)},1\n{stamp(3600)},2\n{stamp(0)},1.5\n")
    with pytest.raises(TariffFileError, match=r"prices.csv:4: .* costs 1.5, but line 2 says 1"):
        load("prices.csv", tmp_path)


def test_unusable_files(tmp_path: Path) -> None:
    with pytest.raises(TariffFileError, match=r"none.csv: No such file or directory"):
        load("none.csv", tmp_path)
    with pytest.raises(TariffFileError, match="expected at least one line"):
        load("prices.csv", written(tmp_path, ""))
    (tmp_path / "h.csv").write_text("time;price\n")
    with pytest.raises(
        TariffFileError, match=r"h.csv:1: expected the header start_utc,price_eur_per_mwh, found time;price"
    ):
        load("h.csv", tmp_path)
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(TariffFileError, match="found nothing"):
        load("empty.csv", tmp_path)
    (tmp_path / "x.csv.gz").write_bytes(b"not gzip")
    with pytest.raises(TariffFileError, match="expected gzip"):
        load("x.csv.gz", tmp_path)
    (tmp_path / "cut.csv.gz").write_bytes(gzip.compress(HEADER.encode() * 50)[:-12])
    with pytest.raises(TariffFileError, match="expected gzip"):
        load("cut.csv.gz", tmp_path)
    (tmp_path / "latin.csv").write_bytes(b"\xe4\xf6")
    with pytest.raises(TariffFileError, match="expected UTF-8"):
        load("latin.csv", tmp_path)


def test_a_file_too_large_for_prices_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "disk.csv").open("wb") as file:
        file.truncate(65 << 20)
    with pytest.raises(TariffFileError, match=r"disk.csv: expected a price file of at most 64 MiB"):
        load("disk.csv", tmp_path)


def test_many_errors_are_counted(tmp_path: Path) -> None:
    with pytest.raises(TariffFileError, match="and 15 more"):
        load("prices.csv", written(tmp_path, "bad,1\n" * 25))


def test_bundled_prices() -> None:
    prices = load("bundled:de-lu-2025", Path("/nowhere"))
    assert prices.end_utc_s - prices.start_utc_s[0] >= 14 * 86400
    assert None not in prices.eur_per_mwh
    with pytest.raises(TariffFileError, match="'bundled:atlantis': expected bundled:de-lu-2025"):
        load("bundled:atlantis", Path())
