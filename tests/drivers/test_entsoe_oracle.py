"""Our reader of ENTSO-E's documents beside entsoe-py's, where that is installed: `pip install entsoe-py`."""

from __future__ import annotations

from typing import Any

import pytest
from feed_answers import END_S, ENTSOE, ENTSOE_ANSWER, HOURS, QUARTERS, publication, series

from drivers.tariffs.feeds import entsoe

parsers: Any = pytest.importorskip("entsoe.parsers", reason="entsoe-py is not installed")


@pytest.mark.parametrize(
    "body",
    [
        ENTSOE_ANSWER,
        publication(series(HOURS, sequence=""), series((*QUARTERS, None, None, 7.5), END_S, 900, sequence="")),
        publication(series((1.0, *[None] * 23))),
    ],
)
def test_the_same_prices_as_entsoe_py(body: bytes) -> None:
    """entsoe-py gives a series for each resolution, in local time; it leaves it to its user which auction counts."""
    found = parsers.parse_prices(body.decode())
    rows = entsoe.parse(body, ENTSOE, 0, 0).rows
    for resolution, step_s in (("60min", 3600), ("15min", 900)):
        ours = {row.start_s: row.per_mwh for row in rows if row.end_s == row.start_s + step_s}
        theirs = {int(at.timestamp()): float(price) for at, price in found[resolution].items()}
        assert ours == theirs or not ours
    assert rows
