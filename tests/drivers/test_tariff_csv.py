"""Price files: what is read, and what every bad line gets."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.tariffs.csv_file import TariffFileError, load

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


def test_a_gap_has_no_price(tmp_path: Path) -> None:
    body = "".join(f"{stamp(s)},{p}\n" for s, p in [(0, 1), (900, 2), (7200, 3)])
    prices = load("prices.csv", written(tmp_path, body))
    assert [prices.at(T0 + s) for s in (0, 900, 1799, 1800, 7199, 7200)] == [1, 2, 2, None, None, 3]


@given(st.permutations([0, 1, 2, 3, 5, 6, 9]), st.booleans())
def test_order_and_repetition_do_not_matter(
    tmp_path_factory: pytest.TempPathFactory, order: list[int], gz: bool
) -> None:
    base = tmp_path_factory.mktemp("prices")
    name = "p.csv.gz" if gz else "p.csv"
    rows = [f"{stamp(3600 * n)},{n}\n" for n in order]
    shuffled = load(name, written(base, "".join(rows + rows[:2]), name))
    assert shuffled == load("q.csv", written(base, "".join(sorted(rows)), "q.csv"))
    assert shuffled.at(T0 + 4 * 3600) is None


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


def test_many_errors_are_counted(tmp_path: Path) -> None:
    with pytest.raises(TariffFileError, match="and 15 more"):
        load("prices.csv", written(tmp_path, "bad,1\n" * 25))


def test_bundled_prices() -> None:
    prices = load("bundled:de-lu-2025", Path("/nowhere"))
    assert prices.end_utc_s - prices.start_utc_s[0] >= 14 * 86400
    assert None not in prices.eur_per_mwh
    with pytest.raises(TariffFileError, match="'bundled:atlantis': expected bundled:de-lu-2025"):
        load("bundled:atlantis", Path())
