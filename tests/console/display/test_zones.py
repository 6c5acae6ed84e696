"""Times of a site as they are shown, across a change of the clocks, and without a file of the zone."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from console.display.formats import date_clock_zone, zone_named


@pytest.mark.parametrize(
    ("zone", "utc", "shown"),
    [
        ("Europe/Berlin", "2025-10-26T00:30", "2025-10-26 02:30:00 CEST"),
        ("Europe/Berlin", "2025-10-26T01:30", "2025-10-26 02:30:00 CET"),
        ("Europe/London", "2025-03-30T01:00", "2025-03-30 02:00:00 BST"),
        ("America/New_York", "2025-11-02T06:30", "2025-11-02 01:30:00 EST"),
        ("Australia/Lord_Howe", "2025-10-04T15:30", "2025-10-05 02:30:00 +11"),
        ("Australia/Lord_Howe", "2025-10-04T15:29", "2025-10-05 01:59:00 +1030"),
        ("Asia/Kolkata", "2025-12-31T18:30", "2026-01-01 00:00:00 IST"),
        ("Mars/Base", "2025-10-26T00:30", "2025-10-26 00:30:00 UTC"),  # of another machine's site file
        ("../../etc/passwd", "2025-10-26T00:30", "2025-10-26 00:30:00 UTC"),
    ],
)
def test_local_time_says_its_zone(zone: str, utc: str, shown: str) -> None:
    utc_s = datetime.fromisoformat(utc).replace(tzinfo=UTC).timestamp()
    assert date_clock_zone(utc_s, zone) == shown
    assert date_clock_zone(utc_s, zone_named(zone)) == shown
