"""Package data: the load trace, the prices, and what traces that cannot be played get."""

from __future__ import annotations

import csv
import gzip
import itertools
from datetime import UTC, datetime
from pathlib import Path

import pytest
from twin_sites import TWIN, site_of

import drivers.tariffs
from drivers.twin.physics import instant_s
from drivers.twin.trace import TraceError, read_trace, trace_path

PRICES = Path(drivers.tariffs.__path__[0]) / "data"


def test_bundled_trace_is_three_weeks_of_eight_nodes() -> None:
    trace = read_trace(trace_path("bundled:helios"))
    assert trace.step_s == 60
    assert len(trace.power_w) == 21 * 1440
    assert datetime.fromtimestamp(trace.start_utc_s, UTC) == datetime(2025, 9, 5, tzinfo=UTC)
    assert 10_000 < trace.low_w < trace.high_w < 50_000
    assert trace.index(trace.start_utc_s + 21 * 86400 + 61) == 1  # it repeats


def test_prices_cover_the_trace_and_name_their_source() -> None:
    with gzip.open(PRICES / "de-lu-2025.csv.gz", "rt") as file:
        rows = list(csv.DictReader(file))
    starts = [instant_s(row["start_utc"]) for row in rows]
    assert {b - a for a, b in itertools.pairwise(starts)} == {3600}
    assert starts[0] <= instant_s("2025-09-08T00:00:00Z")
    assert starts[-1] >= instant_s("2025-09-23T12:00:00Z")  # 36 h beyond the two weeks
    assert any(float(row["price_eur_per_mwh"]) < 0 for row in rows)
    assert "SMARD.de" in (PRICES / "ATTRIBUTION").read_text()
    assert "Helios" in (trace_path("bundled:helios").parent / "ATTRIBUTION").read_text()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("time,watts\n1,2\n3,4\n", "expected the columns start_utc,power_w"),
        ("start_utc,power_w\n2025-01-01T00:00:00Z,1\n2025-01-01T00:01:00Z,many\n", "a number in every row"),
        (
            "start_utc,power_w\n2025-01-01T00:00:00Z,1\n2025-01-01T00:01:00Z,1\n2025-01-01T00:05:00Z,1\n",
            "evenly spaced",
        ),
    ],
)
def test_a_trace_that_cannot_be_played(tmp_path: Path, text: str, expected: str) -> None:
    file = tmp_path / "load.csv"
    file.write_text(text)
    with pytest.raises(TraceError, match=expected) as error:
        read_trace(trace_path("load.csv", tmp_path))
    assert str(file) in str(error.value)


def test_a_trace_that_is_not_there() -> None:
    with pytest.raises(TraceError, match="bundled:helios"):
        read_trace(trace_path("bundled:nothing"))


def test_start_without_an_offset_is_refused() -> None:
    with pytest.raises(ValueError, match=r"twin\.start_utc"):
        site_of(start_utc="2025-09-18T10:00:00")
    assert instant_s(TWIN.start_utc) == instant_s("2025-09-18T12:00:00+02:00")


def test_a_pulse_comes_soon_after_the_demo_starts() -> None:
    site = site_of(None, start_utc="2025-09-18T13:12:50Z", load_scale=1.5)
    before_w = site.load_w
    site.advance(69.0, 0.5)
    assert site.load_w == pytest.approx(before_w, rel=0.02)
    site.advance(3.0, 0.5)
    assert site.load_w > before_w + 10_000
